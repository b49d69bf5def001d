"""What is said of an error that has ended a process: its text, or its traceback."""

from __future__ import annotations

import traceback

from picows_codec import WSUsageError

__all__ = ["describe_failure"]

# Where an error comes from that needs no traceback: its text says enough.
_OURS = frozenset(
    (
        "picows_server",
        "picows_codec",
        "aiofastnet",
        "asyncio",
        "uvloop",
        "concurrent",
        "contextlib",
        "importlib",
        "runpy",
        "socket",
        "ssl",
        "__main__",
    )
)


def describe_failure(error: BaseException) -> str:
    """Return one line for what an operator has to change, else the traceback.

    A line is enough for a wrong option, a file that is missing, an address that is taken: errors
    that say what is wrong, and that no code of the application has met.
    """
    if isinstance(error, (WSUsageError, OSError, TypeError)) and not _is_of_application(error):
        return str(error)
    parts = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(parts).rstrip("\n")


def _is_of_application(error: BaseException) -> bool:
    """Whether the program's own code is in the traceback."""
    modules = (
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    return any(module.partition(".")[0] not in _OURS for module in modules)
