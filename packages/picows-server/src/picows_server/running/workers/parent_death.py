"""A process that does not outlive the one that started it."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent: int) -> None:
    """Exit at once if ``parent`` is gone, and on Linux let the kernel kill this process later.

    Elsewhere, and where Python has no ctypes, the end of the pipe has to tell. The kernel means the
    parent's thread that started this process: the supervisor's main thread.
    """
    if sys.platform == "linux":
        _let_kernel_kill()
    # It may have died before that; then another process is the parent now.
    if os.getppid() != parent:
        os._exit(1)


def _let_kernel_kill() -> None:
    try:
        import ctypes  # noqa: PLC0415 - some builds of Python have none
    except ImportError:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
