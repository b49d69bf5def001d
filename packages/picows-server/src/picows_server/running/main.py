"""The program ``python -m picows_server``."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from typing import Optional, Sequence

from picows_codec import WSInvalidOptionError
from picows_server.running.arguments import Arguments, parsed
from picows_server.running.blocking import run_settings
from picows_server.running.failures import describe_failure
from picows_server.running.settings import RunSettings
from picows_server.running.standard_streams import move_above

__all__ = ["main"]

_COULD_NOT_START = 1


def main(words: Optional[Sequence[str]] = None) -> int:
    """Run the program with ``sys.argv``, or the words given; returns the exit status."""
    arguments = parsed(words)
    try:
        return run_settings(_with_sockets(arguments), arguments.workers)
    except KeyboardInterrupt:  # while the application is imported
        return 130
    except Exception as error:  # noqa: BLE001 - also what the application raises
        text = describe_failure(error)
        sys.stderr.write(f"{text}\n" if "\n" in text else f"picows_server: {text}\n")
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
