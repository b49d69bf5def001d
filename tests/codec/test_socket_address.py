"""picows_codec.socket_address, and the addresses of transports and requests."""

from __future__ import annotations

from typing import Any

import pytest

from picows_codec import socket_address
from picows_codec.socket_address import format_address, pack_address, unpack_address
from picows_codec.testing.memory_transport import MemoryTransport
from tests.support.connection import Connection, both_roles


def test_names() -> None:
    assert socket_address.__all__ == [
        "SocketAddress",
        "UnixPath",
        "format_address",
        "pack_address",
        "unpack_address",
    ]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (("fe80::1%eth0", 80, 0, 2), "[fe80::1%eth0]:80"),
        ("/run/a.sock", "unix:/run/a.sock"),
        ("/run/a\nb", r"unix:/run/a\nb"),
        ("", "unix:(unnamed)"),
        (b"", "unix:(unnamed)"),
        (b"\0name\xff", r"unix:@name\xff"),
        (None, "unknown address"),
        (7, "7"),
    ],
)
def test_format(address: Any, text: str) -> None:
    assert format_address(address) == text


@pytest.mark.parametrize(
    "address",
    [("0.0.0.0", 0), ("127.0.0.1", 80), ("255.255.255.255", 65535), ("10.1.2.3", 256)],
)
def test_an_address_of_ipv4_is_packed(address: Any) -> None:
    packed = pack_address(address)
    assert isinstance(packed, int)
    assert unpack_address(packed) == address


@pytest.mark.parametrize(
    "address",
    [
        ("::1", 80, 0, 0),
        ("::1", 80),
        ("localhost", 80),
        ("1.2.3", 80),
        ("1.2.3.4.5", 80),
        ("1.2.3.256", 80),
        ("01.2.3.4", 80),
        (" 1.2.3.4", 80),
        ("1.2.3.-4", 80),
        ("1.2.3.4", 65536),
        ("1.2.3.4", -1),
        ("1.2.3.4", None),
        (b"1.2.3.4", 80),
        (1, 2),
        (),
        "/run/a.sock",
        b"\0name",
        7,
        None,
    ],
)
def test_any_other_address_is_kept_as_it_is(address: Any) -> None:
    assert pack_address(address) is address
    assert unpack_address(address) is address


@both_roles
def test_transport_that_cannot_tell(role: str) -> None:
    connection = Connection(role)
    assert connection.ws.remote_address is None
    assert connection.ws.request.remote_address is None


@both_roles
@pytest.mark.parametrize("ending", ["lose", "close"])
def test_addresses_outlive_the_connection(
    role: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_extra_info(transport: object, name: str, default: Any = None) -> Any:
        return {"peername": ("10.0.0.1", 1), "sockname": ("10.0.0.2", 2)}.get(name, default)

    monkeypatch.setattr(MemoryTransport, "get_extra_info", get_extra_info)
    connection = Connection(role, open=False)
    connection.start()
    assert connection.ws.remote_address == ("10.0.0.1", 1)
    connection.open()
    for ends in (connection.ws, connection.ws.request):
        assert (ends.remote_address, ends.local_address) == (("10.0.0.1", 1), ("10.0.0.2", 2))
    if ending == "lose":
        connection.lose(ConnectionResetError())
    else:
        connection.ws.disconnect(graceful=False)
        connection.loop.run_ready()
    assert connection.ws.is_disconnected
    for ends in (connection.ws, connection.ws.request):
        assert (ends.remote_address, ends.local_address) == (("10.0.0.1", 1), ("10.0.0.2", 2))


def test_an_address_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_extra_info(transport: object, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return default
        raise OSError

    monkeypatch.setattr(MemoryTransport, "get_extra_info", get_extra_info)
    connection = Connection("server")
    assert connection.ws.remote_address is None
    assert connection.ws.local_address is None


def test_connections_share_equal_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_extra_info(transport: object, name: str, default: Any = None) -> Any:
        return (name, int("1000")) if name in ("peername", "sockname") else default

    monkeypatch.setattr(MemoryTransport, "get_extra_info", get_extra_info)
    one, other = Connection("server"), Connection("server")
    assert one.ws.local_address is other.ws.local_address
    assert one.ws.remote_address is other.ws.remote_address
