"""Previews that get into somebody's way."""

from __future__ import annotations

import pytest

from tests.config.files import ENVIRONMENTS, fault, load

KEY = "0123456789abcdef" * 2
NEAR = "networks: [10.0.0.0/8]"


def services(**each: str) -> str:
    """A file with services of these keys."""
    return "services:\n" + "".join(
        f"  {name}:\n{ENVIRONMENTS}    {keys}\n" for name, keys in each.items()
    )


def test_previews_of_services_side_by_side_are_fine() -> None:
    """Each has listeners, hosts and links of its own."""
    text = services(
        shop=f"hosts: [a]\n    preview: {{hosts: [b], listen: 127.0.0.1:1, {NEAR}}}",
        blog=f"hosts: [c]\n    preview: {{hosts: [d], listen: 127.0.0.1:2, {NEAR}}}",
        one=f"hosts: [e]\n    preview: {{cookie: {{secret: {KEY}}}}}",
        two=f"hosts: [f]\n    preview: {{cookie: {{secret: {KEY}}}}}",
        paths=f"hosts: [a]\n    paths: [/x]\n    preview: {{hosts: [b], {NEAR}}}",
    )
    assert len(load(text).services) == 5


@pytest.mark.parametrize(
    ("top", "taken"),
    [
        ("proxy: {listen: 127.0.0.1:7}", "127.0.0.1:7 is taken by proxy.listen"),
        ("admin: {listen: [127.0.0.1:6, 127.0.0.1:7]}", "127.0.0.1:7 is taken by admin.listen"),
    ],
)
def test_a_listener_is_a_previews_alone(top: str, taken: str) -> None:
    """What is open to all, or to operators, cannot be the way in."""
    found = fault(f"{top}\n{services(shop='preview: {listen: [127.0.0.1:7]}')}")
    assert found.path == "services.shop.preview.listen.0"
    assert found.problem == taken


def test_two_previews_have_two_listeners() -> None:
    """A request there could be for either."""
    found = fault(
        services(
            shop="hosts: [a]\n    preview: {listen: 127.0.0.1:7}",
            blog="hosts: [b]\n    preview: {listen: [unix:p, 127.0.0.1:7]}",
        )
    )
    assert found.path == "services.blog.preview.listen.1"
    assert found.problem == "127.0.0.1:7 is taken by services.shop.preview.listen"


@pytest.mark.parametrize(
    ("shop", "blog", "owner"),
    [
        (f"hosts: [a]\n    preview: {{hosts: [b], {NEAR}}}", "hosts: [b]", "blog"),
        (f"hosts: [a]\n    preview: {{hosts: [b, a], {NEAR}}}", "hosts: [c]", "shop"),
    ],
)
def test_a_host_of_the_preview_is_nobody_elses(shop: str, blog: str, owner: str) -> None:
    """Neither another service's nor the service's own, which nobody would reach any more."""
    found = fault(services(shop=shop, blog=blog))
    assert found.path.startswith("services.shop.preview.hosts.")
    assert f"with the path / leads to {owner} already" in found.problem


def test_two_previews_have_two_hosts() -> None:
    """The second is told."""
    near = f"preview: {{hosts: [g], {NEAR}}}"
    found = fault(services(shop=f"hosts: [a]\n    {near}", blog=f"hosts: [b]\n    {near}"))
    assert found.path == "services.blog.preview.hosts.0"
    assert found.problem == "g with the path / leads to the preview of shop already"


def test_services_on_one_host_have_two_links() -> None:
    """A link says by its path which preview it is for."""
    cookie = f"preview: {{cookie: {{secret: {KEY}}}}}"
    found = fault(services(shop=f"paths: [/a]\n    {cookie}", blog=f"paths: [/b]\n    {cookie}"))
    assert found.path == "services.blog.preview.cookie.path"
    assert "leads to the link of shop already" in found.problem


def test_ports_that_the_kernel_chooses_are_told_apart() -> None:
    """One preview may leave the choice, as proxy.listen may; two could not be told apart."""
    free = "preview: {listen: ['127.0.0.1:0']}"
    top = "proxy: {listen: 127.0.0.1:0}\n"
    assert load(top + services(shop=free)).services[0].preview is not None
    found = fault(top + services(shop=f"hosts: [a]\n    {free}", blog=f"hosts: [b]\n    {free}"))
    assert found.path == "services.blog.preview.listen.0"
