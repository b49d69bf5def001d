"""Fixtures: the codec's wheel, copies of its declarations to tamper with, small extensions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

import picows_codec
from tests.packaging.building import FreshEnvironment, pip_wheel, run
from tests.support.extensions import NOT_OPTIMIZED
from tools import abi, install_wheels

CONSUMER = Path(__file__).parent / "consumer"


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Everything in this directory compiles: ``tox -e abi`` runs it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.packaging)
            item.add_marker(pytest.mark.timeout(600))


class Declarations:
    """A copy of what the installed codec declares, which a test changes."""

    def __init__(self, source: Path) -> None:
        self.source = source
        installed = Path(picows_codec.__file__).parent
        for file in installed.rglob("*.p*"):
            if file.suffix in {".py", ".pxd"}:
                copy = source / "picows_codec" / file.relative_to(installed)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file), str(copy))

    def replace(self, name: str, *changes: Tuple[str, str]) -> None:
        """Replace text in a file; each old one is there exactly once."""
        path = self.source / "picows_codec" / name
        text = path.read_text("utf-8")
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text, "utf-8")

    def write_guard(self, *, unreleased: bool = False) -> None:
        """Do what a developer does after a change."""
        manifest = self.source / "abi.json"
        shutil.copy(str(abi.MANIFEST), str(manifest))
        rooms = abi.describe(self.source)
        abi.write(rooms, abi.committed(), self.source, manifest, unreleased=unreleased)


@pytest.fixture
def declarations(tmp_path: Path) -> Declarations:
    """A copy of its own for a test."""
    return Declarations(tmp_path / "declarations")


@pytest.fixture
def run_extension(tmp_path: Path) -> Callable[[str, Path], subprocess.CompletedProcess[str]]:
    """Compile a module against declarations, and import it where the codec is installed."""

    def compile_and_import(text: str, source: Path) -> subprocess.CompletedProcess[str]:
        from Cython.Build import cythonize  # noqa: PLC0415
        from setuptools import Distribution, Extension  # noqa: PLC0415

        directory = tmp_path / "extension"
        directory.mkdir()
        path = directory / "extension_of_others.pyx"
        path.write_text(text, "utf-8")
        extension = Extension(path.stem, [str(path)], extra_compile_args=NOT_OPTIMIZED)
        extensions = cythonize(
            [extension],
            include_path=[str(source)],
            quiet=True,
            language_level=3,
            compiler_directives={"freethreading_compatible": True},
        )
        command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib = command.build_temp = str(directory)
        command.ensure_finalized()
        command.run()
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", f"import {path.stem}"],
            cwd=str(directory),
            env={**os.environ, "PYTHONPATH": str(directory), "PYTHONSAFEPATH": ""},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return compile_and_import


@pytest.fixture(scope="session")
def codec_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The codec's wheel: tox has built it already, and says where."""
    cache = os.environ.get("PICOWS_WHEELS")
    target = Path(cache) if cache else tmp_path_factory.mktemp("wheels")
    return Path(install_wheels.build_wheels(target)[0])


@pytest.fixture(scope="session")
def newer_codec_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a later release of the same epoch: a level higher, by the tool's own rules."""
    directory = tmp_path_factory.mktemp("newer")
    project = directory / "picows-codec"
    derived = shutil.ignore_patterns("*.so", "*.pyd", "*.o", "*.obj", "__pycache__")
    shutil.copytree(str(abi.CODEC), str(project), ignore=derived)
    package = project / "src" / "picows_codec"
    edits: Dict[str, Tuple[str, str]] = {
        # A virtual method in place of a reserved one, a field in reserved room, a new function.
        "parser.pxd": ("uint64_t _reserved[2]", "uint64_t later\n    uint64_t _reserved[1]"),
        "mask.pxd": (
            "cdef int ws_masking_key",
            "cdef int ws_later() noexcept nogil\ncdef int ws_masking_key",
        ),
        "mask.pyx": (
            "cdef int ws_masking_key",
            "cdef int ws_later() noexcept nogil:\n    return 2\n\n\ncdef int ws_masking_key",
        ),
        "_version.py": (f'"{picows_codec.__version__}"', '"0.99.0"'),
    }
    for name, (old, new) in edits.items():
        text = (package / name).read_text("utf-8")
        assert text.count(old) == 1, (name, old)
        (package / name).write_text(text.replace(old, new), "utf-8")
    for name in ("listener.pxd", "listener.pyx"):
        text = (package / name).read_text("utf-8")
        head, listener = text.split("cdef class WSListener:")
        listener = listener.replace("cdef void _reserved_0(self)", "cdef void on_later(self)")
        (package / name).write_text(f"{head}cdef class WSListener:{listener}", "utf-8")
    abi.write(abi.describe(project / "src"), abi.committed(), project / "src", project / "abi.json")
    pip_wheel(str(project), directory, kind="debug")
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="session")
def build_consumer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Build the consumer's wheel in isolation, against a wheel of the codec."""

    def build(codec: Path) -> Path:
        directory = tmp_path_factory.mktemp("consumer")
        project = directory / "project"
        shutil.copytree(str(CONSUMER), str(project))
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir"]
        command += ["-w", str(directory), str(project)]
        run(*command, environment={"PIP_FIND_LINKS": str(codec.parent)}, cwd=directory)
        return next(directory.glob("*.whl"))

    return build


@pytest.fixture
def fresh_environment(tmp_path: Path) -> FreshEnvironment:
    """A new virtual environment."""
    return FreshEnvironment(tmp_path / "environment")
