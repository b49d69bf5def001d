"""picows_server.proxies.forwarded: whose request it is, as trusted proxies tell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Sequence

import pytest
from multidict import CIMultiDict

from picows_server import WSInvalidOptionError
from picows_server.proxies.forwarded import ForwardedHeader
from picows_server.proxies.networks import TrustedNetworks

PROXIES = TrustedNetworks(["10.0.0.0/8", "fd00::/8"])
PROXY = ("10.0.0.1", 4000)


def client_of(name: str, lines: Sequence[str], peer: Any = PROXY, **others: str) -> Any:
    pairs = [(name, line) for line in lines] + list(others.items())
    request: Any = SimpleNamespace(headers=CIMultiDict(pairs), remote_address=peer)
    return ForwardedHeader(name, PROXIES).client_of(request)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["203.0.113.9"], ("203.0.113.9", 0)),
        (["203.0.113.9:80"], ("203.0.113.9", 80)),
        (["2001:db8::7"], ("2001:db8::7", 0, 0, 0)),
        (["[2001:db8::7]"], ("2001:db8::7", 0, 0, 0)),
        (["[2001:db8::7]:65535"], ("2001:db8::7", 65535, 0, 0)),
        (["::ffff:203.0.113.9"], ("203.0.113.9", 0)),
        (["203.0.113.9, 10.0.0.2"], ("203.0.113.9", 0)),
        (["203.0.113.9", "10.0.0.2"], ("203.0.113.9", 0)),
        (["203.0.113.9, fd00::1 ,\t10.0.0.2"], ("203.0.113.9", 0)),
        # What a client has written itself is before what its proxy adds.
        (["1.1.1.1, 203.0.113.9"], ("203.0.113.9", 0)),
        (["10.0.0.9, 203.0.113.9, 10.0.0.2"], ("203.0.113.9", 0)),
        (["nonsense, 203.0.113.9"], ("203.0.113.9", 0)),
        (['"', "203.0.113.9"], ("203.0.113.9", 0)),
        # All of them are proxies: the first one is the client.
        (["10.0.0.3, 10.0.0.2"], ("10.0.0.3", 0)),
        (["unknown, 10.0.0.2"], None),
        (["unknown"], None),
        (["_hidden"], None),
        (["203.0.113.9, unknown"], None),
        ([""], PROXY),
        ([", ,"], PROXY),
        (["203.0.113.9,,"], ("203.0.113.9", 0)),
        ([], PROXY),
    ],
)
def test_x_forwarded_for(lines: Any, client: Any) -> None:
    assert client_of("X-Forwarded-For", lines) == client


@pytest.mark.parametrize(
    "element",
    [
        "nonsense",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.09",
        "203.0.113.9:",
        "203.0.113.9:65536",
        "203.0.113.9:123456",
        "203.0.113.9 10.0.0.2",
        "203.0.113.9;10.0.0.2",
        "[203.0.113.9]",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]80",
        "[::1]:x",
        "fe80::1%eth0",
        "http://203.0.113.9",
        "for=203.0.113.9",
        '"203.0.113.9"',
        "\uff1203.0.113.9",
        "203.0.113.9:\uff180",
        "unknown host",
        "_",
        "é",
    ],
)
def test_x_forwarded_for_that_cannot_be_read(element: str) -> None:
    with pytest.raises(ValueError, match="no IP address") as raised:
        client_of("X-Forwarded-For", [f"1.1.1.1, {element}"])
    assert "113" not in str(raised.value)


@pytest.mark.parametrize(
    ("networks", "client"),
    [(["10.0.0.0/8"], ""), (["10.0.0.0/8", "unix"], ("203.0.113.9", 0)), (["unix"], PROXY)],
)
def test_a_proxy_on_a_unix_socket(networks: Any, client: Any) -> None:
    """nginx writes "unix:" for its peer there."""
    headers = CIMultiDict([("X-Forwarded-For", "203.0.113.9, unix:")])
    request: Any = SimpleNamespace(headers=headers, remote_address=PROXY)
    header = ForwardedHeader("X-Forwarded-For", TrustedNetworks(networks))
    assert header.client_of(request) == client


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["for=203.0.113.9"], ("203.0.113.9", 0)),
        (["For=203.0.113.9;proto=https;by=10.0.0.1"], ("203.0.113.9", 0)),
        (["proto=https ; for=203.0.113.9"], ("203.0.113.9", 0)),
        (['for="203.0.113.9:80"'], ("203.0.113.9", 80)),
        (['for="[2001:db8::7]"'], ("2001:db8::7", 0, 0, 0)),
        (['for="[2001:db8::7]:80"'], ("2001:db8::7", 80, 0, 0)),
        (['for="203.0.113.9:_port"'], ("203.0.113.9", 0)),
        (['for="20\\3.0.113.9"'], ("203.0.113.9", 0)),
        (["for=203.0.113.9, for=10.0.0.2"], ("203.0.113.9", 0)),
        (["for=203.0.113.9", "for=10.0.0.2"], ("203.0.113.9", 0)),
        (["for=1.1.1.1, for=203.0.113.9"], ("203.0.113.9", 0)),
        (["for=nonsense, for=203.0.113.9"], ("203.0.113.9", 0)),
        (['x="a, for=1.1.1.1", for=203.0.113.9'], ("203.0.113.9", 0)),
        (['x="\\"", for=203.0.113.9'], ("203.0.113.9", 0)),
        (["for=10.0.0.3, for=10.0.0.2"], ("10.0.0.3", 0)),
        (["for=unknown"], None),
        (["for=_hidden"], None),
        (['for="_hidden:_port"'], None),
        # RFC 7239, 4: pairs may be missing; RFC 9110, 5.6.1.2: and so may elements.
        (["for=203.0.113.9;"], ("203.0.113.9", 0)),
        ([";;for=203.0.113.9;;proto=https"], ("203.0.113.9", 0)),
        (["for=203.0.113.9,, for=10.0.0.2"], ("203.0.113.9", 0)),
        (["for=203.0.113.9, ; ,for=10.0.0.2,"], ("203.0.113.9", 0)),
        ([";"], PROXY),
        (["proto=https"], None),
        (["for=203.0.113.9, proto=https"], None),
        ([""], PROXY),
        ([" , "], PROXY),
        (["", "for=203.0.113.9"], ("203.0.113.9", 0)),
        ([], PROXY),
    ],
)
def test_forwarded(lines: Any, client: Any) -> None:
    assert client_of("Forwarded", lines) == client


@pytest.mark.parametrize(
    "line",
    [
        "203.0.113.9",
        "for",
        "for=",
        "=203.0.113.9",
        "for=203.0.113.9;for=1.1.1.1",
        "a=1;for=203.0.113.9;a=1",
        "for = 203.0.113.9",
        "for=2001:db8::7",
        "for=[2001:db8::7]",
        'for="2001:db8::7"',
        'for="203.0.113.9',
        'for="203.0.113.9"x',
        "for=203.0.113.9 x",
        "for=nonsense",
        'for=""',
        'for="203.0.113.9, for=1.1.1.1"',
        # A client's quote must not swallow what its proxy adds.
        'x=", for=203.0.113.9',
        'x=", for="[2001:db8::7]"',
        'for=1.1.1.1;x="\\", for=203.0.113.9',
        'for="1.1.1.1\x01"',
        "for=203.0.113.9\n",
        "for=203.0.113.9 proto=https",
    ],
)
def test_forwarded_that_cannot_be_read(line: str) -> None:
    with pytest.raises(ValueError, match=r"it is no list|IP address|two values") as raised:
        client_of("Forwarded", [line])
    assert "113" not in str(raised.value)


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For"])
@pytest.mark.parametrize("peer", [("203.0.113.1", 1), ("2001:db8::1", 1, 0, 0), "", None])
def test_others_are_not_believed(name: str, peer: Any) -> None:
    for line in ("for=10.0.0.9", "10.0.0.9", "nonsense"):
        assert client_of(name, [line], peer) == peer


def test_only_the_header_that_was_named_counts() -> None:
    """Proxies pass on the other one as a client has sent it."""
    assert client_of("X-Forwarded-For", [], Forwarded="for=1.1.1.1") == PROXY
    others = {"X-Forwarded-For": "1.1.1.1"}
    assert client_of("Forwarded", ["for=203.0.113.9"], **others) == ("203.0.113.9", 0)


def test_a_long_list_is_read_quickly() -> None:
    assert client_of("X-Forwarded-For", [",".join(["1"] * 30000) + ",203.0.113.9"])
    with pytest.raises(ValueError, match="it is no list"):
        client_of("Forwarded", ['x="' + '\\"' * 30000])


@pytest.mark.parametrize("name", ["x-forwarded-for", "FORWARDED"])
def test_names(name: str) -> None:
    assert ForwardedHeader(name, PROXIES).name.lower() == name.lower()


@pytest.mark.parametrize(
    ("name", "error"),
    [("X-Real-IP", WSInvalidOptionError), ("", WSInvalidOptionError), (5, TypeError)],
)
def test_wrong_names(name: Any, error: Any) -> None:
    with pytest.raises(error, match="forwarded_header"):
        ForwardedHeader(name, PROXIES)
