"""The C functions that a compiled module offers to other extensions, callable from tests."""

from __future__ import annotations

import ctypes
from types import ModuleType
from typing import Any, Callable, Optional

__all__ = ["c_function"]

_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.argtypes = [ctypes.py_object]
_capsule_name.restype = ctypes.c_char_p
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_capsule_pointer.restype = ctypes.c_void_p


def c_function(
    module: ModuleType, name: str, result: Optional[type], *arguments: type
) -> Callable[..., Any]:
    """Return ``module``'s C function of that name; it is called with the GIL held."""
    capsule = module.__pyx_capi__[name]
    address = _capsule_pointer(capsule, _capsule_name(capsule))
    return ctypes.PYFUNCTYPE(result, *arguments)(address)
