"""Compile NAME.pyx in the current directory, in place, with the running interpreter's Cython.

python -m bench.peers.compile_extension NAME
"""

from __future__ import annotations

import sys

from Cython.Build import cythonize
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

__all__ = ["main"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}


def main(name: str) -> None:
    """Compile one extension; packages are found wherever the interpreter finds them."""
    modules = cythonize(
        [Extension(name, [f"{name}.pyx"])],
        include_path=[entry for entry in sys.path if entry],
        compiler_directives=DIRECTIVES,
        quiet=True,
        force=True,
    )
    command = build_ext(Distribution({"name": name, "ext_modules": modules}))
    command.inplace = True
    command.force = True
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    main(sys.argv[1])
