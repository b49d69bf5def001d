"""The address of a proxy's client, in the header in which the proxy writes it (RFC 7239)."""

from __future__ import annotations

import re
from typing import Dict, List

from picows_codec import WSInvalidOptionError, WSUpgradeRequest
from picows_codec.socket_address import SocketAddress
from picows_server.proxies.networks import TrustedNetworks, parse_ip

__all__ = ["ForwardedHeader"]

_FORWARDED = "forwarded"
_X_FORWARDED_FOR = "x-forwarded-for"

# RFC 7239, 4: token "=" value, where the value is a token or a quoted string (RFC 9110, 5.6.4); or
# nothing; and what is behind it.
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\U0010ffff]|\\[\t -~\x80-\U0010ffff])*"'
_PAIR = re.compile(rf"[ \t]*(?:({_WORD})=({_WORD}|{_QUOTED})[ \t]*)?([;,]|\Z)")
_ESCAPE = re.compile(r"\\(.)")

# An address with or without a port. That of IPv6 has brackets if there is a port, and always in
# Forwarded (RFC 7239, 6).
_NODE = re.compile(
    r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
# RFC 7239, 6.2 and 6.3: proxies may hide whom they serve.
_HIDDEN = re.compile(r"(?:unknown|_[A-Za-z0-9._-]+)(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?", re.ASCII)
_HIDDEN_PORT = re.compile(r":_[A-Za-z0-9._-]+$", re.ASCII)
_MOST = 65535

# What nginx writes for a peer on a Unix socket.
_UNIX = "unix:"


class ForwardedHeader:
    """Finds the client of a request that came through trusted proxies.

    Each proxy adds the address of its peer at the end of the header. So the list is read from its
    end, and the first address that is no trusted proxy's is the client's: who is before it may have
    written anything.
    """

    def __init__(self, name: str, proxies: TrustedNetworks) -> None:
        if not isinstance(name, str):
            raise TypeError(f"forwarded_header must be a str, not {type(name).__name__}")
        if name.lower() not in (_FORWARDED, _X_FORWARDED_FOR):
            raise WSInvalidOptionError(
                f"forwarded_header must be 'Forwarded' or 'X-Forwarded-For', not {name!r}"
            )
        self.name = "Forwarded" if name.lower() == _FORWARDED else "X-Forwarded-For"
        self._proxies = proxies

    def client_of(self, request: WSUpgradeRequest) -> SocketAddress:
        """Where the request comes from: its peer, or if that is a trusted proxy, its client.

        None if a trusted proxy does not tell. A port that is not told is 0.

        Raises :class:`ValueError`, which says nothing of the header's value, if a trusted proxy has
        sent a header that cannot be read.
        """
        peer = request.remote_address
        lines = request.headers.getall(self.name, [])
        if not lines or not self._proxies.hold(peer):
            return peer
        is_listed = self.name == "X-Forwarded-For"
        nodes = _listed_nodes(lines) if is_listed else _forwarded_nodes(lines)
        client = peer
        for node in reversed(nodes):
            client = _address_of(node, may_be_bare=is_listed)
            if not self._proxies.hold(client):
                break
        return client


def _listed_nodes(lines: List[str]) -> List[str]:
    """The elements of X-Forwarded-For."""
    elements = (element.strip(" \t") for element in ",".join(lines).split(","))
    return [element for element in elements if element]


def _forwarded_nodes(lines: List[str]) -> List[str]:
    """The ``for`` of each element of Forwarded; "unknown" where there is none."""
    nodes: List[str] = []
    for line in lines:
        position = 0
        pairs: Dict[str, str] = {}
        behind = ";"
        while behind:
            pair = _PAIR.match(line, position)
            if pair is None:
                raise ValueError("it is no list of elements (RFC 7239, 4)")
            name, value, behind = pair.groups()
            if name is not None:
                if name.lower() in pairs:
                    raise ValueError("an element has two values of a kind (RFC 7239, 4)")
                pairs[name.lower()] = value
            if behind != ";" and pairs:
                nodes.append(_unquoted(pairs.get("for", "unknown")))
                pairs = {}
            position = pair.end()
    return nodes


def _unquoted(value: str) -> str:
    return _ESCAPE.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _address_of(node: str, *, may_be_bare: bool) -> SocketAddress:
    """The address that a node is; None for one that is hidden.

    ``may_be_bare``: one of IPv6 may lack its brackets.
    """
    if may_be_bare and node == _UNIX:
        return ""
    if _HIDDEN.fullmatch(node) is not None:
        return None
    node = _HIDDEN_PORT.sub("", node)
    found = _NODE.fullmatch(node)
    port = 0
    if found is not None:
        text = found["six"] or found["four"]
        port = int(found["port"] or 0)
        is_fit = (":" in text) == bool(found["six"]) and port <= _MOST
    else:
        text = node
        is_fit = may_be_bare
    address = parse_ip(text)
    if address is None or not is_fit:
        raise ValueError("an element is no IP address")
    host = str(address)
    return (host, port) if address.version == 4 else (host, port, 0, 0)
