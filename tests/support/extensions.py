"""Extensions of other people, compiled against the installed codec while the tests run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["NOT_OPTIMIZED", "compile_extension"]

# Of the compiler: the interpreter's own flags make it take five times as long.
NOT_OPTIMIZED = ["/Od"] if sys.platform == "win32" else ["-O0", "-g0"]


def compile_extension(name: str, text: str, directory: Path) -> ModuleType:
    """Compile Cython source below ``directory`` and import it under ``name``."""
    from Cython.Build import cythonize  # noqa: PLC0415
    from setuptools import Distribution, Extension  # noqa: PLC0415

    path = directory / f"{name}.pyx"
    path.write_text(text, "utf-8")
    extensions = cythonize(
        [Extension(name, [str(path)], extra_compile_args=NOT_OPTIMIZED)],
        quiet=True,
        language_level=3,
        compiler_directives={"freethreading_compatible": True},
        include_path=[str(Path(entry)) for entry in sys.path if entry],
    )
    command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(directory)
    command.ensure_finalized()
    command.run()
    built = next(directory.glob(f"{name}.*.so"), None) or next(directory.glob(f"{name}.*.pyd"))
    spec = importlib.util.spec_from_file_location(name, built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
