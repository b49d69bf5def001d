"""Public names that are imported when somebody first asks for them (PEP 562).

A layer above the frames costs nobody anything who does not use it, not even its import.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Callable, List, Mapping, Tuple

__all__ = ["SHARED_NAMES", "lazy_names"]

# Those of all three packages, and the module that has each.
SHARED_NAMES = {
    "WSBatchListener": "picows_codec.batch",
    "WSConnection": "picows_codec.coroutines.connection",
    "WSConnectionStats": "picows_codec.stats",
    "WSDirection": "picows_codec.tap_types",
    "WSPermessageDeflate": "picows_codec.deflate.parameters",
    "WSPreparedMessage": "picows_codec.prepared",
    "WSTap": "picows_codec.tap",
    "broadcast": "picows_codec.broadcasting",
}


def lazy_names(
    package: str, rooms: Mapping[str, str]
) -> Tuple[Callable[[str], Any], Callable[[], List[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package.

    :param package: its ``__name__``.
    :param rooms: each name, and the module that has it, which is not named like it.
    """
    namespace = vars(sys.modules[package])

    def __getattr__(name: str) -> Any:  # noqa: N807
        room = rooms.get(name)
        if room is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(room), name)
        namespace[name] = value  # from now on without a call
        return value

    def __dir__() -> List[str]:  # noqa: N807
        return sorted({*namespace, *rooms})

    return __getattr__, __dir__
