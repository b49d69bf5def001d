from __future__ import annotations

import base64
import gc
import hashlib
import pickle
import re
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

import picows_codec.handshake as handshake_room
from picows_codec.errors import (
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSStateError,
)
from picows_codec.handshake import (
    ClientHandshake,
    OpeningHandshake,
    ServerHandshake,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.options import WSOptions

TAIL = b"\x81\x05hello\r\n\r\nGET / HTTP/1.1\r\n\x00"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
# In the path and the headers of every request here; must be in no answer.
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


@pytest.fixture(params=[feed_whole, feed_byte_by_byte, feed_with_tail])
def feed(request: pytest.FixtureRequest) -> Feed:
    return request.param


def head(first_line: str, headers: Headers, changes: Headers) -> bytes:
    """A head in which changes replace headers, or with the value None remove them."""
    changed = {name for name, _ in changes}
    lines = [f"{name}: {value}" for name, value in headers if name not in changed]
    lines += [f"{name}: {value}" for name, value in changes if value is not None]
    return "\r\n".join([first_line, *lines, "", ""]).encode("utf-8", "surrogateescape")


# Requests and what a server makes of them


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
    """Parse an answer that is no upgrade, strictly; to HEAD it has no body."""
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


def test_server_accepts(feed: Feed) -> None:
    requests = []

    def route(request: WSUpgradeRequest) -> object:
        requests.append(request)
        return LISTENER

    server = make_server(route)
    data = request_head()
    assert not server.done
    assert feed(server, data) == len(data)
    assert server.done
    assert server.accepted
    assert server.error is None
    assert server.listener is LISTENER
    assert server.subprotocol is None
    assert requests == [server.request]
    assert server.request.raw_header == data
    assert server.to_send == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n"
    )


def test_server_response() -> None:
    server = make_server()
    server.feed_data(request_head())
    response = server.response
    assert response is not None
    assert response.status == 101
    assert response.reason == "Switching Protocols"
    assert response.version == "HTTP/1.1"
    assert response.body is None
    assert response.subprotocol is None
    assert response.raw_header == server.to_send == response.to_bytes()
    assert response.headers == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": ACCEPT,
    }


def test_nothing_is_taken_once_done(feed: Feed) -> None:
    server = make_server()
    feed(server, request_head())
    assert server.feed_data(TAIL) == 0
    assert server.accepted


def test_nothing_is_fed() -> None:
    server = make_server()
    assert server.feed_data(b"") == 0
    assert not server.done
    assert server.to_send == b""


def test_take_to_send() -> None:
    server = make_server()
    assert server.take_to_send() == b""
    server.feed_data(request_head())
    data = server.to_send
    assert data
    assert server.take_to_send() == data
    assert server.to_send == server.take_to_send() == b""


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_feed_bytes_like(kind: Callable[[bytes], Any]) -> None:
    server = make_server()
    assert server.feed_data(kind(request_head())) == len(request_head())
    assert server.accepted


@pytest.mark.parametrize("data", ["GET", None, 1, memoryview(bytes(8))[::2]])
def test_feed_something_else(data: Any) -> None:
    with pytest.raises((TypeError, BufferError)):
        make_server().feed_data(data)


def test_what_is_fed_may_change_afterwards() -> None:
    server = make_server()
    for byte in request_head():
        piece = bytearray([byte])
        server.feed_data(piece)
        piece[0] = 0
    assert server.accepted
    data = bytearray(request_head())
    server = make_server()
    server.feed_data(data)
    data[:] = bytes(len(data))
    assert server.request.raw_header == request_head()


@pytest.mark.parametrize(
    "changes",
    [
        [("Upgrade", "WebSocket")],
        [("Upgrade", "h2c, WEBSOCKET")],
        [("Upgrade", "h2c"), ("upgrade", "websocket")],
        [("Upgrade", "websocket"), ("UPGRADE", "h2c")],
        [("Upgrade", ",, websocket\t,")],
        [("Connection", "upgrade")],
        [("Connection", "keep-alive, Upgrade")],
        [("Connection", "keep-alive,UPGRADE,x")],
        [("Connection", "keep-alive"), ("connection", "upgrade")],
        [("Connection", "upgrade"), ("CONNECTION", "keep-alive")],
        [("Host", "a")],
        [("Host", "a:8080")],
        [("Host", "[::1]:8080")],
        [("Host", None), ("hOST", "a")],
        [("Sec-WebSocket-Key", None), ("SEC-websocket-KEY", KEY)],
        [("Sec-WebSocket-Key", f" \t{KEY}\t ")],
        [("Sec-WebSocket-Version", None), ("sec-websocket-version", "13")],
        [("Content-Length", "0")],
        [("Content-Length", "0"), ("content-length", "00")],
        [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")],
        [("Sec-WebSocket-Extensions", "")],
        [("Sec-WebSocket-Protocol", "a")],
        [("Sec-WebSocket-Protocol", "")],
        [("Sec-WebSocket-Protocol", ", ,")],
        [("Sec-WebSocket-Protocol", " "), ("sec-websocket-protocol", "\t")],
        [("X-Empty", "")],
        [("X-Text", "\xc3\xbc\tb \udcff")],
        [("Sec-WebSocket-Accept", "")],
        [("Expect", "100-continue")],
    ],
)
def test_server_accepts_variants(feed: Feed, changes: Headers) -> None:
    server = make_server()
    data = request_head(*changes)
    assert feed(server, data) == len(data)
    assert server.error is None
    assert server.accepted
    assert f"Sec-WebSocket-Accept: {ACCEPT}\r\n".encode() in server.to_send


# The request: (changes, status, type of the error, header, its value)

NOT_AN_UPGRADE: List[Tuple[Headers, int, Type[WSHandshakeError], str, Optional[str]]] = [
    ([("Upgrade", None)], 426, WSInvalidUpgradeError, "Upgrade", None),
    ([("Upgrade", "")], 426, WSInvalidUpgradeError, "Upgrade", ""),
    ([("Upgrade", MARK)], 426, WSInvalidUpgradeError, "Upgrade", MARK),
    ([("Upgrade", "websockets")], 426, WSInvalidUpgradeError, "Upgrade", "websockets"),
    ([("Upgrade", "web socket")], 426, WSInvalidUpgradeError, "Upgrade", "web socket"),
    ([("Upgrade", "websocket/13")], 426, WSInvalidUpgradeError, "Upgrade", "websocket/13"),
    ([("Connection", None)], 426, WSInvalidUpgradeError, "Connection", None),
    ([("Connection", MARK)], 426, WSInvalidUpgradeError, "Connection", MARK),
    ([("Connection", "no-upgrade")], 426, WSInvalidUpgradeError, "Connection", "no-upgrade"),
    (
        [("Connection", "keep-alive Upgrade")],
        426,
        WSInvalidUpgradeError,
        "Connection",
        "keep-alive Upgrade",
    ),
    (
        [("Sec-WebSocket-Version", "8")],
        426,
        WSInvalidHeaderError,
        "Sec-WebSocket-Version",
        "8",
    ),
    (
        [("Sec-WebSocket-Version", "14")],
        426,
        WSInvalidHeaderError,
        "Sec-WebSocket-Version",
        "14",
    ),
    (
        [("Sec-WebSocket-Version", "013")],
        426,
        WSInvalidHeaderError,
        "Sec-WebSocket-Version",
        "013",
    ),
    (
        [("Sec-WebSocket-Version", "13, 8")],
        426,
        WSInvalidHeaderError,
        "Sec-WebSocket-Version",
        "13, 8",
    ),
]
BAD_UPGRADES: List[Tuple[Headers, int, Type[WSHandshakeError], str, Optional[str]]] = [
    ([("Sec-WebSocket-Version", None)], 400, WSInvalidHeaderError, "Sec-WebSocket-Version", None),
    (
        [("Sec-WebSocket-Version", "13"), ("sec-websocket-version", "13")],
        400,
        WSInvalidHeaderError,
        "Sec-WebSocket-Version",
        "13",
    ),
    ([("Sec-WebSocket-Key", None)], 400, WSInvalidHeaderError, "Sec-WebSocket-Key", None),
    ([("Sec-WebSocket-Key", "")], 400, WSInvalidHeaderError, "Sec-WebSocket-Key", ""),
    (
        [("Sec-WebSocket-Key", KEY), ("sec-websocket-key", KEY)],
        400,
        WSInvalidHeaderError,
        "Sec-WebSocket-Key",
        KEY,
    ),
    # 15 bytes, 17 bytes, not base64, spare bits set, without padding, not in one piece
    *[
        ([("Sec-WebSocket-Key", key)], 400, WSInvalidHeaderError, "Sec-WebSocket-Key", key)
        for key in (
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZWU=",
            "dGhlIHNhbXBsZSBub25_ZQ==",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBs ZSBub25jZQ=",
            f"{MARK}-{MARK}-{MARK}-{MARK}",
        )
    ],
    *[
        (
            [("Sec-WebSocket-Protocol", value)],
            400,
            WSInvalidHeaderError,
            "Sec-WebSocket-Protocol",
            value,
        )
        for value in ("a b", "a, b/c", f'"{MARK}"', "\u00fc", "\udcff")
    ],
]
BAD_REQUESTS: List[Tuple[Headers, int, Type[WSHandshakeError], str, Optional[str]]] = [
    ([("Host", None)], 400, WSInvalidHeaderError, "Host", None),
    ([("Host", "a"), ("host", "a")], 400, WSInvalidHeaderError, "Host", "a"),
    *[
        ([("Host", host)], 400, WSInvalidHeaderError, "Host", host)
        for host in ("", f"a {MARK}", f"{MARK}@a", "a/", "a:b", "a:65536", "[::1", "\u00fc", "a, b")
    ],
]


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


@pytest.mark.parametrize(
    ("changes", "status", "error_type", "name", "value"),
    [*NOT_AN_UPGRADE, *BAD_UPGRADES, *BAD_REQUESTS],
)
def test_server_refuses_headers(
    feed: Feed,
    changes: Headers,
    status: int,
    error_type: Type[WSHandshakeError],
    name: str,
    value: Optional[str],
) -> None:
    server = make_server()
    data = request_head(*changes)
    assert feed(server, data) == len(data)
    headers, body = check_refusal(server, data, status, error_type)
    error = server.error
    assert isinstance(error, WSInvalidHeaderError)
    assert error.name == name
    assert error.value == value
    assert error.raw_header == data
    # The error shows what was refused; what the client is told does not.
    assert str(error).startswith(f"invalid {name.lower()} header: {name} must ")
    assert str(error).endswith("; it is missing") or repr(value)[:100] in str(error)
    assert body.startswith(f"header {name} must ".encode())
    assert str(error).startswith(
        f"invalid {name.lower()} {body.decode()[:-1]}".replace(f"header {name}", f"header: {name}")
    )
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    if status == 426:
        assert headers["Upgrade"] == "websocket"
        assert headers["Connection"] == "Upgrade, close"
        assert headers["Sec-WebSocket-Version"] == "13"
    else:
        assert headers["Connection"] == "close"
        assert "Upgrade" not in headers


@pytest.mark.parametrize("changes", [changes for changes, *_ in BAD_REQUESTS])
def test_the_route_sees_no_bad_request(changes: Headers) -> None:
    server = make_server(route_must_not_be_called)
    server.feed_data(request_head(*changes))
    assert type(server.error) is WSInvalidHeaderError


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "get", MARK])
def test_the_route_answers_any_request(feed: Feed, method: str, version: str) -> None:
    """Health checks of load balancers: any method, HTTP/1.0 with or without Host."""
    for host in [f"Host: {MARK}\r\n"] + [""] * (version == "1.0"):
        for result, status in (
            (WSUpgradeResponse.create_ok_response("fine"), 200),
            (WSUpgradeResponse.create_error_response(503, "later"), 503),
            (None, 404),
        ):
            seen = []

            def route(request: WSUpgradeRequest, result: Any = result, seen: Any = seen) -> Any:
                seen.append((request.method, request.path, request.version))
                return result

            server = make_server(route)
            data = f"{method} /{MARK} HTTP/{version}\r\n{host}\r\n".encode()
            assert feed(server, data) == len(data)
            assert seen == [(method, f"/{MARK}", f"HTTP/{version}")]
            assert server.done
            assert server.error is None
            answered, headers, body = read_answer(server.to_send, method == "HEAD")
            assert answered == status
            get = make_server(route)
            get.feed_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            expected, expected_headers, expected_body = read_answer(get.to_send)
            assert (answered, headers) == (expected, expected_headers)
            assert body == (b"" if method == "HEAD" else expected_body)


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get", MARK])
def test_server_upgrades_no_other_method(feed: Feed, method: str) -> None:
    server = make_server()
    data = request_head(first_line=f"{method} /{MARK} HTTP/1.1")
    assert feed(server, data) == len(data)
    headers, body = check_refusal(server, data, 405, WSInvalidMessageError)
    assert headers["Allow"] == "GET"
    assert bool(body) == (method != "HEAD")
    assert server.request.method == method
    assert str(server.error) == f"GET is wanted (RFC 6455, 4.2.1, 1), not {method!r}"


def test_targets_of_other_methods(feed: Feed) -> None:
    server = make_server(lambda request: None)
    feed(server, request_head(first_line="OPTIONS * HTTP/1.1"))
    assert read_answer(server.to_send)[0] == 404
    assert server.request.path == "*"


def test_server_is_no_proxy(feed: Feed) -> None:
    server = make_server(route_must_not_be_called)
    data = request_head(first_line="CONNECT a:80 HTTP/1.1")
    feed(server, data)
    check_refusal(server, data, 405, WSInvalidMessageError)


def test_a_query_is_not_in_the_error(feed: Feed) -> None:
    server = make_server(route_must_not_be_called)
    feed(server, request_head(first_line="GET /path?token=secret  HTTP/1.1"))
    assert str(server.error).endswith(": b'GET /path?...'")


@pytest.mark.parametrize("name", ["Authorization", "proxy-authorization", "Cookie"])
def test_a_secret_is_not_in_the_error(feed: Feed, name: str) -> None:
    for field in (f"{name} : secret", f"{name}: secret\x01"):
        server = make_server(route_must_not_be_called)
        feed(server, request_head().replace(b"\r\n\r\n", f"\r\n{field}\r\n\r\n".encode()))
        assert name in str(server.error)
        assert str(server.error).endswith(":...'")


@pytest.mark.parametrize("first_line", ["GET / HTTP/1.2", "GET / HTTP/0.9", "PRI * HTTP/2.0"])
def test_server_refuses_version(feed: Feed, first_line: str) -> None:
    server = make_server(route_must_not_be_called)
    data = request_head(first_line=first_line)
    assert feed(server, data) == len(data)
    check_refusal(server, data, 505, WSInvalidMessageError)
    assert server.request.version == first_line.split()[2]
    assert repr(server.request.version) in str(server.error)


def test_server_upgrades_no_http_1_0(feed: Feed) -> None:
    server = make_server()
    data = request_head(first_line="GET / HTTP/1.0")
    assert feed(server, data) == len(data)
    check_refusal(server, data, 505, WSInvalidMessageError)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_empty_lines_before_the_request(feed: Feed, count: int) -> None:
    """RFC 9112, 2.2."""
    server = make_server()
    data = request_head()
    assert feed(server, b"\r\n" * count + data) == 2 * count + len(data)
    assert server.accepted
    assert server.request.raw_header == data


def test_endless_empty_lines_before_the_request(feed: Feed) -> None:
    server = make_server(route_must_not_be_called)
    feed(server, b"\r\n" * 9 + request_head())
    check_refusal(server, b"\r\n" + request_head(), 400, WSInvalidMessageError)


def test_nothing_but_empty_lines() -> None:
    server = make_server(route_must_not_be_called)
    server.feed_data(b"\r\n\r\n")
    server.feed_timeout()
    assert server.to_send == b""
    assert server.error.raw_header == b""


def test_refused_values_are_bounded_and_escaped(feed: Feed) -> None:
    server = make_server()
    feed(server, request_head(("Sec-WebSocket-Version", "\t1" * 500 + "2")))
    text = str(server.error)
    assert len(text) < 400
    assert "1\\t1\\t1" in text
    assert text.endswith("...")


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ([("Content-Length", "1")], "Content-Length: '1'"),
        ([("Content-Length", "0"), ("content-length", "1")], "Content-Length: '1'"),
        ([("Content-Length", "1"), ("content-length", "0")], "Content-Length: '1'"),
        ([("Content-Length", "")], "Content-Length: ''"),
        ([("Content-Length", "-1")], "Content-Length: '-1'"),
        ([("Content-Length", "+0")], "Content-Length: '+0'"),
        ([("Content-Length", "0, 0")], "Content-Length: '0, 0'"),
        ([("Content-Length", "0\t0")], "Content-Length: '0\\t0'"),
        ([("Content-Length", "0x0")], "Content-Length: '0x0'"),
        ([("Content-Length", "9" * 40)], f"Content-Length: '{'9' * 40}'"),
        ([("Transfer-Encoding", "chunked")], "Transfer-Encoding: 'chunked'"),
        ([("Transfer-Encoding", "identity")], "Transfer-Encoding: 'identity'"),
        ([("Transfer-Encoding", "")], "Transfer-Encoding: ''"),
        (
            [("Content-Length", "0"), ("transfer-ENCODING", "chunked")],
            "Transfer-Encoding: 'chunked'",
        ),
    ],
)
def test_server_refuses_bodies(feed: Feed, changes: Headers, refused: str) -> None:
    server = make_server(route_must_not_be_called)
    data = request_head(*changes)
    assert feed(server, data) == len(data)
    check_refusal(server, data, 400, WSInvalidMessageError)
    assert str(server.error) == f"a request without a body is wanted, and it has {refused}"


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding"])
def test_a_refused_body_is_named_in_bounds(feed: Feed, name: str) -> None:
    server = make_server(route_must_not_be_called)
    feed(server, request_head((name, "\t1" * 500 + "2")))
    text = str(server.error)
    assert len(text) < 400
    assert f"{name}: '1\\t1\\t1" in text
    assert text.endswith("...")


GARBAGE = [
    b"\n" + request_head(),
    b"\r" + request_head(),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    request_head().replace(b"\r\n", b"\n"),
    request_head().replace(b"\r\n", b"\r"),
    request_head().replace(b"X-Mark: ", b"X-Mark : "),
    request_head().replace(b"X-Mark: ", b"X-Mark\t: "),
    request_head().replace(b"X-Mark: ", b"X Mark: "),
    request_head().replace(b"X-Mark: ", b"X-Mark "),
    request_head().replace(b"X-Mark: ", b"X-M\xc3\xa4rk: "),
    request_head().replace(b"X-Mark: ", b": "),
    request_head().replace(b"X-Mark: ", b"X-Mark: a\r\n b"),
    request_head().replace(b"X-Mark: ", b"X-Mark:\r\n\tb"),
    request_head().replace(b"X-Mark: ", b"X-Mark: a\x00b"),
    request_head().replace(b"X-Mark: ", b"X-Mark: a\nb: c"),
    request_head().replace(b"X-Mark: ", b"X-Mark: a\rb: c"),
    request_head().replace(b"X-Mark: ", b"X-Mark: \x7f"),
    request_head().replace(b"X-Mark: ", b"X-Mark: \x1b[0m"),
    request_head(first_line=f"GET {MARK} HTTP/1.1"),
    request_head(first_line=f"GET /{MARK}#a HTTP/1.1"),
    request_head(first_line=f"GET /{MARK} a HTTP/1.1"),
    request_head(first_line=f"GET  /{MARK} HTTP/1.1"),
    request_head(first_line=f"GET /{MARK} HTTP/1.1 "),
    request_head(first_line=f" GET /{MARK} HTTP/1.1"),
    request_head(first_line=f"GET /{MARK} HTTP/11"),
    request_head(first_line=f"GET /{MARK} {MARK}/1.1"),
    request_head(first_line=f"GET /{MARK}"),
    request_head(first_line="GET http://user@a/ HTTP/1.1"),
    request_head(first_line="GET ftp://a/ HTTP/1.1"),
    request_head(first_line="GET /\u00fc HTTP/1.1"),
    request_head(first_line="HTTP/1.1 101 Switching Protocols"),
]


@pytest.mark.parametrize("data", GARBAGE)
def test_server_refuses_garbage(feed: Feed, data: bytes) -> None:
    server = make_server(route_must_not_be_called)
    feed(server, data)
    check_refusal(server, data, 400, WSInvalidMessageError)
    assert server.request is None


# Limits, while bytes arrive


def refused_at(handshake: OpeningHandshake, data: bytes) -> int:
    """How many bytes it takes until the handshake is refused."""
    for size in range(len(data)):
        handshake.feed_data(data[size : size + 1])
        if handshake.done:
            return size + 1
    raise AssertionError("not refused")


def test_request_line_limit() -> None:
    server = make_server(max_handshake_line_size=100)
    data = b"GET /" + b"a" * 1000
    assert refused_at(server, data) == 101
    check_refusal(server, data, 414, WSInvalidMessageError)
    server = make_server(max_handshake_line_size=100)
    assert server.feed_data(data) == len(data)
    check_refusal(server, data, 414, WSInvalidMessageError)


def test_request_line_at_its_limit(feed: Feed) -> None:
    server = make_server(max_handshake_line_size=100)
    feed(server, request_head(first_line="GET /" + "a" * 86 + " HTTP/1.1"))
    assert server.accepted


def test_header_line_limit() -> None:
    server = make_server(max_handshake_line_size=100)
    before = request_head()[:-2]
    data = before + b"A: " + b"a" * 1000
    assert refused_at(server, data) == len(before) + 101
    check_refusal(server, data, 431, WSInvalidMessageError)


def test_header_count_limit() -> None:
    server = make_server(max_handshake_headers=6)
    data = request_head()[:-2] + b"A: b\r\n\r\n"
    assert refused_at(server, data) == len(data) - 7
    check_refusal(server, data, 431, WSInvalidMessageError)


def test_header_count_at_its_limit(feed: Feed) -> None:
    server = make_server(max_handshake_headers=6)
    feed(server, request_head())
    assert server.accepted


def test_size_limit() -> None:
    data = request_head(("X-Fill", "a" * 300))
    server = make_server(max_handshake_size=len(data) - 1)
    assert refused_at(server, data) == len(data) - 1
    check_refusal(server, data, 431, WSInvalidMessageError)
    server = make_server(max_handshake_size=len(data) - 1)
    assert server.feed_data(data) == len(data)
    check_refusal(server, data, 431, WSInvalidMessageError)


def test_size_at_its_limit(feed: Feed) -> None:
    data = request_head(("X-Fill", "a" * 300))
    server = make_server(max_handshake_size=len(data))
    assert feed(server, data) == len(data)
    assert server.accepted


def test_a_tail_larger_than_the_limit() -> None:
    data = request_head(("X-Fill", "a" * 300))
    for split in (0, 10):
        server = make_server(max_handshake_size=len(data))
        server.feed_data(data[:split])
        assert server.feed_data(data[split:] + bytes(10000)) == len(data) - split
        assert server.accepted


def test_no_more_than_the_limit_is_kept() -> None:
    server = make_server(max_handshake_size=1000, max_handshake_line_size=10000)
    server.feed_data(b"GET /")
    assert server.feed_data(b"a" * 100000) == 100000
    assert isinstance(server.error, WSInvalidMessageError)
    assert len(server.error.raw_header or b"") == 1000


def test_client_limits() -> None:
    client, answer = make_client(max_handshake_line_size=100)
    assert refused_at(client, answer[:-2] + b"A: " + b"a" * 1000) == len(answer) - 2 + 101
    client, answer = make_client(max_handshake_headers=5)
    data = answer[:-2] + b"A: b\r\n" * 9
    assert refused_at(client, data) == len(answer) - 2 + 2 * 6 + 1
    client, answer = make_client(max_handshake_size=256)
    assert refused_at(client, answer[:-2] + b"A: b\r\n" * 100) == 256
    error = client.error
    assert isinstance(error, WSInvalidMessageError)
    assert "max_handshake_size" in str(error)
    assert error.status is None
    assert len(error.raw_header or b"") == 256


# The request as the route sees it


def request_of(data: bytes) -> WSUpgradeRequest:
    server = make_server(lambda request: None)
    server.feed_data(data)
    assert server.request is not None
    return server.request


def test_request() -> None:
    request = request_of(request_head(("X-Two", "a"), ("x-two", "b"), ("X-Text", "\u00fc\udcff")))
    assert request.method == "GET"
    assert request.path == f"/{MARK}?a=%20"
    assert request.version == "HTTP/1.1"
    assert request.subprotocols == []
    assert isinstance(request.headers, CIMultiDictProxy)
    assert request.headers["HOST"] == f"{MARK}.example"
    assert request.headers.getall("x-two") == ["a", "b"]
    assert request.headers["X-Text"] == "\u00fc\udcff"
    assert list(request.headers)[:2] == ["Host", "Upgrade"]
    assert request.headers is request.headers


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("//a", "//a"),
        ("/a?b", "/a?b"),
        ("http://a", "/"),
        ("http://a/b?c", "/b?c"),
        ("HTTPS://a:443?c", "/?c"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_path(method: str, target: str, path: str) -> None:
    request = request_of(request_head(first_line=f"{method} {target} HTTP/1.1"))
    assert request.path == path
    assert request.version == "HTTP/1.1"


def test_offered_subprotocols(feed: Feed) -> None:
    server = make_server(lambda request: LISTENER)
    feed(
        server,
        request_head(
            ("Sec-WebSocket-Protocol", "b, a"),
            ("X-Sec-WebSocket-Protocol", "x"),
            ("sec-websocket-PROTOCOL", ",c,"),
        ),
    )
    assert server.accepted
    assert server.subprotocol is None
    assert b"Protocol:" not in server.to_send
    assert server.request.subprotocols == ["b", "a", "c"]


def test_request_is_small() -> None:
    request = request_of(request_head())
    # Without the GIL every object begins with 32 bytes instead of 16.
    assert sys.getsizeof(request) - object.__basicsize__ <= 48
    assert not hasattr(request, "__dict__")
    assert not gc.is_tracked(request)


def test_request_cannot_be_made_or_changed() -> None:
    with pytest.raises(TypeError):
        WSUpgradeRequest()
    request = request_of(request_head())
    for name in ("method", "path", "version", "headers", "raw_header", "subprotocols"):
        with pytest.raises(AttributeError):
            setattr(request, name, None)
    with pytest.raises(TypeError):
        request.headers["a"] = "b"
    with pytest.raises(TypeError):
        pickle.dumps(request)


def test_repr_of_request_is_short_and_keeps_secrets() -> None:
    data = request_head(("Authorization", "secret"), first_line="GET /a?token=secret HTTP/1.1")
    assert repr(request_of(data)) == "<WSUpgradeRequest GET /a>"
    data = request_head(first_line=f"GET /{'a' * 1000} HTTP/1.1")
    assert repr(request_of(data)) == f"<WSUpgradeRequest GET /{'a' * 79}...>"


# What a route returns


def test_route_refuses(feed: Feed) -> None:
    refusal = WSUpgradeResponse.create_error_response(
        401, "who are you?\n", {"WWW-Authenticate": "Basic"}
    )
    server = make_server(lambda request: refusal)
    data = request_head()
    assert feed(server, data) == len(data)
    assert server.done
    assert not server.accepted
    assert server.error is None
    assert server.response is refusal
    status, headers, body = read_answer(server.to_send)
    assert status == 401
    assert headers["WWW-Authenticate"] == "Basic"
    assert body == b"who are you?\n"


def test_route_answers_plain_http(feed: Feed) -> None:
    server = make_server(lambda request: WSUpgradeResponse.create_ok_response(b"fine"))
    data = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    assert feed(server, data) == len(data)
    assert server.error is None
    assert read_answer(server.to_send) == (
        200,
        {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": "4",
            "Connection": "close",
        },
        b"fine",
    )


@pytest.mark.parametrize("changes", [changes for changes, *_ in NOT_AN_UPGRADE + BAD_UPGRADES])
def test_route_refuses_before_the_upgrade_is_checked(changes: Headers) -> None:
    server = make_server(lambda request: WSUpgradeResponse.create_error_response(403))
    server.feed_data(request_head(*changes))
    assert server.error is None
    assert read_answer(server.to_send)[0] == 403


def test_route_finds_nothing(feed: Feed) -> None:
    server = make_server(lambda request: None)
    feed(server, request_head())
    assert server.error is None
    assert not server.accepted
    assert read_answer(server.to_send)[0] == 404
    assert server.response.status == 404


def test_route_refuses_with_listener_class() -> None:
    refusal = WSUpgradeResponse.create_redirect_response(307, "wss://b.example/?c=d")
    server = make_server(lambda request: WSUpgradeResponseWithListener(refusal, None))
    server.feed_data(request_head())
    assert server.response is refusal
    status, headers, body = read_answer(server.to_send)
    assert status == 307
    assert headers["Location"] == "wss://b.example/?c=d"
    assert body == b""


def test_route_accepts_with_headers_and_subprotocol(feed: Feed) -> None:
    accepting = WSUpgradeResponse.create_101_response([("X-A", "1"), ("X-A", "\u00fc")], "chat")
    server = make_server(lambda request: WSUpgradeResponseWithListener(accepting, LISTENER))
    data = request_head(("Sec-WebSocket-Protocol", "superchat, chat"))
    assert feed(server, data) == len(data)
    assert server.accepted
    assert server.error is None
    assert server.listener is LISTENER
    assert server.subprotocol == "chat"
    assert (
        server.to_send
        == (
            "HTTP/1.1 101 Switching Protocols\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {ACCEPT}\r\n"
            "Sec-WebSocket-Protocol: chat\r\n"
            "X-A: 1\r\n"
            "X-A: \u00fc\r\n\r\n"
        ).encode()
    )
    assert server.response.subprotocol == "chat"
    assert server.response.headers.getall("X-A") == ["1", "\u00fc"]


def test_a_response_can_be_used_again() -> None:
    accepting = WSUpgradeResponse.create_101_response({"X-A": "1"})
    answers = []
    for key in (KEY, base64.b64encode(bytes(16)).decode()):
        server = make_server(lambda request: WSUpgradeResponseWithListener(accepting, LISTENER))
        server.feed_data(request_head(("Sec-WebSocket-Key", key)))
        answers.append(server.response.headers["Sec-WebSocket-Accept"])
    assert answers[0] == ACCEPT != answers[1]
    assert accepting.headers == {"X-A": "1"}


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


def test_route_raises(feed: Feed) -> None:
    error = RuntimeError(MARK)

    def route(_: WSUpgradeRequest) -> object:
        raise error

    server = make_server(route)
    data = request_head()
    assert feed(server, data) == len(data)
    assert check_route_error(server) is error


def test_route_raises_an_error_of_a_handshake() -> None:
    error = WSInvalidStatusError(MARK, status=404)

    def route(_: WSUpgradeRequest) -> object:
        raise error

    server = make_server(route)
    server.feed_data(request_head())
    assert check_route_error(server) is error
    assert server.factory_failed


def test_an_error_of_the_library_is_not_the_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors may be used up, memory, too: whoever reads the log must not look at the route."""
    error = OSError(24, "Too many open files")
    real = handshake_room.CIMultiDict

    def fail_once(*args: Any) -> Any:
        monkeypatch.setattr(handshake_room, "CIMultiDict", real)
        raise error

    server = make_server(lambda _: None)
    monkeypatch.setattr(handshake_room, "CIMultiDict", fail_once)
    server.feed_data(request_head())
    assert check_route_error(server) is error
    assert not server.factory_failed


@pytest.mark.parametrize(
    "result",
    [
        WSUpgradeResponse.create_101_response(),
        WSUpgradeResponseWithListener(
            WSUpgradeResponse.create_101_response(subprotocol="not.offered"), LISTENER
        ),
    ],
)
def test_what_a_route_returns_wrongly_is_its_fault(result: object) -> None:
    server = make_server(lambda _: result)
    server.feed_data(request_head())
    assert isinstance(check_route_error(server), (TypeError, WSInvalidOptionError))
    assert server.factory_failed


@pytest.mark.parametrize("error_type", [KeyboardInterrupt, SystemExit])
def test_route_is_interrupted(error_type: Type[BaseException]) -> None:
    def route(_: WSUpgradeRequest) -> object:
        raise error_type

    server = make_server(route)
    with pytest.raises(error_type):
        server.feed_data(request_head())
    assert type(check_route_error(server)) is error_type


@pytest.mark.parametrize("offered", [None, "superchat", "Chat", "chat2, cha"])
def test_route_chooses_a_subprotocol_that_was_not_offered(
    feed: Feed, offered: Optional[str]
) -> None:
    accepting = WSUpgradeResponse.create_101_response(subprotocol="chat")
    server = make_server(lambda request: WSUpgradeResponseWithListener(accepting, LISTENER))
    feed(server, request_head(("Sec-WebSocket-Protocol", offered)))
    error = check_route_error(server)
    assert isinstance(error, WSInvalidOptionError)
    assert "'chat' was not offered" in str(error)


def test_route_returns_101_without_listener() -> None:
    server = make_server(lambda request: WSUpgradeResponse.create_101_response())
    server.feed_data(request_head())
    error = check_route_error(server)
    assert isinstance(error, TypeError)
    assert "WSUpgradeResponseWithListener" in str(error)


@pytest.mark.parametrize("name", ["X-A", "Connection", "Sec-WebSocket-Accept", "a b"])
@pytest.mark.parametrize("status", [101, 403])
def test_route_spoils_the_headers(status: int, name: str) -> None:
    def route(_: WSUpgradeRequest) -> object:
        if status == 101:
            response = WSUpgradeResponse.create_101_response()
            response.headers[name] = f"1\r\nSet-Cookie: {MARK}"
            return WSUpgradeResponseWithListener(response, LISTENER)
        response = WSUpgradeResponse.create_error_response(status)
        response.headers[name] = f"1\r\nSet-Cookie: {MARK}"
        return response

    server = make_server(route)
    server.feed_data(request_head())
    error = check_route_error(server)
    assert isinstance(error, WSInvalidOptionError)
    assert repr(name) in str(error)


def test_route_must_be_callable() -> None:
    with pytest.raises(TypeError, match="route must be callable"):
        ServerHandshake(None, options=WSOptions())


def test_the_route_is_let_go() -> None:
    def route(_: WSUpgradeRequest) -> object:
        return LISTENER

    count = sys.getrefcount(route)
    server = make_server(route)
    server.feed_data(request_head())
    assert sys.getrefcount(route) == count


# Answers


@pytest.mark.parametrize("body", [b"caf\xc3\xa9", bytearray(b"caf\xc3\xa9"), "caf\u00e9"])
def test_body(body: Any) -> None:
    response = WSUpgradeResponse.create_ok_response(body)
    assert response.status == 200
    assert response.reason == "OK"
    assert response.version == "HTTP/1.1"
    assert response.body == b"caf\xc3\xa9"
    assert response.raw_header is None
    assert response.to_bytes() == (
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 5\r\n"
        b"Connection: close\r\n\r\ncaf\xc3\xa9"
    )


def test_content_type() -> None:
    response = WSUpgradeResponse.create_error_response(
        404, b"{}", {"content-type": "application/json"}
    )
    assert response.to_bytes() == (
        b"HTTP/1.1 404 Not Found\r\n"
        b"content-type: application/json\r\n"
        b"Content-Length: 2\r\n"
        b"Connection: close\r\n\r\n{}"
    )


def test_no_body() -> None:
    for response in (
        WSUpgradeResponse.create_error_response(503),
        WSUpgradeResponse.create_error_response(503, b""),
    ):
        assert response.to_bytes() == (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )


def test_status_without_a_name() -> None:
    response = WSUpgradeResponse.create_error_response(599)
    assert response.reason == ""
    assert response.to_bytes().startswith(b"HTTP/1.1 599 \r\n")


def test_upgrade_required() -> None:
    response = WSUpgradeResponse.create_error_response(426)
    assert response.to_bytes() == (
        b"HTTP/1.1 426 Upgrade Required\r\n"
        b"Content-Length: 0\r\n"
        b"Upgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Connection: Upgrade, close\r\n\r\n"
    )


def test_response_attributes_are_read_only() -> None:
    response = WSUpgradeResponse.create_ok_response(b"a")
    for name in ("status", "reason", "version", "body", "headers", "raw_header", "subprotocol"):
        with pytest.raises(AttributeError):
            setattr(response, name, None)
    with pytest.raises(TypeError, match="create_"):
        WSUpgradeResponse()


def test_headers_of_response() -> None:
    response = WSUpgradeResponse.create_ok_response(extra_headers=[("A", "1"), ("a", "2")])
    assert isinstance(response.headers, CIMultiDict)
    assert response.headers.getall("A") == ["1", "2"]
    response.headers["B"] = "3"
    assert b"\r\nB: 3\r\n" in response.to_bytes()


def test_an_accepting_response_is_no_answer_yet() -> None:
    with pytest.raises(WSStateError):
        WSUpgradeResponse.create_101_response().to_bytes()


def test_repr_of_response() -> None:
    response = WSUpgradeResponse.create_error_response(403, "secret", {"Set-Cookie": "secret"})
    assert repr(response) == "<WSUpgradeResponse 403 Forbidden>"


@pytest.mark.parametrize("status", [0, 101, 200, 399, 600, -1, 2**70])
def test_error_status_out_of_range(status: int) -> None:
    with pytest.raises(WSInvalidOptionError, match=f"status={status}.*400 to 599"):
        WSUpgradeResponse.create_error_response(status)


@pytest.mark.parametrize("status", [200, 300, 304, 305, 306, 400])
def test_redirect_status_out_of_range(status: int) -> None:
    with pytest.raises(WSInvalidOptionError, match=f"status={status}"):
        WSUpgradeResponse.create_redirect_response(status, "/")


@pytest.mark.parametrize("status", ["404", None, 404.0])
def test_status_of_wrong_type(status: Any) -> None:
    with pytest.raises(TypeError, match="status must be int"):
        WSUpgradeResponse.create_error_response(status)


@pytest.mark.parametrize("body", [1, ["a"], object()])
def test_body_of_wrong_type(body: Any) -> None:
    with pytest.raises(TypeError, match="body must be"):
        WSUpgradeResponse.create_ok_response(body)


@pytest.mark.parametrize(
    "location", ["", "/a b", "/\r\nSet-Cookie: a", "/\x00", "/\u00fc", "/\x7f"]
)
def test_location_cannot_inject(location: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="location"):
        WSUpgradeResponse.create_redirect_response(302, location)


def test_location_of_wrong_type() -> None:
    with pytest.raises(TypeError, match="location must be str"):
        WSUpgradeResponse.create_redirect_response(302, b"/")


def test_location_is_passed_once() -> None:
    with pytest.raises(WSInvalidOptionError, match="Location"):
        WSUpgradeResponse.create_redirect_response(302, "/", {"location": "/b"})


@pytest.mark.parametrize("subprotocol", ["", "a b", "a,b", "a\r\nb: c", "\u00fc", "a\x00"])
def test_subprotocol_cannot_inject(subprotocol: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="subprotocol"):
        WSUpgradeResponse.create_101_response(subprotocol=subprotocol)


def test_subprotocol_of_wrong_type() -> None:
    with pytest.raises(TypeError, match="subprotocol must be str"):
        WSUpgradeResponse.create_101_response(subprotocol=b"a")


@pytest.mark.parametrize(
    ("status", "listener"), [(101, None), (200, LISTENER)], ids=["missing", "superfluous"]
)
def test_response_and_listener_must_fit(status: int, listener: Optional[object]) -> None:
    response = (
        WSUpgradeResponse.create_101_response()
        if status == 101
        else WSUpgradeResponse.create_ok_response()
    )
    with pytest.raises(WSInvalidOptionError, match=f"status={status}"):
        WSUpgradeResponseWithListener(response, listener)


@pytest.mark.parametrize("response", [None, LISTENER, 101])
def test_response_with_listener_needs_a_response(response: Any) -> None:
    with pytest.raises(TypeError):
        WSUpgradeResponseWithListener(response, LISTENER)


def test_response_with_listener() -> None:
    response = WSUpgradeResponse.create_101_response()
    both = WSUpgradeResponseWithListener(response, LISTENER)
    assert both.response is response
    assert both.listener is LISTENER
    assert (
        repr(both) == "<WSUpgradeResponseWithListener <WSUpgradeResponse 101 Switching Protocols>>"
    )


# Headers that a caller passes, on either side


def pass_to_client(headers: Any) -> bytes:
    return ClientHandshake(
        "/", "a", lambda request, response: None, extra_headers=headers, options=WSOptions()
    ).to_send


def pass_to_response(headers: Any) -> bytes:
    return WSUpgradeResponse.create_ok_response(extra_headers=headers).to_bytes()


def pass_to_accepting_response(headers: Any) -> bytes:
    response = WSUpgradeResponse.create_101_response(headers)
    server = make_server(lambda request: WSUpgradeResponseWithListener(response, LISTENER))
    server.feed_data(request_head())
    assert server.accepted
    return server.to_send


Pass = Callable[[Any], bytes]


@pytest.fixture(params=[pass_to_client, pass_to_response, pass_to_accepting_response])
def pass_headers(request: pytest.FixtureRequest) -> Pass:
    return request.param


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "1", "B": "2"},
        [("A", "1"), ("B", "2")],
        (["A", "1"], ["B", "2"]),
        {"A": "1", "B": "2"}.items(),
        CIMultiDict([("A", "1"), ("B", "2")]),
        CIMultiDictProxy(CIMultiDict([("A", "1"), ("B", "2")])),
    ],
)
def test_extra_headers(pass_headers: Pass, headers: Any) -> None:
    assert b"\r\nA: 1\r\nB: 2\r\n" in pass_headers(headers)


def test_extra_headers_of_an_iterator(pass_headers: Pass) -> None:
    assert b"\r\nA: 1\r\nA: 2\r\n" in pass_headers(iter([("A", "1"), ("A", "2")]))


def test_no_extra_headers(pass_headers: Pass) -> None:
    assert pass_headers(None).count(b":") == pass_headers({}).count(b":")


@pytest.mark.parametrize("name", ["Authorization", "Origin", "User-Agent", "Cookie", "X-Upgrade"])
def test_headers_that_are_free(pass_headers: Pass, name: str) -> None:
    value = "a\tb \u00fc\udcff"
    line = f"\r\n{name}: {value}\r\n".encode("utf-8", "surrogateescape")
    assert line in pass_headers({name: value})


@pytest.mark.parametrize(
    "name",
    [
        "Upgrade",
        "connection",
        "CONTENT-LENGTH",
        "Transfer-Encoding",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Whatever",
    ],
)
def test_headers_of_the_library(pass_headers: Pass, name: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=f"'{name}' is set by the library"):
        pass_headers({name: "a"})


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a:",
        "a ",
        " a",
        "a\r\nb",
        "a\nb",
        "a\r",
        "a\x00",
        "\u00fc",
        "\udcff",
        "a\u212a",
    ],
)
def test_invalid_header_name(pass_headers: Pass, name: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="not a header name") as caught:
        pass_headers([(name, "1")])
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nb: c",
        "a\nb: c",
        "a\rb: c",
        "\r\n",
        "\n",
        "\r\n\r\n",
        "a\x00",
        "\x7f",
        "\x1b[0m",
        "\x0b",
    ],
)
def test_header_value_cannot_inject(pass_headers: Pass, value: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="value of header 'X-A'") as caught:
        pass_headers([("X-A", value)])
    assert repr(value) not in str(caught.value)


def test_header_value_with_a_lone_surrogate(pass_headers: Pass) -> None:
    with pytest.raises(WSInvalidOptionError, match="'X-A' has a lone surrogate"):
        pass_headers({"X-A": "\ud800"})


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ("A: 1", "mapping or an iterable"),
        (b"A: 1", "mapping or an iterable"),
        (1, "mapping or an iterable"),
        (["A"], "mapping or an iterable"),
        ([("A", "1", "2")], "mapping or an iterable"),
        ([None], "mapping or an iterable"),
        ([("A", None)], "value of header 'A' must be str, not NoneType"),
        ([("A", b"1")], "value of header 'A' must be str, not bytes"),
        ({"A": 1}, "value of header 'A' must be str, not int"),
        ({b"A": "1"}, "header name must be str, not bytes"),
        ({None: "1"}, "header name must be str, not NoneType"),
    ],
)
def test_extra_headers_of_wrong_type(pass_headers: Pass, headers: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        pass_headers(headers)


@given(st.text(max_size=8), st.text(max_size=12))
@example("HOST", "b")
def test_nothing_injects_a_line(name: str, value: str) -> None:
    plain = pass_to_client({"X": ""})
    try:
        data = pass_to_client([(name, value)])
    except WSInvalidOptionError:
        return
    is_host = name.lower() == "host"  # takes the place of our own
    assert data.count(b"\r") == data.count(b"\n") == plain.count(b"\r\n") - is_host
    assert f"{'Host' if is_host else name}: {value}\r\n".encode() in data
    server = make_server()
    assert server.feed_data(data) == len(data)
    assert name.lower() == "host" or server.request.headers[name] == value.strip(" \t")


# The client


def make_client(
    factory: Callable[..., object] = lambda request, response: LISTENER,
    extra_headers: Any = None,
    subprotocols: Any = (),
    **options: Any,
) -> Tuple[ClientHandshake, bytes]:
    """A client, and the answer that it accepts."""
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


def test_client_request() -> None:
    client = ClientHandshake(
        "/a?b=%20",
        "example.com:8080",
        lambda request, response: None,
        extra_headers=[("Authorization", "secret"), ("X-A", "1")],
        subprotocols=["chat", "superchat"],
        options=WSOptions(),
    )
    request = client.request
    assert request is not None
    key = request.headers["Sec-WebSocket-Key"]
    assert (
        client.take_to_send()
        == request.raw_header
        == (
            "GET /a?b=%20 HTTP/1.1\r\n"
            "Host: example.com:8080\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Authorization: secret\r\n"
            "X-A: 1\r\n"
            "Sec-WebSocket-Protocol: chat, superchat\r\n"
            "\r\n"
        ).encode()
    )
    assert client.take_to_send() == b""
    assert not client.done
    assert len(base64.b64decode(key)) == 16
    assert request.method == "GET"
    assert request.path == "/a?b=%20"
    assert request.version == "HTTP/1.1"
    assert request.subprotocols == ["chat", "superchat"]
    assert repr(request) == "<WSUpgradeRequest GET /a>"


def test_every_key_is_new() -> None:
    keys = {make_client()[0].request.headers["Sec-WebSocket-Key"] for _ in range(100)}
    assert len(keys) == 100


def test_client_accepts(feed: Feed) -> None:
    calls = []

    def factory(request: WSUpgradeRequest, response: WSUpgradeResponse) -> object:
        calls.append((request, response))
        return LISTENER

    client, answer = make_client(factory)
    client.take_to_send()
    assert feed(client, answer) == len(answer)
    assert client.done
    assert client.accepted
    assert client.error is None
    assert client.listener is LISTENER
    assert client.subprotocol is None
    assert client.to_send == b""
    assert calls == [(client.request, client.response)]
    assert client.response.raw_header == answer
    assert client.response.to_bytes() == answer
    assert client.response.status == 101
    assert client.response.reason == "Switching Protocols"
    assert client.response.version == "HTTP/1.1"
    assert client.response.body is None
    assert client.response.headers["upgrade"] == "websocket"
    assert client.feed_data(TAIL) == 0


@pytest.mark.parametrize(
    "changes",
    [
        [("Upgrade", "WebSocket")],
        [("Upgrade", None), ("UPGRADE", "websocket")],
        [("Connection", "keep-alive, UPGRADE")],
        [("Connection", "keep-alive"), ("connection", "upgrade")],
        [("Content-Length", "0")],
        [("Date", "today")],
        [("Server", "\xc3\xbc\udcff")],
        [("Sec-WebSocket-Version", "13")],
        [("Sec-WebSocket-Protocol", "")],
        [("Sec-WebSocket-Protocol", ", ,"), ("sec-websocket-protocol", "\t")],
        [("Sec-WebSocket-Extensions", "")],
    ],
)
def test_client_accepts_variants(feed: Feed, changes: Headers) -> None:
    client, _ = make_client()
    answer = response_head(client, *changes)
    assert feed(client, answer) == len(answer)
    assert client.accepted


@pytest.mark.parametrize(
    "reason", ["", " ", " OK", " Web Socket Protocol Handshake", " \u00fc \udcff"]
)
def test_any_reason_is_accepted(feed: Feed, reason: str) -> None:
    client, _ = make_client()
    answer = response_head(client, first_line=f"HTTP/1.1 101{reason}")
    assert feed(client, answer) == len(answer)
    assert client.accepted
    assert client.response.reason == reason[1:]


def test_client_accepts_a_subprotocol(feed: Feed) -> None:
    seen = []

    def factory(_: WSUpgradeRequest, response: WSUpgradeResponse) -> object:
        seen.append(response.subprotocol)
        return LISTENER

    client, _ = make_client(factory, subprotocols=["a", "b"])
    feed(client, response_head(client, ("sec-websocket-protocol", "b")))
    assert client.accepted
    assert client.subprotocol == client.response.subprotocol == "b"
    assert seen == ["b"]


def test_client_accepts_without_a_subprotocol(feed: Feed) -> None:
    client, answer = make_client(subprotocols=["a", "b"])
    feed(client, answer)
    assert client.accepted
    assert client.subprotocol is None


@pytest.mark.parametrize(
    ("changes", "error_type", "name", "value"),
    [
        ([("Upgrade", None)], WSInvalidUpgradeError, "Upgrade", None),
        ([("Upgrade", "")], WSInvalidUpgradeError, "Upgrade", ""),
        ([("Upgrade", "h2c")], WSInvalidUpgradeError, "Upgrade", "h2c"),
        ([("Upgrade", "h2c, websocket")], WSInvalidUpgradeError, "Upgrade", "h2c, websocket"),
        ([("Upgrade", "websocket,")], WSInvalidUpgradeError, "Upgrade", "websocket,"),
        (
            [("Upgrade", "websocket"), ("upgrade", "websocket")],
            WSInvalidUpgradeError,
            "Upgrade",
            "websocket",
        ),
        ([("Connection", None)], WSInvalidUpgradeError, "Connection", None),
        ([("Connection", "close")], WSInvalidUpgradeError, "Connection", "close"),
        ([("Connection", "upgraded")], WSInvalidUpgradeError, "Connection", "upgraded"),
        ([("Sec-WebSocket-Accept", None)], WSInvalidHeaderError, "Sec-WebSocket-Accept", None),
        ([("Sec-WebSocket-Accept", "")], WSInvalidHeaderError, "Sec-WebSocket-Accept", ""),
        (
            [("Sec-WebSocket-Accept", ACCEPT)],
            WSInvalidHeaderError,
            "Sec-WebSocket-Accept",
            ACCEPT,
        ),
        (
            [("Sec-WebSocket-Extensions", "permessage-deflate")],
            WSInvalidHeaderError,
            "Sec-WebSocket-Extensions",
            "permessage-deflate",
        ),
        *[
            (
                [("Sec-WebSocket-Protocol", value)],
                WSInvalidHeaderError,
                "Sec-WebSocket-Protocol",
                value,
            )
            for value in ("c", "A", "a, b", "a,")
        ],
        (
            [("Sec-WebSocket-Protocol", "a"), ("sec-websocket-protocol", "a")],
            WSInvalidHeaderError,
            "Sec-WebSocket-Protocol",
            "a",
        ),
    ],
)
def test_client_refuses_headers(
    feed: Feed,
    changes: Headers,
    error_type: Type[WSInvalidHeaderError],
    name: str,
    value: Optional[str],
) -> None:
    def factory(*_: object) -> object:
        raise AssertionError("the factory was called")

    client, _ = make_client(factory, subprotocols=["a", "b"])
    client.take_to_send()
    answer = response_head(client, *changes)
    feed(client, answer)
    assert client.done
    assert not client.accepted
    assert client.listener is None
    assert client.subprotocol is None
    assert client.to_send == b""
    error = client.error
    assert type(error) is error_type
    assert isinstance(error, WSInvalidHeaderError)
    assert error.name == name
    assert error.value == value
    assert error.raw_header == answer
    assert error.response is client.response
    assert error.status == 101


def test_client_refuses_an_accept_in_another_case(feed: Feed) -> None:
    client, answer = make_client()
    accept = client_accept(answer)
    feed(client, response_head(client, ("Sec-WebSocket-Accept", accept.swapcase())))
    assert type(client.error) is WSInvalidHeaderError


def test_client_refuses_a_second_accept(feed: Feed) -> None:
    client, answer = make_client()
    accept = client_accept(answer)
    feed(client, answer[:-2] + f"sec-websocket-accept: {accept}\r\n\r\n".encode())
    assert type(client.error) is WSInvalidHeaderError


def client_accept(answer: bytes) -> str:
    match = re.search(rb"Accept: (\S+)", answer)
    assert match
    return match[1].decode()


def test_client_refuses_a_subprotocol_that_it_did_not_ask_for(feed: Feed) -> None:
    client, _ = make_client()
    feed(client, response_head(client, ("Sec-WebSocket-Protocol", "a")))
    error = client.error
    assert isinstance(error, WSInvalidHeaderError)
    assert error.name == "Sec-WebSocket-Protocol"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9"])
def test_client_refuses_versions(feed: Feed, version: str) -> None:
    client, _ = make_client()
    answer = response_head(client, first_line=f"{version} 101 Switching Protocols")
    feed(client, answer)
    error = client.error
    assert isinstance(error, WSInvalidMessageError)
    assert version in str(error)
    assert error.raw_header == answer


@pytest.mark.parametrize(
    "data",
    [
        b"\r\nHTTP/1.1 101 OK\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46" + bytes(20),
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"<html>\n",
        b"HTTP/1.1 101 OK\nUpgrade: websocket\n\n",
        b"HTTP/1.1 101 OK\r\nUpgrade : websocket\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nUpgrade: a\r\n websocket\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nUpgrade: a\x00\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nUpgrade: a\rb\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nUpgrade\r\n\r\n",
        b"HTTP/1.1 101 OK\r\n: websocket\r\n\r\n",
        b"HTTP/1.1 1011 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_client_refuses_garbage(feed: Feed, data: bytes) -> None:
    client, _ = make_client()
    client.take_to_send()
    feed(client, data)
    assert client.done
    error = client.error
    assert type(error) is WSInvalidMessageError
    assert isinstance(error, WSInvalidMessageError)
    assert error.status is None
    assert error.response is client.response is None
    assert error.raw_header
    assert (data + TAIL).startswith(error.raw_header)
    assert client.to_send == b""


def test_client_factory_raises(feed: Feed) -> None:
    error = RuntimeError("no listener")

    def factory(*_: object) -> object:
        raise error

    client, answer = make_client(factory)
    client.take_to_send()
    feed(client, answer)
    assert client.done
    assert not client.accepted
    assert client.error is error
    assert client.to_send == b""
    assert client.response.status == 101


def test_client_factory_is_interrupted() -> None:
    def factory(*_: object) -> object:
        raise KeyboardInterrupt

    client, answer = make_client(factory)
    with pytest.raises(KeyboardInterrupt):
        client.feed_data(answer)
    assert client.done
    assert not client.accepted
    assert type(client.error) is KeyboardInterrupt


# Answers other than 101


def check_status_error(
    client: ClientHandshake, status: int, raw_header: bytes, body: bytes
) -> WSInvalidStatusError:
    assert client.done
    assert not client.accepted
    assert client.to_send == b""
    error = client.error
    assert isinstance(error, WSInvalidStatusError)
    assert error.status == status
    assert str(status) in str(error)
    assert error.raw_header == raw_header
    assert error.raw_body == body
    assert error.response is client.response
    assert client.response.status == status
    assert client.response.body == body
    assert client.feed_data(b"more") == 0
    return error


def test_answer_with_length(feed: Feed) -> None:
    client, _ = make_client()
    raw_header = b"HTTP/1.1 403 Go away\r\nContent-Length: 6\r\nX-A: 1\r\n\r\n"
    feed(client, raw_header + b"secret")
    error = check_status_error(client, 403, raw_header, b"secret")
    assert error.response.reason == "Go away"
    assert error.response.headers == {"Content-Length": "6", "X-A": "1"}
    assert error.response.to_bytes() == raw_header + b"secret"
    assert "Go away" in str(error)


def test_answer_is_waited_for() -> None:
    client, _ = make_client()
    raw_header = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    assert client.feed_data(raw_header + b"sec") == len(raw_header) + 3
    assert not client.done
    assert client.response.status == 200
    assert client.feed_data(b"re") == 2
    assert not client.done
    assert client.feed_data(b"t" + TAIL) == 1 + len(TAIL)
    check_status_error(client, 200, raw_header, b"secret")


@pytest.mark.parametrize("end", ["feed_eof", "feed_timeout"])
def test_answer_that_stops(end: str) -> None:
    client, _ = make_client()
    raw_header = b"HTTP/1.1 500 Oops\r\nContent-Length: 600\r\n\r\n"
    client.feed_data(raw_header + b"sec")
    getattr(client, end)()
    check_status_error(client, 500, raw_header, b"sec")


@pytest.mark.parametrize("end", ["feed_eof", "feed_timeout"])
@pytest.mark.parametrize(
    "headers",
    [
        "",
        "Content-Length: x\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: \r\n",
    ],
)
def test_answer_without_length(end: str, headers: str) -> None:
    client, _ = make_client()
    raw_header = f"HTTP/1.0 502 Bad Gateway\r\n{headers}\r\n".encode()
    client.feed_data(raw_header)
    client.feed_data(b"body")
    assert not client.done
    getattr(client, end)()
    check_status_error(client, 502, raw_header, b"body")
    assert client.response.version == "HTTP/1.0"


@pytest.mark.parametrize("headers", ["", "Content-Length: 99999999999999999999999\r\n"])
def test_answer_without_end(headers: str) -> None:
    client, _ = make_client()
    raw_header = f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode()
    client.feed_data(raw_header)
    for _ in range(65):
        assert not client.done
        assert client.feed_data(b"x" * 1023) == 1023
    check_status_error(client, 200, raw_header, b"x" * 65536)


@pytest.mark.parametrize("status", [204, 304, 403])
def test_answer_without_body(feed: Feed, status: int) -> None:
    client, _ = make_client()
    headers = "Content-Length: 0\r\n" if status == 403 else ""
    raw_header = f"HTTP/1.1 {status} \r\n{headers}\r\n".encode()
    feed(client, raw_header)
    check_status_error(client, status, raw_header, b"")


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_interim_answers(feed: Feed, status: int, count: int) -> None:
    """RFC 9110, 15.2: any number of them, within reason, before the final answer."""
    client, answer = make_client()
    interim = f"HTTP/1.1 {status} Wait\r\nLink: a\r\n\r\n".encode()
    assert feed(client, interim * count + answer) == count * len(interim) + len(answer)
    assert client.accepted
    assert client.response.raw_header == answer


def test_a_refusal_after_interim_answers(feed: Feed) -> None:
    client, _ = make_client()
    raw_header = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    feed(client, b"HTTP/1.1 103 Early Hints\r\n\r\n" + raw_header)
    check_status_error(client, 404, raw_header, b"")


def test_endless_interim_answers(feed: Feed) -> None:
    client, _ = make_client()
    feed(client, b"HTTP/1.1 102 Processing\r\n\r\n" * 9)
    assert client.done
    assert type(client.error) is WSInvalidMessageError
    assert "8 interim responses, the last one 102" in str(client.error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(status: int) -> None:
    client, _ = make_client()
    raw_header = (
        f"HTTP/1.1 {status} Elsewhere\r\nContent-Length: 600\r\nLocation: ws://b/c\r\n\r\n"
    ).encode()
    client.feed_data(raw_header + b"see there")
    error = check_status_error(client, status, raw_header, b"see there")
    assert error.response.headers["Location"] == "ws://b/c"


def test_redirect_byte_by_byte() -> None:
    client, _ = make_client()
    raw_header = b"HTTP/1.1 302 Found\r\nlocation: /a\r\n\r\n"
    assert feed_byte_by_byte(client, raw_header) == len(raw_header)
    check_status_error(client, 302, raw_header, b"")


def test_redirect_to_nowhere() -> None:
    client, _ = make_client()
    raw_header = b"HTTP/1.1 300 Multiple Choices\r\nContent-Length: 2\r\n\r\n"
    client.feed_data(raw_header)
    assert not client.done
    client.feed_data(b"ab")
    check_status_error(client, 300, raw_header, b"ab")


CHUNKED = b"HTTP/1.1 401 Who?\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 1\r\n\r\n"


def test_chunked_answer(feed: Feed) -> None:
    client, _ = make_client()
    feed(client, CHUNKED + b"6\r\nsecret\r\n2;a=b\r\n!!\r\n0\r\nTrailer: a\r\n\r\n")
    check_status_error(client, 401, CHUNKED, b"secret!!")


def test_broken_chunks(feed: Feed) -> None:
    client, _ = make_client()
    feed(client, CHUNKED + b"6\r\nsecret\r\n<html>")
    check_status_error(client, 401, CHUNKED, b"secret")


@pytest.mark.parametrize("end", ["feed_eof", "feed_timeout"])
def test_chunks_that_stop(end: str) -> None:
    client, _ = make_client()
    client.feed_data(CHUNKED + b"6\r\nsec")
    assert not client.done
    getattr(client, end)()
    check_status_error(client, 401, CHUNKED, b"sec")


def test_chunks_without_end() -> None:
    client, _ = make_client()
    client.feed_data(CHUNKED)
    taken = client.feed_data(b"1\r\nx\r\n" * 20000)
    assert taken == 120000
    check_status_error(client, 401, CHUNKED, b"x" * (65536 // 6 + 1))


# The end of the peer or of the time


@pytest.mark.parametrize("arrived", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_server_eof_within_the_request(arrived: bytes) -> None:
    server = make_server()
    server.feed_data(arrived)
    server.feed_eof()
    check_refusal(server, arrived, 400, WSInvalidMessageError)
    assert "closed within the request" in str(server.error)
    assert server.error.raw_header == arrived


def test_server_eof_before_the_request() -> None:
    server = make_server()
    server.feed_eof()
    assert server.done
    assert isinstance(server.error, WSInvalidMessageError)
    assert "closed before the request" in str(server.error)
    assert server.to_send == b""
    assert server.response is None


def test_server_timeout_within_the_request() -> None:
    server = make_server(websocket_handshake_timeout=7.5)
    server.feed_data(b"GET /")
    server.feed_timeout()
    check_refusal(server, b"GET /", 408, WSHandshakeTimeout)
    assert "7.5 seconds" in str(server.error)
    assert isinstance(server.error, TimeoutError)


def test_server_timeout_before_the_request() -> None:
    server = make_server()
    server.feed_timeout()
    assert type(server.error) is WSHandshakeTimeout
    assert server.to_send == b""


@pytest.mark.parametrize("arrived", [b"", b"H", b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n"])
def test_client_eof(arrived: bytes) -> None:
    client, _ = make_client()
    client.feed_data(arrived)
    client.feed_eof()
    assert client.done
    error = client.error
    assert type(error) is WSInvalidMessageError
    assert isinstance(error, WSInvalidMessageError)
    assert ("closed within" if arrived else "closed before") in str(error)
    assert "response" in str(error)
    assert error.raw_header == arrived


@pytest.mark.parametrize("arrived", [b"", b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n"])
def test_client_timeout(arrived: bytes) -> None:
    client, _ = make_client()
    client.feed_data(arrived)
    client.feed_timeout()
    assert client.done
    error = client.error
    assert isinstance(error, WSHandshakeTimeout)
    assert "5.0 seconds" in str(error)
    assert error.raw_header == arrived
    assert error.status is None


@pytest.mark.parametrize("end", ["feed_eof", "feed_timeout"])
def test_the_end_after_the_end(end: str) -> None:
    server = make_server()
    server.feed_data(request_head())
    client, answer = make_client()
    client.feed_data(answer)
    for handshake in (server, client):
        getattr(handshake, end)()
        assert handshake.accepted
        assert handshake.error is None
    client, _ = make_client()
    client.feed_eof()
    error = client.error
    getattr(client, end)()
    assert client.error is error


# Taking back


def test_server_fails_after_all() -> None:
    response = WSUpgradeResponse.create_101_response(subprotocol="a")
    server = make_server(lambda request: WSUpgradeResponseWithListener(response, LISTENER))
    server.feed_data(request_head(("Sec-WebSocket-Protocol", "a")))
    error = TypeError(MARK)
    server.fail(error)
    assert check_route_error(server) is error


def test_client_fails_after_all() -> None:
    client, _ = make_client(subprotocols=["a"])
    client.take_to_send()
    client.feed_data(response_head(client, ("Sec-WebSocket-Protocol", "a")))
    assert client.subprotocol == "a"
    error = TypeError()
    client.fail(error)
    assert client.done
    assert not client.accepted
    assert client.error is error
    assert client.listener is None
    assert client.subprotocol is None
    assert client.to_send == b""


def test_client_fails_before_it_begins() -> None:
    client, answer = make_client()
    error = RuntimeError()
    client.fail(error)
    assert client.error is error
    assert client.feed_data(answer) == 0
    assert client.take_to_send() == b""


# Arguments of the client


def client_with(**arguments: Any) -> ClientHandshake:
    arguments = {
        "target": "/",
        "host_header": "a",
        "listener_factory": lambda request, response: LISTENER,
        "options": WSOptions(),
        **arguments,
    }
    return ClientHandshake(**arguments)


@pytest.mark.parametrize("target", ["/", "/?", "/a/b?c=d", "//a", "http://a/b"])
def test_target(target: str) -> None:
    assert client_with(target=target).to_send.startswith(f"GET {target} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    "target",
    [
        "",
        "a",
        "?a",
        "*",
        "/a b",
        "/a#b",
        "/\u00fc",
        "/a\r\nX: b",
        "/ HTTP/1.1\r\nX: b\r\n\r\n",
        "/a\n",
        "/a\x00",
        "ws://a/",
    ],
)
def test_target_cannot_inject(target: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="target="):
        client_with(target=target)


@pytest.mark.parametrize("host", ["a", "a:80", "[::1]:80", "xn--tda.example"])
def test_host_header(host: str) -> None:
    assert f"\r\nHost: {host}\r\n".encode() in client_with(host_header=host).to_send
    data = client_with(extra_headers={"hOST": host}, host_header="other").to_send
    assert f"\r\nHost: {host}\r\n".encode() in data
    assert data.lower().count(b"host:") == 1


@pytest.mark.parametrize(
    "host", ["", "a b", "a\r\nX: b", "a@b", "a:b", "::1", "\u00fc", "a/", "a\x00"]
)
def test_host_header_cannot_inject(host: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="host_header="):
        client_with(host_header=host)
    with pytest.raises(WSInvalidOptionError, match=r"Host|value of header"):
        client_with(extra_headers={"Host": host})


def test_host_is_passed_once() -> None:
    with pytest.raises(WSInvalidOptionError, match="'Host' is passed twice"):
        client_with(extra_headers=[("Host", "a"), ("host", "a")])


@pytest.mark.parametrize("subprotocols", [["a", "b"], ("a", "b"), iter(["a", "b"])])
def test_subprotocols(subprotocols: Any) -> None:
    client = client_with(subprotocols=subprotocols)
    assert b"\r\nSec-WebSocket-Protocol: a, b\r\n" in client.to_send


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a\r\nX: b", "\u00fc", "a\x00", '"a"'])
def test_subprotocols_cannot_inject(name: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="subprotocol"):
        client_with(subprotocols=["x", name])


def test_subprotocols_are_unique() -> None:
    with pytest.raises(WSInvalidOptionError, match="'a' is passed twice"):
        client_with(subprotocols=["a", "b", "a"])


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": b"/"},
        {"target": None},
        {"host_header": b"a"},
        {"host_header": None},
        {"listener_factory": None},
        {"listener_factory": LISTENER},
        {"subprotocols": "chat"},
        {"subprotocols": b"chat"},
        {"subprotocols": None},
        {"subprotocols": [b"chat"]},
        {"subprotocols": [None]},
        {"options": None},
        {"options": {}},
        {"what": 1},
    ],
)
def test_client_argument_of_wrong_type(arguments: Dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        client_with(**arguments)


@pytest.mark.parametrize("options", [None, {}, 1])
def test_server_argument_of_wrong_type(options: Any) -> None:
    with pytest.raises(TypeError):
        ServerHandshake(lambda request: None, options=options)


# Misuse of the classes


@pytest.mark.parametrize("misuse", ["feed_data", "feed_eof", "feed_timeout"])
def test_factories_that_come_back(misuse: str) -> None:
    def come_back(*_: object) -> object:
        arguments = [TAIL] if misuse == "feed_data" else []
        assert not getattr(handshakes[-1], misuse)(*arguments)
        return LISTENER

    server = make_server(come_back)
    client, answer = make_client(come_back)
    handshakes: List[OpeningHandshake] = [server]
    assert server.feed_data(request_head()) == len(request_head())
    handshakes.append(client)
    assert client.feed_data(answer) == len(answer)
    assert server.error is client.error is None
    assert server.accepted
    assert client.accepted


def test_only_the_two_sides_can_be_made() -> None:
    with pytest.raises(TypeError, match="ClientHandshake or ServerHandshake"):
        OpeningHandshake()


def test_attributes_are_read_only() -> None:
    client, _ = make_client()
    for name in (
        "done", "accepted", "request", "response", "listener", "subprotocol", "error", "to_send",
    ):  # fmt: skip
        with pytest.raises(AttributeError):
            setattr(client, name, None)


def test_objects_that_were_not_initialised_do_not_crash() -> None:
    request = WSUpgradeRequest.__new__(WSUpgradeRequest)
    assert (request.method, request.path, request.raw_header) == ("", "/", b"")
    assert list(request.headers) == request.subprotocols == []
    response = WSUpgradeResponse.__new__(WSUpgradeResponse)
    assert list(response.headers) == []
    server = ServerHandshake.__new__(ServerHandshake)
    server.feed_data(request_head())
    assert server.done
    client = ClientHandshake.__new__(ClientHandshake)
    with pytest.raises(TypeError):
        client.feed_data(make_client()[1])
    for data in (b"\x00", request_head()):
        neither = OpeningHandshake.__new__(OpeningHandshake)
        with pytest.raises(NotImplementedError):
            neither.feed_data(data.replace(b"GET /kilroy?a=%20 HTTP/1.1", b"HTTP/1.1 101"))
    empty = WSUpgradeResponseWithListener.__new__(WSUpgradeResponseWithListener)
    server = make_server(lambda request: empty)
    server.feed_data(request_head())
    check_route_error(server)


def test_repr_of_handshake() -> None:
    client, answer = make_client()
    assert repr(client) == "<ClientHandshake unfinished>"
    client.feed_data(answer)
    assert repr(client) == "<ClientHandshake accepted>"
    server = make_server()
    server.feed_eof()
    assert repr(server) == "<ServerHandshake refused>"


# Any pieces, and both sides together


def outcome(handshake: OpeningHandshake, taken: int) -> Tuple[object, ...]:
    error = handshake.error
    return (
        taken if handshake.accepted else None,
        handshake.done,
        handshake.accepted,
        type(error),
        str(error),
        getattr(error, "status", None),
        handshake.subprotocol,
        handshake.to_send,
        handshake.response and (handshake.response.status, handshake.response.body),
    )


def feed_in_pieces(handshake: OpeningHandshake, data: bytes, sizes: List[int]) -> int:
    taken = 0
    while sizes and taken < len(data) and not handshake.done:
        taken += handshake.feed_data(data[taken : taken + sizes.pop()])
    return taken if handshake.done else taken + handshake.feed_data(data[taken:])


PIECES = st.lists(st.integers(1, 60), max_size=12)
MUTATIONS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(b"\r\n\t :,/aA1%\x00\xff")),
    max_size=2,
)


def mutated(data: bytes, mutations: List[Tuple[int, int, int]]) -> bytes:
    """Replace (1), insert (0) or remove (more) bytes."""
    for where, removed, byte in mutations:
        position = where % len(data)
        inserted = bytes([byte]) if removed < 2 else b""
        data = data[:position] + inserted + data[position + removed :]
    return data


@given(PIECES, MUTATIONS, st.binary(max_size=40))
def test_pieces_do_not_matter_to_the_server(
    sizes: List[int], mutations: List[Tuple[int, int, int]], tail: bytes
) -> None:
    data = mutated(request_head(("Sec-WebSocket-Protocol", "a, b")), mutations) + tail
    outcomes = []
    for pieces in ([], sizes):
        server = make_server(max_handshake_size=300, max_handshake_line_size=80)
        outcomes.append(outcome(server, feed_in_pieces(server, data, list(pieces))))
        if server.done and not server.accepted:
            read_answer_of_any(server.to_send)
    assert outcomes[0] == outcomes[1]


def read_answer_of_any(data: bytes) -> None:
    raw_head, _, body = data.partition(b"\r\n\r\n")
    assert raw_head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505"))
    assert b"Content-Length: %d\r\n" % len(body) in raw_head
    assert MARK.encode() not in data


@given(PIECES, MUTATIONS, st.binary(max_size=40))
def test_pieces_do_not_matter_to_the_client(
    sizes: List[int], mutations: List[Tuple[int, int, int]], tail: bytes
) -> None:
    client, answer = make_client(subprotocols=["a"])
    first_lines = {0: "HTTP/1.1 101 OK", 1: "HTTP/1.1 403 No"}
    answer = response_head(
        client, ("Sec-WebSocket-Protocol", "a"), first_line=first_lines[len(sizes) % 2]
    )
    data = mutated(answer, mutations) + tail
    outcomes = []
    for pieces in ([], sizes):
        # The key is random: a client that is fed the other's answer refuses it, both alike.
        handshake, _ = make_client(subprotocols=["a"])
        handshake.take_to_send()
        taken = feed_in_pieces(handshake, data, list(pieces))
        handshake.feed_eof()
        outcomes.append(outcome(handshake, taken))
    assert outcomes[0] == outcomes[1]


TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=10)


@given(
    st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) != "#"], max_size=20),
    st.lists(TOKEN, max_size=4, unique=True),
    st.dictionaries(
        TOKEN.map(lambda name: f"X-{name}"),
        st.text('aZ09 \t\u00fc\u20ac:;,="', max_size=20),
        max_size=4,
    ),
    PIECES,
    st.binary(max_size=20),
)
def test_round_trip(
    path: str, subprotocols: List[str], extra_headers: Dict[str, str], sizes: List[int], tail: bytes
) -> None:
    client = client_with(
        target=f"/{path}",
        host_header="a:80",
        subprotocols=subprotocols,
        extra_headers=extra_headers,
    )
    chosen = subprotocols[-1] if subprotocols else None
    response = WSUpgradeResponse.create_101_response(extra_headers, chosen)
    server = make_server(lambda request: WSUpgradeResponseWithListener(response, LISTENER))

    data = client.take_to_send()
    assert feed_in_pieces(server, data + tail, list(sizes)) == len(data)
    assert server.error is None
    assert server.accepted
    assert server.request.path == client.request.path == f"/{path}"
    assert server.request.subprotocols == subprotocols
    assert server.request.headers == client.request.headers
    for name, value in extra_headers.items():
        assert value.strip(" \t") in server.request.headers.getall(name)

    data = server.take_to_send()
    assert feed_in_pieces(client, data + tail, list(sizes)) == len(data)
    assert client.error is None
    assert client.accepted
    assert client.subprotocol == server.subprotocol == chosen
    assert client.response.headers == server.response.headers
