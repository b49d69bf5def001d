"""picows_client.first_hop: which ways to the first hop make sense."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any, Dict, Iterator, Type

import pytest

from picows_client import WSInvalidOptionError
from picows_client.first_hop import FirstHop


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        yield made


def test_default() -> None:
    assert FirstHop() == FirstHop(None, None, None, None, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"unix_path": "/run/socket"},
        {"unix_path": b"\0abstract"},
        {"unix_path": Path("/run/socket")},
        {"socket_factory": lambda url: None},
        {"socket_factory": lambda url: None, "local_addr": ("::1", 0)},
        {"local_addr": ("127.0.0.1", 65535), "family": socket.AF_INET},
        {"family": socket.AF_INET6},
    ],
)
def test_possible(options: Dict[str, Any]) -> None:
    FirstHop(**options)


@pytest.mark.parametrize(
    ("options", "error_type", "reason"),
    [
        ({"sock": 1}, TypeError, "sock must be a socket.socket"),
        ({"unix_path": 1}, TypeError, "unix_path must be"),
        ({"unix_path": ""}, WSInvalidOptionError, "empty"),
        ({"socket_factory": 1}, TypeError, "callable"),
        ({"local_addr": "127.0.0.1"}, TypeError, "tuple"),
        ({"local_addr": ("127.0.0.1",)}, TypeError, "tuple"),
        ({"local_addr": ("127.0.0.1", "0")}, TypeError, "port"),
        ({"local_addr": (None, 0)}, TypeError, "host"),
        ({"local_addr": ("127.0.0.1", -1)}, WSInvalidOptionError, "0 to 65535"),
        ({"local_addr": ("127.0.0.1", 65536)}, WSInvalidOptionError, "0 to 65535"),
        ({"family": "4"}, TypeError, "family must be an int"),
        ({"family": socket.AF_UNIX}, WSInvalidOptionError, "AF_INET6"),
        ({"unix_path": "a", "local_addr": ("::1", 0)}, WSInvalidOptionError, "with unix_path"),
        ({"unix_path": "a", "family": socket.AF_INET}, WSInvalidOptionError, "with unix_path"),
        (
            {"unix_path": "a", "socket_factory": lambda url: None},
            WSInvalidOptionError,
            "unix_path and socket_factory exclude each other",
        ),
    ],
)
def test_impossible(options: Dict[str, Any], error_type: Type[Exception], reason: str) -> None:
    with pytest.raises(error_type, match=reason):
        FirstHop(**options)


def test_given_socket(sock: socket.socket) -> None:
    FirstHop(sock)
    for other in ({"unix_path": "a"}, {"socket_factory": print}):
        with pytest.raises(WSInvalidOptionError, match="exclude each other"):
            FirstHop(sock, **other)  # type: ignore[arg-type]
    with pytest.raises(WSInvalidOptionError, match="no meaning with sock"):
        FirstHop(sock, local_addr=("127.0.0.1", 0))


def test_datagram_socket() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(
        WSInvalidOptionError, match="stream socket"
    ):
        FirstHop(sock)


def test_tls_socket(client_context: ssl.SSLContext, sock: socket.socket) -> None:
    with client_context.wrap_socket(
        sock, server_hostname="localhost", do_handshake_on_connect=False
    ) as tls_sock, pytest.raises(TypeError, match="plain socket"):
        FirstHop(tls_sock)


def test_a_platform_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(WSInvalidOptionError, match="this platform has no Unix sockets"):
        FirstHop(unix_path="/tmp/server")
