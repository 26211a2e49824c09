"""Examples for Docker, Compose, Kubernetes and pipelines: well-formed, and true to this proxy."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bgproxy.config.load import load_config
from bgproxy.config.settings import Settings
from bgproxy.domain.model import COLORS
from tests.dataplane.harness import Backend, answering
from tests.deploy.tools import CONFIG, ROOT, expect_success, find, run
from tests.system.harness import running, service_of

COMPOSE = CONFIG / "compose.yaml"
WORKFLOW = CONFIG / "github" / "deploy.yml"
PIPELINE = CONFIG / "gitlab-ci.yml"
MANIFESTS = sorted((CONFIG / "kubernetes").glob("*.yaml"))

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _objects() -> dict[tuple[str, str], dict[str, Any]]:
    """Every Kubernetes object by its kind and name."""
    documents = [each for file in MANIFESTS for each in yaml.safe_load_all(file.read_text())]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def _settings(text: str, folder: Path) -> Settings:
    file = folder / "bgproxy.yaml"
    file.write_text(text)
    return load_config(file, {})


def _hosts(settings: Settings) -> set[str]:
    """The names of all backends."""
    return {
        backend.host
        for service in settings.services
        for environment in (service.environment(color) for color in COLORS)
        for backend in environment.backends
    }


def test_hadolint_has_nothing_against_the_dockerfile() -> None:
    """Nor does it find nothing in everything."""
    expect_success("hadolint", ROOT / "Dockerfile")
    assert "DL3006" in run("hadolint", "-", input="FROM debian\n").stdout


def test_the_image_check_is_a_sound_script() -> None:
    """It needs some minutes, so `make image-check` runs it, not this."""
    expect_success("shellcheck", ROOT / "tests" / "image" / "check")
    assert "tests/image/check" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        (COMPOSE, ("vendor.compose-spec",)),
        (WORKFLOW, ("vendor.github-workflows",)),
        (PIPELINE, ("vendor.gitlab-ci", "--data-transform", "gitlab-ci")),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_examples_follow_their_schemas(file: Path, schema: tuple[str, ...]) -> None:
    """Those that their makers publish."""
    expect_success("check-jsonschema", "--builtin-schema", *schema, file)


def test_the_workflow_is_safe() -> None:
    """No template where a shell would take it for a command, no right that is not needed."""
    expect_success("zizmor", "--offline", "--no-progress", "--persona", "pedantic", WORKFLOW)


def test_kubernetes_would_take_the_manifests(tmp_path: Path) -> None:
    """Strictly: a key that is misspelt is found."""
    assert len(MANIFESTS) == 2
    expect_success("kubernetes-validate", "--strict", *MANIFESTS)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(MANIFESTS[0].read_text().replace("readinessProbe", "readynessProbe"))
    assert run("kubernetes-validate", "--strict", wrong).returncode != 0


def test_the_configuration_in_the_compose_file_is_right(tmp_path: Path) -> None:
    """Its backends are services there, its port is the published one."""
    compose = yaml.safe_load(COMPOSE.read_text())
    settings = _settings(compose["configs"]["bgproxy"]["content"], tmp_path)
    assert _hosts(settings) == {"blue", "green"} <= set(compose["services"])
    (published,) = compose["services"]["proxy"]["ports"]
    assert [str(each.address.port) for each in settings.proxy.listen] == [published.split(":")[1]]


def test_the_configuration_in_kubernetes_is_right(tmp_path: Path) -> None:
    """Its backends are Services that select pods, its port is the container's."""
    objects = _objects()
    text = objects["ConfigMap", "bgproxy"]["data"]["bgproxy.yaml"]
    settings = _settings(text, tmp_path)
    assert _hosts(settings) == {"app-blue", "app-green"}
    for host in (*_hosts(settings), "bgproxy"):
        chosen = objects["Service", host]["spec"]["selector"]
        pod = objects["Deployment", host]["spec"]["template"]
        assert chosen == pod["metadata"]["labels"]
        budget = objects["PodDisruptionBudget", host]["spec"]
        assert budget["selector"]["matchLabels"] == chosen
    pod = objects["Deployment", "bgproxy"]["spec"]["template"]["spec"]
    (port,) = pod["containers"][0]["ports"]
    assert [each.address.port for each in settings.proxy.listen] == [port["containerPort"]]
    assert pod["terminationGracePeriodSeconds"] > settings.proxy.shutdown_timeout


def test_containers_have_no_rights_that_they_do_not_need() -> None:
    """In Kubernetes as in Compose."""
    for (kind, _), each in _objects().items():
        if kind == "Deployment":
            pod = each["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"]
            for container in pod["containers"]:
                context = container["securityContext"]
                assert context["readOnlyRootFilesystem"]
                assert not context["allowPrivilegeEscalation"]
                assert context["capabilities"] == {"drop": ["ALL"]}
    for service in yaml.safe_load(COMPOSE.read_text())["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


async def _run_step(script: str, environ: dict[str, str]) -> str:
    """Run a step as the runner does; returns what it said."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-e", "-o", "pipefail", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | environ | {"PATH": path},
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_the_workflow_switches_a_real_proxy(tmp_path: Path) -> None:
    """Its steps, one after the other, but the one that installs."""
    find("jq")
    assert shutil.which("bash")
    backends = [await Backend(answering(OK)).start() for _ in range(3)]
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    output = tmp_path / "output"
    config = service_of(backends[0], backends[1], rollback={"bake": "1s"})
    async with running(tmp_path, config) as product:
        environ = {
            "BGPROXY_ADMIN": f"http://127.0.0.1:{product.admin_port}",
            "GITHUB_OUTPUT": str(output),
            "GITHUB_RUN_ID": "1234",
            "RELEASE": "abcdef",
            "IDLE": "green",
        }
        for step in job["steps"][1:]:
            script = step["run"].replace("$IDLE-1.internal:9000", f"127.0.0.1:{backends[2].port}")
            await _run_step(script, environ)
        assert output.read_text() == "environment=green\n"
        service = await product.service()
        assert service["active"] == "green"
        assert service["environments"]["green"]["release"] == "abcdef"
