"""A socket's address as log lines and errors show it."""

from __future__ import annotations

__all__ = ["format_address"]


def format_address(address: object) -> str:
    """Write what a socket gives: ``127.0.0.1:80``, ``[::1]:80``, ``unix:/path``.

    A Unix socket without a name is ``unix:``, an abstract one ``unix:@name``. None, where the
    socket cannot tell any more, is ``an unknown peer``.
    """
    if address is None:
        return "an unknown peer"
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    if isinstance(address, bytes):
        address = address.decode("utf-8", "backslashreplace")
    if isinstance(address, str):
        return "unix:" + (f"@{address[1:]}" if address.startswith("\0") else address)
    return str(address)
