"""picows_server.proxies.networks: which peers are trusted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from picows_server import WSInvalidOptionError
from picows_server.proxies.networks import TrustedNetworks, parse_ip


@pytest.mark.parametrize(
    ("networks", "address", "held"),
    [
        (["10.0.0.0/8"], ("10.1.2.3", 1), True),
        (["10.0.0.0/8"], ("11.1.2.3", 1), False),
        (["10.0.0.0/8"], ("::ffff:10.1.2.3", 1, 0, 0), True),
        (["::ffff:10.0.0.0/104"], ("::ffff:10.1.2.3", 1, 0, 0), True),
        (["::ffff:10.0.0.0/104"], ("10.1.2.3", 1), True),
        (["::ffff:10.0.0.0/104"], ("11.1.2.3", 1), False),
        (["::ffff:192.0.2.7"], ("192.0.2.7", 1), True),
        (["::ffff:192.0.2.7"], ("::ffff:192.0.2.8", 1, 0, 0), False),
        ([IPv6Address("::ffff:192.0.2.7")], ("192.0.2.7", 1), True),
        (["::fffe:0:0/95"], ("192.0.2.7", 1), False),
        (["192.0.2.7"], ("192.0.2.7", 1), True),
        (["192.0.2.7"], ("192.0.2.8", 1), False),
        (["::1"], ("::1", 1, 0, 0), True),
        (["fe80::/10"], ("fe80::1%eth0", 1, 0, 2), True),
        (["fd00::/8", "10.0.0.0/8"], ("10.0.0.1", 1), True),
        (["::/0"], ("10.0.0.1", 1), False),
        ([IPv4Network("10.0.0.0/8")], ("10.0.0.1", 1), True),
        ([IPv6Network("::1")], ("::1", 1, 0, 0), True),
        ([IPv4Address("10.0.0.1")], ("10.0.0.1", 1), True),
        (["unix"], "/run/proxy.sock", True),
        (["unix"], "", True),
        (["unix"], b"\0name", True),
        (["unix"], ("127.0.0.1", 1), False),
        (["127.0.0.1"], "", False),
        (["unix"], None, False),
        (["127.0.0.1"], None, False),
        (["127.0.0.1"], ("localhost", 1), False),
        ([], ("127.0.0.1", 1), False),
    ],
)
def test_networks(networks: Any, address: Any, held: bool) -> None:
    trusted = TrustedNetworks(networks)
    assert trusted.hold(address) is held
    assert bool(trusted) is bool(networks)


@pytest.mark.parametrize(
    "network", ["10.0.0.1/8", "::ffff:10.0.0.1/104", "localhost", "", "10.0.0", "10.0.0.0/33", "*"]
)
def test_what_is_no_network(network: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="trusted_proxies"):
        TrustedNetworks([network])


@pytest.mark.parametrize("networks", ["10.0.0.0/8", b"10.0.0.0/8", 5, [5], [None], [b"10.0.0.1"]])
def test_wrong_types(networks: Any) -> None:
    with pytest.raises(TypeError, match="trusted_proxies"):
        TrustedNetworks(networks)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:DB8::0", "2001:db8::"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("0.0.0.0", "0.0.0.0"),
        ("01.2.3.4", None),
        ("1.2.3.04", None),
        ("::ffff:1.02.3.4", None),
        ("1.2.3", None),
        ("1.2.3.256", None),
        ("fe80::1%eth0", None),
        ("", None),
        (" 1.2.3.4", None),
        ("1.2.3.4\n", None),
        ("\uff11.2.3.4", None),
    ],
)
def test_addresses(text: str, address: Any) -> None:
    found = parse_ip(text)
    assert (None if found is None else str(found)) == address
