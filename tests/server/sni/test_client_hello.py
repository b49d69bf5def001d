"""picows_server.sni.client_hello: what is read from the first bytes of a TLS connection."""

from __future__ import annotations

import ssl
from typing import Optional, Sequence, Tuple

import pytest

from picows_server.sni.client_hello import (
    MOST_BYTES,
    ClientHello,
    ClientHelloError,
    encode_alert,
)
from tests.support.client_hellos import (
    hello_by_hand,
    hello_of_openssl,
    name_extension,
    record,
    records,
)

NAME = name_extension(b"example.com")
GREASE = (0x3A3A, b"")
ENCRYPTED = (0xFE0D, bytes(200))


def read(data: bytes) -> ClientHello:
    """Feed everything at once, and byte by byte; both must come to the same."""
    hello, slow = ClientHello(), ClientHello()
    error = slow_error = None
    try:
        hello.feed(data)
    except ClientHelloError as found:
        error = found
    try:
        for position in range(len(data)):
            slow.feed(data[position : position + 1])
    except ClientHelloError as found:
        slow_error = found
    assert str(error) == str(slow_error)
    if error is not None:
        raise error
    assert (hello.wanted, hello.server_name) == (slow.wanted, slow.server_name)
    return hello


@pytest.mark.parametrize("maximum", [None, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.com", "example.com"),
        ("xn--e1afmkfd.xn--p1ai",) * 2,
    ],
)
def test_clients_of_openssl(name: str, expected: str, maximum: Optional[ssl.TLSVersion]) -> None:
    hello = read(hello_of_openssl(name, maximum=maximum, alpn=["http/1.1"]))
    assert (hello.server_name, hello.wanted) == (expected, 0)


@pytest.mark.parametrize("name", [None, "127.0.0.1", "::1"])
def test_clients_that_send_no_name(name: Optional[str]) -> None:
    hello = read(hello_of_openssl(name))
    assert (hello.server_name, hello.wanted) == (None, 0)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"Example.COM", "example.com"),
        (b"example.com.", "example.com"),
        (b".", ""),
        (b"192.0.2.1", "192.0.2.1"),  # forbidden, but it is only a name that nobody has
        (b"a" * 1000, "a" * 1000),
        (b"under_score", "under_score"),
    ],
)
def test_names(sent: bytes, expected: str) -> None:
    assert read(records(hello_by_hand([name_extension(sent)]))).server_name == expected


@pytest.mark.parametrize(
    "extensions",
    [
        [GREASE, NAME],
        [NAME, ENCRYPTED],
        [GREASE, ENCRYPTED, NAME, (0x0A0A, b"\0")],
        [NAME, (21, bytes(300))],
    ],
)
def test_other_extensions_are_skipped(extensions: Sequence[Tuple[int, bytes]]) -> None:
    assert read(records(hello_by_hand(extensions))).server_name == "example.com"


@pytest.mark.parametrize("extensions", [None, [], [GREASE]])
def test_no_extension(extensions: Optional[Sequence[Tuple[int, bytes]]]) -> None:
    assert read(records(hello_by_hand(extensions))).server_name is None


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100, 16384])
def test_fragments(size: int) -> None:
    """TLS allows a message to be cut anywhere (RFC 8446, 5.1)."""
    message = hello_by_hand([GREASE, NAME])
    assert read(records(message, size)).server_name == "example.com"


@pytest.mark.parametrize("version", [b"\3\0", b"\3\1", b"\3\3", b"\3\x7f"])
def test_versions_of_records_have_no_meaning(version: bytes) -> None:
    hello = read(record(hello_by_hand([NAME]), version=version))
    assert hello.server_name == "example.com"


def test_what_follows_is_not_looked_at() -> None:
    hello = read(records(hello_by_hand([NAME])) + b"anything")
    assert hello.server_name == "example.com"
    hello.feed(b"more")
    assert hello.wanted == 0


def test_bytes_behind_the_message_in_its_record() -> None:
    assert read(record(hello_by_hand([NAME]) + b"anything")).server_name == "example.com"


def test_wanted_is_never_too_much() -> None:
    data = records(hello_by_hand([NAME, (21, bytes(900))]), 300)
    hello, position = ClientHello(), 0
    while hello.wanted:
        assert position + hello.wanted <= len(data)
        step = hello.wanted
        hello.feed(data[position : position + step])
        position += step
    assert position == len(data)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x80\x2e\1\3\1", b"\x16\2\0", b"PROXY ", b"\0" * 9]
)
def test_what_is_not_tls(data: bytes) -> None:
    with pytest.raises(ClientHelloError, match="does not speak TLS") as raised:
        read(data)
    assert raised.value.alert is None


_MESSAGE = hello_by_hand([NAME])


@pytest.mark.parametrize(
    ("data", "alert", "text"),
    [
        (record(b""), 10, "a record is empty"),
        (record(_MESSAGE[:9]) + record(b""), 10, "a record is empty"),
        (b"\x16\3\1\x40\1", 22, "a record is too large"),
        (record(_MESSAGE[:9]) + record(b"\2\x28", 21), 10, "the handshake goes on with something"),
        (record(b"\2" + _MESSAGE[1:]), 10, "the first message is no ClientHello"),
        (record(b"\1\xff\xff\xff"), 50, "more than 65536 bytes"),
        (records(hello_by_hand([(21, bytes(60000))]), 40), 50, "more than 65536 bytes"),
        (records(hello_by_hand(behind=b"x")), 50, "bytes behind the extensions"),
        (records(hello_by_hand(session_id=bytes(33))), 50, "session ID"),
        (records(hello_by_hand(suites=b"")), 50, "cipher suites"),
        (records(hello_by_hand(suites=b"\x13\1\x13")), 50, "cipher suites"),
        (records(hello_by_hand(compression=b"")), 50, "compression"),
        (records(hello_by_hand([NAME, NAME])), 47, "sent twice"),
        (records(hello_by_hand([(0, b"")])), 50, "ends within a field"),
        (records(hello_by_hand([(0, b"\0\0")])), 50, "ends within a field"),
        (records(hello_by_hand([(0, b"\0\4\0\0\5ab")])), 50, "ends within a field"),
        (records(hello_by_hand([name_extension(b"a", b"b")])), 50, "list of one host name"),
        (records(hello_by_hand([name_extension(b"a", kind=1)])), 50, "list of one host name"),
        (records(hello_by_hand([(0, NAME[1] + b"x")])), 50, "list of one host name"),
        (records(hello_by_hand([name_extension(b"")])), 47, "no host name"),
        (records(hello_by_hand([name_extension(b"a\0b")])), 47, "no host name"),
        (records(hello_by_hand([name_extension(b"a b")])), 47, "no host name"),
        (records(hello_by_hand([name_extension(b"stra\xc3\x9fe")])), 47, "no host name"),
        (record(b"\1\0\0\2\3\3"), 50, "ends within a field"),
        (record(b"\1\0\0\0"), 50, "ends within a field"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_what_is_no_client_hello(data: bytes, alert: int, text: str) -> None:
    with pytest.raises(ClientHelloError, match=text) as raised:
        read(data)
    assert raised.value.alert == alert


@pytest.mark.parametrize("end", range(0, len(_MESSAGE), 7))
def test_a_length_that_is_cut(end: int) -> None:
    """The message says that it ends here, wherever that is."""
    body = _MESSAGE[4:][:end]
    data = record(b"\1" + len(body).to_bytes(3, "big") + body)
    if end < len(_MESSAGE) - 4 and end != 2 + 32 + 33 + 4 + 2:
        with pytest.raises(ClientHelloError):
            read(data)


def test_the_largest() -> None:
    padding = MOST_BYTES - 4 * 5 - len(hello_by_hand([NAME, (21, b"")]))
    data = records(hello_by_hand([NAME, (21, bytes(padding))]))
    assert len(data) == MOST_BYTES
    hello = ClientHello()
    hello.feed(data)
    assert (hello.server_name, hello.wanted) == ("example.com", 0)
    with pytest.raises(ClientHelloError, match="more than"):
        ClientHello().feed(records(hello_by_hand([NAME, (21, bytes(padding + 1))])))


def test_alerts() -> None:
    """RFC 8446, 6: fatal, unrecognized_name."""
    assert encode_alert(112) == b"\x15\3\3\0\2\2\x70"
