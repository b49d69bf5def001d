"""The program ``python -m picows_server``."""

from __future__ import annotations

import socket
import sys
import traceback
from dataclasses import replace
from typing import Optional, Sequence

from picows_codec import WSInvalidOptionError, WSUsageError
from picows_server.running.arguments import Arguments, parsed
from picows_server.running.blocking import run_settings
from picows_server.running.settings import RunSettings
from picows_server.running.standard_streams import move_above

__all__ = ["main"]

_COULD_NOT_START = 1

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


def main(words: Optional[Sequence[str]] = None) -> int:
    """Run the program with ``sys.argv``, or the words given; returns the exit status."""
    arguments = parsed(words)
    try:
        return run_settings(_with_sockets(arguments), arguments.workers)
    except KeyboardInterrupt:  # while the application is imported
        return 130
    except (WSUsageError, OSError, TypeError) as error:
        if _is_of_application(error):
            traceback.print_exc()
        else:
            sys.stderr.write(f"picows_server: {error}\n")
    except Exception:  # noqa: BLE001 - what the application raises
        traceback.print_exc()
    return _COULD_NOT_START


def _with_sockets(arguments: Arguments) -> RunSettings:
    settings = arguments.settings
    if not arguments.descriptors:
        return settings
    sockets = [_socket(number) for number in arguments.descriptors]
    return replace(settings, server_options={**settings.server_options, "sock": sockets})


def _socket(descriptor: int) -> socket.socket:
    try:
        return move_above(socket.socket(fileno=descriptor))
    except OSError as error:
        raise WSInvalidOptionError(f"--fd {descriptor} is no socket: {error.strerror}") from None


def _is_of_application(error: BaseException) -> bool:
    """Whether the program's own code is in the traceback."""
    modules = (
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    return any(module.partition(".")[0] not in _OURS for module in modules)
