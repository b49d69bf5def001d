"""Something that is done in a forked child."""

from __future__ import annotations

import os
import warnings
from typing import Callable

__all__ = ["in_child"]


def in_child(action: Callable[[], object]) -> int:
    """Fork, call ``action`` in the child, and return its status; -1 if that raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there may be other threads
        pid = os.fork()
    if not pid:
        status = 255
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]
