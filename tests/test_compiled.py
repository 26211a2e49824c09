"""The modules that may be compiled: the same with and without."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from bgproxy import compiled
from bgproxy.protocol.head import SCANNER

ROOT = Path(__file__).parent.parent
_CLASS = re.compile(r"^cdef class (\w+)", re.MULTILINE)
_FIELD = re.compile(
    r"^    cdef (?:public )?(?:unsigned long long(?:\[::1\])?|long long|\S+) ([^()\n]+)$",
    re.MULTILINE,
)


def _declared(name: str) -> dict[str, set[str]]:
    """What a module's ``.pxd`` says its classes hold."""
    text = (ROOT / f"{name.replace('.', '/')}.pxd").read_text()
    starts = [*_CLASS.finditer(text)]
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return {
        match[1]: {
            field.strip()
            for line in _FIELD.findall(text[match.end() : end])
            for field in line.split(",")
        }
        for match, end in zip(starts, ends, strict=True)
    }


@pytest.mark.parametrize("name", compiled.MODULES)
def test_declared_fields_are_the_slots(name: str) -> None:
    """What a class holds is the same whether it was compiled or not."""
    module = importlib.import_module(name)
    for kind, fields in _declared(name).items():
        assert fields == set(vars(getattr(module, kind))["__slots__"]), kind


def test_what_is_compiled_runs_compiled() -> None:
    """All of them or none: a mixture would not fit together."""
    suffixes = tuple(EXTENSION_SUFFIXES)
    kinds = {
        str(importlib.import_module(name).__file__).endswith(suffixes) for name in compiled.MODULES
    }
    assert kinds == {SCANNER == "compiled"}


def test_declared_modules_are_those_with_types_beside_them() -> None:
    """What the build compiles is what the package expects to be compiled."""
    assert _found("pxd") == set(compiled.MODULES)
    assert _found("pyx") == set(compiled.EXTENSIONS)


def _found(kind: str) -> set[str]:
    files = (ROOT / "bgproxy").rglob(f"*.{kind}")
    return {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}


def test_sources_run_where_the_reference_is_asked_for() -> None:
    """One variable of the environment brings back what there is without a compiler."""
    code = (
        "import sys; from bgproxy import compiled; from bgproxy.dataplane import worker;"
        "print(*{sys.modules[name].__file__.rpartition('.')[2] for name in compiled.MODULES})"
    )
    environment = {**os.environ, "BGPROXY_SCANNER": "python"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, check=True
    )
    assert run.stdout.strip() == "py"
