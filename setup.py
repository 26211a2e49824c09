"""The compiled parts of the package; all else about it stands in pyproject.toml.

They are ordinary Python modules with a ``.pxd`` beside them, which says the types of what every
request meets, and one scanner in Cython. Where no compiler is at hand the build goes on without
them, and the modules run as they are. ``BGPROXY_COMPILE=no`` leaves them out on purpose.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

_CPUS = len(os.sched_getaffinity(0))


def extensions() -> list[Extension]:
    """What is to be compiled, translated to C."""
    if os.environ.get("BGPROXY_COMPILE") == "no":
        return []
    typed = (path.with_suffix(".py") for path in sorted(Path("bgproxy").rglob("*.pxd")))
    sources = [*typed, *sorted(Path("bgproxy").rglob("*.pyx"))]
    parts = [
        Extension(".".join(path.with_suffix("").parts), [str(path)], optional=True)
        for path in sources
    ]
    # The types are those of the .pxd: an annotation's `int` or `bytes` would be read as another.
    directives = {"language_level": 3, "annotation_typing": False}
    return cythonize(parts, nthreads=_CPUS, quiet=True, compiler_directives=directives)


setup(ext_modules=extensions(), options={"build_ext": {"parallel": _CPUS}})
