"""Importing all extensions leaves the GIL off; only a free-threaded build can show that."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import picows_codec

EXTENSIONS = sorted(
    path.name.partition(".")[0]
    for path in Path(picows_codec.__file__).parent.iterdir()
    if path.suffix in {".so", ".pyd"}
)


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded interpreter"
)
def test_the_gil_stays_off() -> None:
    program = "\n".join(f"import picows_codec.{name}" for name in EXTENSIONS)
    program += "\nimport sys; sys.exit(sys._is_gil_enabled())"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
