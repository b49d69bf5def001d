"""``TrustedNetworks``: where proxies are that tell the truth."""

from __future__ import annotations

import re
from functools import lru_cache, partial
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Iterable, List, Optional, Tuple, Union

from picows_codec import WSInvalidOptionError

__all__ = ["Network", "TrustedNetworks", "parse_ip"]

Network = Union[str, IPv4Network, IPv6Network, IPv4Address, IPv6Address]

_UNIX = "unix"

# How a socket of both families shows those of IPv4 (RFC 4291, 2.5.5.2): as IPv6 with this prefix.
_MAPPED = IPv6Network("::ffff:0:0/96")

_LEADING_ZERO = re.compile(r"(?:^|[.:])0[0-9]+(?=\.|$)")

# Proxies are few, and each of them connects often.
_KNOWN_HOSTS = 256


class TrustedNetworks:
    """The value of ``trusted_proxies``, checked once.

    Each network is an address (``"192.0.2.7"``, ``"::1"``), a network (``"10.0.0.0/8"``), either of
    them as an object of :mod:`ipaddress`, or ``"unix"``: peers that connect to a Unix socket. One
    of IPv4 may have its IPv6 form (``"::ffff:192.0.2.7"``).

    Raises :class:`TypeError` for other types, and :class:`WSInvalidOptionError` for what is no
    network.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        if isinstance(networks, (str, bytes)):
            raise TypeError(
                f"trusted_proxies must be an iterable of networks, such as ['10.0.0.0/8'], not"
                f" {networks!r}"
            )
        try:
            given: List[Any] = list(networks)
        except TypeError:
            raise TypeError(
                f"trusted_proxies must be an iterable of networks, not {type(networks).__name__}"
            ) from None
        self._has_unix = _UNIX in given
        self._networks = tuple(_checked(network) for network in given if network != _UNIX)
        self._hold_host = lru_cache(_KNOWN_HOSTS)(partial(_is_in, self._networks))

    def __bool__(self) -> bool:
        return self._has_unix or bool(self._networks)

    def hold(self, address: object) -> bool:
        """Whether a peer is a trusted proxy; ``address`` is that of its socket."""
        if isinstance(address, tuple) and address:
            return self._hold_host(address[0])
        return self._has_unix and isinstance(address, (str, bytes))


def _is_in(networks: Tuple[Union[IPv4Network, IPv6Network], ...], host: str) -> bool:
    address = parse_ip(host.partition("%")[0])
    return address is not None and any(address in network for network in networks)


def parse_ip(text: str) -> Union[IPv4Address, IPv6Address, None]:
    """The address that ``text`` is; one of IPv4 in an IPv6 form is that of IPv4. None: it is none.

    Leading zeros are refused: some take 010.0.0.1 for 8.0.0.1.
    """
    if "%" in text or ("." in text and _LEADING_ZERO.search(text) is not None):
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped: Optional[IPv4Address] = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _unmapped(network: Union[IPv4Network, IPv6Network]) -> Union[IPv4Network, IPv6Network]:
    if isinstance(network, IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    address = IPv4Address(int(network.network_address) & 0xFFFFFFFF)
    return IPv4Network((address, network.prefixlen - _MAPPED.prefixlen))


def _checked(network: Any) -> Union[IPv4Network, IPv6Network]:
    if not isinstance(network, (str, IPv4Network, IPv6Network, IPv4Address, IPv6Address)):
        raise TypeError(
            f"trusted_proxies: one is {network!r}; a str, or a network or an address of ipaddress"
            " is wanted"
        )
    try:
        return _unmapped(ip_network(str(network)))
    except ValueError as error:
        raise WSInvalidOptionError(
            f"trusted_proxies: {error}; write an address ('192.0.2.7'), a network ('10.0.0.0/8',"
            " without bits behind its prefix), or 'unix' for a Unix socket"
        ) from None
