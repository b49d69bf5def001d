"""How much memory a process uses."""

from __future__ import annotations

import os
from typing import Optional

__all__ = ["resident_set_size"]

_STATM = "/proc/self/statm"  # proc(5): size resident shared ..., in pages


def resident_set_size() -> Optional[int]:
    """Bytes of this process in memory, or None where there is no ``/proc``."""
    try:
        with open(_STATM, "rb") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
