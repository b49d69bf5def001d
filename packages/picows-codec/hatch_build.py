"""Build hook: compile every ``.pyx`` file below ``src/picows_codec`` into the wheel.

Why our own: hatch-cython and its fork hatch-cythonize compile inside the source tree, delete every
``.c`` file there afterwards (our kernels are hand-written C) and give all extensions the same
native sources; hatch-cpp and scikit-build-core drive Cython only through build files of ours.

The environment variable ``PICOWS_BUILD`` chooses the kind of build: ``release`` (the default),
``debug`` (no optimisation, Cython's checks on), ``trace`` (line tracing; the wheel also holds the
.pyx and .c files that coverage reads) or ``asan`` (address and undefined-behaviour sanitizers).
"""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from Cython.Build import cythonize
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

PACKAGE = "picows_codec"
JOBS = 2
# Native sources of a room where they are more than native/<name>.c beside it.
NATIVE = {"mask": ("mask*.c",), "utf8": ("utf8*.c",), "simd": ("cpu.c",)}

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "nonecheck": False,
    "freethreading_compatible": True,
}
CHECKS = {"boundscheck": True, "initializedcheck": True, "nonecheck": True}
# The settrace backend: coverage's plugins do not work with sys.monitoring.
TRACE = [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]
# Cython's own output causes the last two warnings; all others that these find must be fixed.
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
STRIP = ["-Wl,-S", "-Wl,-x"] if sys.platform == "darwin" else ["-Wl,-s"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]

# PICOWS_BUILD: flags of the compiler and of the linker, extra directives, macros.
MODES: dict[str, tuple[list[str], list[str], dict[str, Any], list[tuple[str, str]]]] = {
    "release": (["-O3", "-g0", "-DNDEBUG"], STRIP, {}, []),
    "debug": (["-O0", "-g", "-UNDEBUG"], [], CHECKS, []),
    "trace": (["-O0", "-g", "-UNDEBUG"], [], {"linetrace": True}, TRACE),
    "asan": (["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", *SANITIZE], SANITIZE, {}, []),
}
if sys.platform == "win32":  # no sanitizers there
    WARNINGS = []
    MODES = {
        "release": (["/O2", "/DNDEBUG"], [], {}, []),
        "debug": (["/Od", "/UNDEBUG"], [], CHECKS, []),
        "trace": (["/Od", "/UNDEBUG"], [], {"linetrace": True}, TRACE),
    }


class BuildExt(build_ext):
    """Links without the run-time search path that the interpreter's own link command may hold."""

    def build_extensions(self) -> None:
        linker = getattr(self.compiler, "linker_so", [])
        linker[:] = [word for word in linker if not word.startswith("-Wl,-rpath")]
        super().build_extensions()


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles in a temporary directory; only an editable build writes into the source tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build_data.update(pure_python=False, infer_tag=True)
        mode = os.environ.get("PICOWS_BUILD") or "release"
        if mode not in MODES:
            raise ValueError(f"PICOWS_BUILD={mode!r}: expected one of {', '.join(MODES)}")
        self.temporary = TemporaryDirectory(prefix="picows-")
        source, previous = Path(self.root, "src"), Path.cwd()
        os.chdir(source)  # paths in tracebacks and in coverage start at the import root
        try:
            if version == "editable":
                compile_extensions(mode, Path(self.temporary.name), source)
                return
            wheel = Path(self.temporary.name, "wheel")
            compile_extensions(mode, Path(self.temporary.name), wheel)
            if mode == "trace":
                for pyx in compiled_rooms():
                    shutil.copy(str(pyx), str(wheel / pyx))
            build_data["force_include"][str(wheel / PACKAGE)] = PACKAGE
        finally:
            os.chdir(previous)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self.temporary.cleanup()


def compiled_rooms() -> list[Path]:
    """Return the ``.pyx`` files of the package in the current directory."""
    rooms = sorted(Path(PACKAGE).rglob("*.pyx"))
    if not rooms:
        raise FileNotFoundError(f"no .pyx file in {Path(PACKAGE).resolve()}")
    if sys.platform == "win32":
        # It is for file descriptors that a loop watches for readiness.
        rooms = [pyx for pyx in rooms if "stream" not in pyx.with_suffix("").parts]
    return rooms


def compile_extensions(mode: str, temporary: Path, output: Path) -> None:
    """Compile the package in the current directory; leave its extensions below ``output``."""
    compile_flags, link_flags, directives, macros = MODES[mode]
    if sys.platform != "win32":  # builds in different directories give the same bytes
        maps = [f"-ffile-prefix-map={path}=." for path in (Path.cwd(), temporary)]
        compile_flags = [*WARNINGS, *compile_flags, *maps]
    extensions = []
    for pyx in compiled_rooms():
        room = pyx.relative_to(PACKAGE).with_suffix("").as_posix()
        patterns = NATIVE.get(room, (f"{pyx.stem}.c",))
        native = sorted(file for name in patterns for file in (pyx.parent / "native").glob(name))
        extensions.append(
            Extension(
                ".".join(pyx.with_suffix("").parts),
                [str(pyx), *map(str, native)],
                include_dirs=[PACKAGE],
                define_macros=macros,
                extra_compile_args=compile_flags,
                extra_link_args=link_flags,
            )
        )
    extensions = cythonize(
        extensions,
        nthreads=JOBS,
        build_dir=str(temporary),
        include_path=["."],
        compiler_directives={**DIRECTIVES, **directives},
    )

    def compile_one(extension: Extension) -> None:
        command = BuildExt(Distribution({"name": PACKAGE, "ext_modules": [extension]}))
        command.build_lib = str(output)
        command.build_temp = str(temporary / extension.name)  # two extensions compile cpu.c
        command.ensure_finalized()
        command.run()

    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(compile_one, extensions))
    if mode == "trace":
        for pyx in compiled_rooms():
            generated = pyx.with_suffix(".c")
            shutil.copy(str(temporary / generated), str(output / generated))
