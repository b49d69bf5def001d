"""Addresses of sockets, written for people."""

from __future__ import annotations

from typing import List, Union

__all__: List[str] = ["format_address"]


def format_address(address: object) -> str:
    """Write what ``socket.getpeername`` gives as ``127.0.0.1:80``, ``[::1]:80``, ``unix:/path``.

    A Unix socket without a name is ``unix:(unnamed)``, one with a name in Linux's abstract
    namespace ``unix:@name``, and None, where nothing is known, ``unknown address``.
    """
    if isinstance(address, (str, bytes)):
        return "unix:" + _escaped(_path(address) or "(unnamed)")
    if isinstance(address, tuple) and len(address) >= 2:
        host = _escaped(str(address[0]))
        return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
    return "unknown address" if address is None else _escaped(str(address))


def _path(address: Union[str, bytes]) -> str:
    path = address if isinstance(address, str) else address.decode("utf-8", "backslashreplace")
    return "@" + path[1:] if path[:1] == "\0" else path


def _escaped(text: str) -> str:
    """Keep line breaks and the like out of a log."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
