"""Which modules may be compiled, and how to run them from their source all the same.

``BGPROXY_SCANNER=python`` in the environment has heads read by the reference readers alone, and
every other module run as Python: what there is where no compiler was at hand.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

MODULES = (
    "bgproxy.protocol.values",
    "bgproxy.protocol.chunked",
    "bgproxy.dataplane.shared",
    "bgproxy.dataplane.cells",
    "bgproxy.dataplane.durations",
    "bgproxy.dataplane.routes",
    "bgproxy.dataplane.connection",
    "bgproxy.dataplane.exchange",
    "bgproxy.dataplane.downstream",
    "bgproxy.dataplane.upstream",
)
"""Python modules with a ``.pxd`` beside them, in the order in which they need one another."""

EXTENSIONS = ("bgproxy.protocol._scan", "bgproxy.dataplane._streams")
"""Modules in Cython, for which something else stands in where they are not built."""


def _is_built(name: str) -> bool:
    base = Path(__file__).parent.joinpath(*name.split(".")[1:])
    return any(Path(f"{base}{suffix}").exists() for suffix in EXTENSION_SUFFIXES)


IS_USED = os.environ.get("BGPROXY_SCANNER") != "python" and all(
    map(_is_built, (*MODULES, *EXTENSIONS))
)
"""Whether what was compiled runs. All of it or none: a part alone does not fit the others."""


class _FromSource:
    """Finds these modules' sources, before anybody looks for what they were compiled to."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder.find_spec`."""
        if name not in MODULES or path is None:
            return None
        source = Path(path[0], name.rpartition(".")[2] + ".py")
        return importlib.util.spec_from_file_location(name, source)


def leave_out() -> None:
    """Have the sources run from now on; called before any of the modules is imported."""
    sys.meta_path.insert(0, _FromSource())
