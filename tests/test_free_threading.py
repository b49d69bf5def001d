"""Every extension says that it runs without the GIL, and importing all of them leaves it off."""

from __future__ import annotations

import ctypes
import importlib
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import List

import pytest

import picows_codec

EXTENSIONS = sorted(
    path.name.partition(".")[0]
    for path in Path(picows_codec.__file__).parent.iterdir()
    if path.suffix in {".so", ".pyd"}
)
PY_MOD_GIL, NOT_USED = 4, 1


class _Definition(ctypes.Structure):
    """PyModuleDef, behind its PyModuleDef_Base."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("doc", ctypes.c_char_p),
        ("size", ctypes.c_ssize_t),
        ("methods", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
    )


class _Slot(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("value", ctypes.c_void_p))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="modules declare it since Python 3.13")
@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="PyModuleDef lies elsewhere"
)
@pytest.mark.parametrize("name", EXTENSIONS)
def test_declared(name: str) -> None:
    get_definition = ctypes.pythonapi.PyModule_GetDef
    get_definition.argtypes, get_definition.restype = [ctypes.py_object], ctypes.c_void_p
    address = get_definition(importlib.import_module(f"picows_codec.{name}"))
    base = object.__basicsize__ + 3 * ctypes.sizeof(ctypes.c_void_p)
    slots = _Definition.from_address(address + base).slots
    found: List[int] = []
    while True:
        slot = _Slot.from_address(slots)
        if slot.number == 0:
            break
        if slot.number == PY_MOD_GIL:
            found.append(slot.value)
        slots += ctypes.sizeof(_Slot)
    assert found == [NOT_USED]


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded interpreter"
)
def test_the_gil_stays_off() -> None:
    program = "\n".join(f"import picows_codec.{name}" for name in EXTENSIONS)
    program += "\nimport sys; sys.exit(sys._is_gil_enabled())"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
