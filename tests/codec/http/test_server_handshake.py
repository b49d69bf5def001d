from __future__ import annotations

import base64
import sys
from typing import Any, List, Optional, Tuple, Type

import pytest

import picows_codec.http.upgrade as upgrade_room
from picows_codec.errors import (
    WSHandshakeError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
)
from picows_codec.http.server_handshake import ServerHandshake
from picows_codec.http.upgrade import (
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.options import WSOptions
from tests.support.handshakes import (
    ACCEPT,
    KEY,
    LISTENER,
    MARK,
    Feed,
    Headers,
    check_refusal,
    check_route_error,
    make_client,
    make_server,
    read_answer,
    request_head,
    route_must_not_be_called,
)

# Requests and what a server makes of them


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


@pytest.mark.parametrize("result", [None, WSUpgradeResponse.create_ok_response("body")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_date_of_a_response(result: object, method: str) -> None:
    server = ServerHandshake(lambda _: result, WSOptions(), date=lambda: b"today")
    server.feed_data(request_head(first_line=f"{method} / HTTP/1.1"))
    assert server.to_send.count(b"\r\nDate: today\r\n") == 1
    assert server.to_send.endswith(b"\r\n\r\n") == (method == "HEAD") or method == "GET"


def test_the_date_of_refusals() -> None:
    for data in (b"nonsense\r\n\r\n", request_head(("Host", None))):
        server = ServerHandshake(lambda _: None, WSOptions(), date=lambda: b"today")
        server.feed_data(data)
        assert b"\r\nDate: today\r\n" in server.to_send


def test_a_date_of_the_route_is_sent_instead() -> None:
    response = WSUpgradeResponse.create_ok_response(None, {"date": "mine"})
    server = ServerHandshake(lambda _: response, WSOptions(), date=lambda: b"today")
    server.feed_data(request_head())
    assert b"date: mine\r\n" in server.to_send
    assert b"today" not in server.to_send


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_response_of_another_server_is_passed_on_as_it_is(method: str) -> None:
    first = ServerHandshake(
        lambda _: WSUpgradeResponse.create_error_response(403), WSOptions(), date=lambda: b"earlier"
    )
    first.feed_data(request_head())
    client, _ = make_client()
    client.feed_data(first.to_send)
    received = client.response
    assert received.raw_header == first.to_send
    second = ServerHandshake(lambda _: received, WSOptions(), date=lambda: b"today")
    second.feed_data(request_head(first_line=f"{method} / HTTP/1.1"))
    assert second.to_send == first.to_send


@pytest.mark.parametrize("date", [None, lambda: None])
def test_no_date(date: Any) -> None:
    server = ServerHandshake(lambda _: None, WSOptions(), date=date)
    server.feed_data(request_head())
    assert b"Date" not in server.to_send


def test_an_acceptance_asks_for_no_date() -> None:
    server = ServerHandshake(lambda _: LISTENER, WSOptions(), date=route_must_not_be_called)
    server.feed_data(request_head())
    assert server.accepted
    assert b"Date" not in server.to_send


# Refused requests: (changes, status, type of the error, header, its value)

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
    check_refusal(server, data, 501, WSInvalidMessageError)
    assert "Allow" not in server.response.headers


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


def test_no_upgrade_in_http_1_0(feed: Feed) -> None:
    """It is told the same as a request in HTTP/1.1."""
    server = make_server()
    data = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
    assert feed(server, data) == len(data)
    check_refusal(server, data, 426, WSInvalidUpgradeError)


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
    real = upgrade_room.CIMultiDict

    def fail_once(*args: Any) -> Any:
        monkeypatch.setattr(upgrade_room, "CIMultiDict", real)
        raise error

    server = make_server(lambda _: None)
    monkeypatch.setattr(upgrade_room, "CIMultiDict", fail_once)
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


def test_the_route_is_released() -> None:
    def route(_: WSUpgradeRequest) -> object:
        return LISTENER

    count = sys.getrefcount(route)
    server = make_server(route)
    server.feed_data(request_head())
    assert sys.getrefcount(route) == count


@pytest.mark.parametrize("options", [None, {}, 1])
def test_server_argument_of_wrong_type(options: Any) -> None:
    with pytest.raises(TypeError):
        ServerHandshake(lambda request: None, options=options)
