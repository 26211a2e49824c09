"""The API's description: valid, and the same thing that is served."""

from __future__ import annotations

import re

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from bgproxy.controlplane.openapi import describe_api
from tests.admin_double import Admin

UNDESCRIBED = {"/dashboard/{file}", "/favicon.ico"}
"""Files of the page: no interface."""


def test_the_description_is_valid_openapi() -> None:
    """By the specification's own schema."""
    OpenAPIV31SpecValidator(describe_api(["default", "shop"])).validate()
    OpenAPIV31SpecValidator(describe_api([])).validate()


async def test_every_route_is_described_and_nothing_else() -> None:
    """Paths, methods and parameters agree with what is served."""
    async with Admin() as admin:
        served = {
            (route.method, route.path)
            for route in admin.server.routes
            if route.path not in UNDESCRIBED
        }
    document = describe_api(["default"])
    described = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == served
    for path, item in document["paths"].items():
        named = {ref["$ref"].rpartition("/")[2] for ref in item.get("parameters", [])}
        assert set(re.findall(r"{(\w+)}", path)) <= named


async def test_the_description_is_served() -> None:
    """With the names that a path may take."""
    async with Admin() as admin, aiohttp.ClientSession(admin.url) as http:
        admin.operations.names = ["default", "shop"]
        async with http.get("/openapi.json") as response:
            document = await response.json()
    assert document["components"]["parameters"]["name"]["schema"]["enum"] == ["default", "shop"]


@pytest.mark.parametrize("path", ["/switch", "/rollback", "/verify", "/plan", "/pause", "/resume"])
def test_changes_name_their_body(path: str) -> None:
    """And take an Idempotency-Key."""
    item = describe_api(["default"])["paths"][f"/v1/services/{{name}}{path}"]
    schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith(f"/{path[1:].capitalize()}Request")
    assert {"$ref": "#/components/parameters/Idempotency-Key"} in item["parameters"]
