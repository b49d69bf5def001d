"""Names of servers: those that a caller writes, and how one is found."""

from __future__ import annotations

import ipaddress
import re
import ssl
from typing import Any, Dict, Mapping, Optional, TypeVar

from picows_codec import WSInvalidOptionError

__all__ = ["ANY_NAME", "checked_contexts", "find_by_name"]

T = TypeVar("T")

# Stands for every name, and for clients that send none.
ANY_NAME = "*"

_MOST_CHARACTERS = 253  # RFC 1035, 2.3.4, without the length of the root
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")


def find_by_name(table: Mapping[str, T], name: Optional[str]) -> Optional[T]:
    """What ``table`` has for a name: itself, the wildcard for its first label, or ``"*"``."""
    found = None
    if name is not None:
        found = table.get(name)
        if found is None:
            _, dot, parent = name.partition(".")
            found = table.get(f"*.{parent}") if dot else None
    return table.get(ANY_NAME) if found is None else found


def checked_contexts(contexts: Mapping[Any, Any]) -> Dict[str, ssl.SSLContext]:
    """Return the TLS contexts of a server under their names, as clients send them.

    Raises :class:`WSInvalidOptionError` and :class:`TypeError`.
    """
    if not contexts:
        raise WSInvalidOptionError("ssl_context: the mapping of server names to contexts is empty")
    checked: Dict[str, ssl.SSLContext] = {}
    for key, context in contexts.items():
        if not isinstance(key, str):
            raise TypeError(f"ssl_context: a server name must be a str, not {key!r}")
        name = _normalized(key)
        if name in checked:
            raise WSInvalidOptionError(f"ssl_context has the name {name!r} twice")
        where = f"ssl_context[{key!r}]"
        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"{where} must be an ssl.SSLContext, not {type(context).__name__}")
        if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise WSInvalidOptionError(f"{where} was made for clients (PROTOCOL_TLS_CLIENT)")
        checked[name] = context
    return checked


def _normalized(key: str) -> str:
    if key == ANY_NAME:
        return key
    wildcard, name = ("*.", key[2:]) if key.startswith("*.") else ("", key)
    if name.endswith("."):
        name = name[:-1]
    if _is_address(name):
        raise WSInvalidOptionError(
            f"ssl_context: {key!r} is an address, and clients send names only (RFC 6066, 3); those"
            " that connect to an address get '*'"
        )
    try:
        name = name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise WSInvalidOptionError(f"ssl_context: {key!r} is no host name: {error}") from None
    if not _NAME.fullmatch(name) or len(name) > _MOST_CHARACTERS:
        hint = ""
        if "*" in name:
            hint = "; '*' stands for one label at the beginning ('*.example.com'), or for all names"
        raise WSInvalidOptionError(f"ssl_context: {key!r} is no host name{hint}")
    return wildcard + name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        # A name cannot end in a number (RFC 3696, 2).
        return name.rpartition(".")[2].isdigit()
    return True
