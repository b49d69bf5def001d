"""Heads of requests and responses, and handshakes to feed them to."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

from picows_codec.errors import WSHandshakeError
from picows_codec.http.client_handshake import ClientHandshake
from picows_codec.http.handshake import OpeningHandshake
from picows_codec.http.server_handshake import ServerHandshake
from picows_codec.http.upgrade import WSUpgradeRequest
from picows_codec.options import WSOptions

TAIL = b"\x81\x05hello\r\n\r\nGET / HTTP/1.1\r\n\x00"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
# In the path and the headers of every request here; no response may have it.
MARK = "kilroy"
Headers = List[Tuple[str, Optional[str]]]
Feed = Callable[[OpeningHandshake, bytes], int]


def feed_whole(handshake: OpeningHandshake, data: bytes) -> int:
    return handshake.feed_data(data)


def feed_byte_by_byte(handshake: OpeningHandshake, data: bytes) -> int:
    taken = 0
    for byte in data:
        if not handshake.done:
            taken += handshake.feed_data(bytes([byte]))
    return taken


def feed_with_tail(handshake: OpeningHandshake, data: bytes) -> int:
    return handshake.feed_data(data + TAIL)


def head(first_line: str, headers: Headers, changes: Headers) -> bytes:
    """A head in which changes replace headers, or with the value None remove them."""
    changed = {name for name, _ in changes}
    lines = [f"{name}: {value}" for name, value in headers if name not in changed]
    lines += [f"{name}: {value}" for name, value in changes if value is not None]
    return "\r\n".join([first_line, *lines, "", ""]).encode("utf-8", "surrogateescape")


def request_head(
    *changes: Tuple[str, Optional[str]], first_line: str = f"GET /{MARK}?a=%20 HTTP/1.1"
) -> bytes:
    return head(
        first_line,
        [
            ("Host", f"{MARK}.example"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
            ("X-Mark", MARK),
        ],
        list(changes),
    )


LISTENER = object()


def make_server(
    route: Callable[[WSUpgradeRequest], object] = lambda request: LISTENER, **options: Any
) -> ServerHandshake:
    return ServerHandshake(route, options=WSOptions(**options))


def route_must_not_be_called(_: WSUpgradeRequest) -> object:
    raise AssertionError("the route was called")


def read_answer(data: bytes, is_head: bool = False) -> Tuple[int, Dict[str, str], bytes]:
    """Parse a response that is no upgrade, strictly; to HEAD it has no body."""
    raw_head, separator, body = data.partition(b"\r\n\r\n")
    assert separator
    first_line, *lines = raw_head.decode("ascii").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.1 ([1-5]\d\d) [ -~]*", first_line)
    assert match
    headers: Dict[str, str] = {}
    for line in lines:
        field = re.fullmatch(r"([A-Za-z-]+): ([ -~]*)", line)
        assert field
        assert field[1] not in headers
        headers[field[1]] = field[2]
    assert headers["Content-Length"] == str(len(body)) or is_head
    assert not (is_head and body)
    assert "close" in headers["Connection"].split(", ")
    assert ("Content-Type" in headers) == (headers["Content-Length"] != "0")
    assert MARK.encode() not in data
    return int(match[1]), headers, body


def check_refusal(
    server: ServerHandshake, data: bytes, status: int, error_type: Type[WSHandshakeError]
) -> Tuple[Dict[str, str], bytes]:
    assert server.done
    assert not server.accepted
    assert server.listener is None
    assert server.subprotocol is None
    error = server.error
    assert type(error) is error_type
    assert isinstance(error, WSHandshakeError)
    assert error.status == status
    assert error.raw_header
    assert (data + TAIL).startswith(error.raw_header)
    assert server.response is not None
    assert server.response.status == status
    assert server.feed_data(TAIL) == 0
    is_head = server.request is not None and server.request.method == "HEAD"
    answered, headers, body = read_answer(server.to_send, is_head)
    assert answered == status
    return headers, body


def check_route_error(server: ServerHandshake) -> BaseException:
    assert server.done
    assert not server.accepted
    assert server.listener is None
    assert server.subprotocol is None
    status, _, body = read_answer(server.to_send)
    assert status == 500
    assert body == b"Internal Server Error\n"
    assert server.response.status == 500
    assert server.error is not None
    return server.error


def make_client(
    factory: Callable[..., object] = lambda request, response: LISTENER,
    extra_headers: Any = None,
    subprotocols: Any = (),
    **options: Any,
) -> Tuple[ClientHandshake, bytes]:
    """A client, and the response that it accepts."""
    client = ClientHandshake(
        f"/{MARK}",
        f"{MARK}.example",
        factory,
        extra_headers=extra_headers,
        subprotocols=subprotocols,
        options=WSOptions(**options),
    )
    return client, response_head(client)


def response_head(
    client: ClientHandshake,
    *changes: Tuple[str, Optional[str]],
    first_line: str = "HTTP/1.1 101 Switching Protocols",
) -> bytes:
    assert client.request is not None
    key = client.request.headers["Sec-WebSocket-Key"]
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return head(
        first_line,
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
        ],
        list(changes),
    )


def client_accept(answer: bytes) -> str:
    match = re.search(rb"Accept: (\S+)", answer)
    assert match
    return match[1].decode()


def client_with(**arguments: Any) -> ClientHandshake:
    arguments = {
        "target": "/",
        "host_header": "a",
        "listener_factory": lambda request, response: LISTENER,
        "options": WSOptions(),
        **arguments,
    }
    return ClientHandshake(**arguments)
