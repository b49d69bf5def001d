"""The options of our connections, the same for listeners and coroutines."""

from __future__ import annotations

import sys
from typing import Any, Dict

from bench.peers.common import PATIENCE, Arguments

__all__ = ["options_of"]

# The module of each library that replaces Python's zlib where it is installed.
ENGINES = ("isal", "zlib_ng")


def options_of(arguments: Arguments) -> Dict[str, Any]:
    """Return the options of ``ws_connect``, ``ws_create_server``, ``connect`` and ``serve``."""
    options: Dict[str, Any] = {}
    if arguments.busy_poll:
        options["busy_poll"] = True
    if arguments.messages:
        options["websocket_handshake_timeout"] = PATIENCE
    if arguments.deflate:
        options["compression"] = _compression(arguments)
    return options


def _compression(arguments: Arguments) -> Any:
    if arguments.engine == "zlib":
        # As if the extra [compression] was not installed.
        sys.modules.update(dict.fromkeys(ENGINES))  # type: ignore[arg-type]
    if arguments.side == "client" and arguments.role == "source":
        from picows_client import WSPermessageDeflate  # noqa: PLC0415 - a server has no client

        return WSPermessageDeflate(client_compresses=True)
    return "deflate"
