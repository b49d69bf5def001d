"""picows_codec.socket_address, and the addresses of transports and requests."""

from __future__ import annotations

from typing import Any

import pytest

from picows_codec import socket_address
from picows_codec.socket_address import format_address
from tests.support.connection import Connection, both_roles
from tests.support.memory import MemoryTransport


def test_names() -> None:
    assert socket_address.__all__ == ["format_address"]


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
