"""What an ASGI application is told of a connection: its scope, and what a log line says of it."""

from __future__ import annotations

from typing import Any, Dict, MutableMapping, Optional, Tuple
from urllib.parse import quote, unquote

from picows_codec import WSUpgradeRequest

__all__ = ["Scope", "client_text", "path_text", "websocket_scope"]

Scope = MutableMapping[str, Any]


def websocket_scope(
    request: WSUpgradeRequest,
    *,
    is_secure: bool,
    root_path: str,
    asgi_version: str,
    state: Optional[Dict[str, Any]],
) -> Scope:
    """Make the scope of one connection (ASGI 2.4 for WebSocket).

    ``state`` is that of the lifespan, of which the connection gets a shallow copy; None if the
    application has none.
    """
    raw_path, _, query = request.path.partition("?")
    # The codec decodes values in a way that gives the same bytes again.
    headers = [
        (name.lower().encode("latin-1"), value.encode("utf-8", "surrogateescape"))
        for name, value in request.headers.items()
    ]
    scope: Scope = {
        "type": "websocket",
        "asgi": {"version": asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if is_secure else "ws",
        "path": root_path + unquote(raw_path),
        "raw_path": root_path.encode("utf-8") + raw_path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": root_path,
        "headers": headers,
        "client": _client_of(request.remote_address),
        "server": _server_of(request.local_address),
        "subprotocols": request.subprotocols,
        "extensions": {"websocket.http.response": {}},
    }
    if state is not None:
        scope["state"] = state.copy()
    return scope


def _client_of(address: Any) -> Optional[Tuple[str, int]]:
    if isinstance(address, tuple) and len(address) >= 2:
        return str(address[0]), int(address[1])
    return None


def _server_of(address: Any) -> Optional[Tuple[str, Optional[int]]]:
    if isinstance(address, tuple) and len(address) >= 2:
        return str(address[0]), int(address[1])
    if isinstance(address, str) and address:  # a Unix socket
        return address, None
    return None


def client_text(scope: Scope) -> str:
    """The client of a scope, as uvicorn writes it."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""


def path_text(scope: Scope) -> str:
    """Path and query of a scope, as uvicorn writes them."""
    path = quote(scope["path"])
    query: bytes = scope["query_string"]
    return f"{path}?{query.decode('ascii')}" if query else path
