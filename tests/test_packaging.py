"""What is shipped: one version, everything that belongs in, and locks that fit the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import bgproxy

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DASHBOARD = ROOT / "bgproxy" / "controlplane" / "dashboard"
LOCKS = {
    "requirements.lock": PROJECT["dependencies"],
    "requirements-dev.lock": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"],
}


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_the_version_is_the_same_everywhere():
    """The package, its metadata and the command agree."""
    said = subprocess.run(
        [sys.executable, "-m", "bgproxy", "--version"], capture_output=True, text=True, check=True
    )
    assert bgproxy.__version__ in said.stdout
    assert metadata.version("bgproxy") == bgproxy.__version__


def test_the_changelog_knows_the_version():
    """Users can look up what they have."""
    assert f"## {bgproxy.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_every_requirement_with_hashes_and_no_address(name: str):
    """What pyproject.toml asks for is locked; any registry can serve it."""
    text = (ROOT / name).read_text()
    locked = {_name(line) for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)}
    assert {_name(requirement) for requirement in LOCKS[name]} <= locked
    assert text.count("==") <= text.count("--hash=sha256:")
    assert "://" not in text


@pytest.mark.parametrize("verb", ["demo", "test"])
def test_readme_names_the_commands_that_exist(verb: str):
    """The first two commands of the README are targets of the Makefile; CI runs the second."""
    assert f"make {verb}" in (ROOT / "README.md").read_text()
    assert re.search(rf"^{verb}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "exec make test\n" in (ROOT / ".ci" / "run").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel as `pip install` builds it on a machine without a compiler."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    built = shutil.ignore_patterns("__pycache__", "*.so", "*.c")
    shutil.copytree(ROOT / "bgproxy", source / "bgproxy", ignore=built)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    # Without a compiler: quicker, and the build must succeed without the compiled scanner.
    subprocess.run(
        [*command, "--wheel-dir", folder, source],
        check=True,
        env={**os.environ, "CC": "/bin/false"},
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.mark.slow
def test_the_wheel_holds_what_runs_and_nothing_else(wheel: zipfile.ZipFile):
    """Types, the dashboard's files and the command are in; tests and benchmarks are not.

    Without a compiler the scanner's source is there, and nothing that was compiled.
    """
    names = set(wheel.namelist())
    page = {f"bgproxy/controlplane/dashboard/{each.name}" for each in DASHBOARD.glob("*.*")}
    assert {
        "bgproxy/py.typed",
        "bgproxy/protocol/_scan.pyx",
        "bgproxy/dataplane/_streams.pyx",
        *page,
    } <= names
    assert not [name for name in names if name.endswith(".so")]
    tops = {name.split("/")[0] for name in names}
    assert tops == {"bgproxy", f"bgproxy-{bgproxy.__version__}.dist-info"}
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert b"bgproxy = bgproxy.cli:main" in wheel.read(entry)
