"""The compiled parts of the package; all else about it stands in pyproject.toml.

They are ordinary Python modules with a ``.pxd`` beside them, which says the types of what every
request meets, and one scanner in Cython. Where no compiler is at hand the build goes on without
them, and the modules run as they are. ``BGPROXY_COMPILE=no`` leaves them out on purpose.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = (
    "bgproxy/protocol/values.py",
    "bgproxy/protocol/_scan.pyx",
    "bgproxy/dataplane/shared.py",
    "bgproxy/dataplane/routes.py",
    "bgproxy/dataplane/connection.py",
    "bgproxy/dataplane/exchange.py",
    "bgproxy/dataplane/downstream.py",
    "bgproxy/dataplane/upstream.py",
)


def extensions():
    """What is to be compiled, translated to C."""
    if os.environ.get("BGPROXY_COMPILE") == "no":
        return []
    parts = [
        Extension(os.path.splitext(path)[0].replace("/", "."), [path], optional=True)
        for path in SOURCES
    ]
    # The types are those of the .pxd: an annotation's `int` or `bytes` would be read as another.
    directives = {"language_level": 3, "annotation_typing": False}
    return cythonize(parts, nthreads=_CPUS, quiet=True, compiler_directives=directives)


_CPUS = len(os.sched_getaffinity(0))

setup(ext_modules=extensions(), options={"build_ext": {"parallel": _CPUS}})
