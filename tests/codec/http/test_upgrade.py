from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from typing import Any, Optional

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from picows_codec import ServerHandshake, WSOptions
from picows_codec.errors import WSInvalidOptionError, WSStateError
from picows_codec.http.upgrade import (
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    encode_response_head,
    set_remote_address,
)
from tests.support.handshakes import LISTENER, MARK, Feed, make_server, request_head

# Request


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


COPIES: Any = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("copied", COPIES)
def test_copy_of_a_request(copied: Any) -> None:
    head = request_head(
        ("X-Text", "\u00fc\udcff"),
        ("Sec-WebSocket-Protocol", "a, b"),
        first_line="GET /a?b HTTP/1.1",
    )
    request = request_of(head)
    again = copied(request)
    assert type(again) is WSUpgradeRequest
    names = ("method", "path", "version", "raw_header", "subprotocols", "headers")
    for name in (*names, "remote_address", "local_address"):
        assert getattr(again, name) == getattr(request, name)


@pytest.mark.parametrize("copied", COPIES)
def test_copy_of_a_response(copied: Any) -> None:
    made = WSUpgradeResponse.create_error_response(404, b"none", {"X-A": "1", "x-b": "2"})
    accepting = WSUpgradeResponse.create_101_response({"X-A": "1"}, "v1")
    server = make_server(lambda request: LISTENER)
    server.feed_data(request_head())
    for response in (made, accepting, server.response):
        again = copied(response)
        assert type(again) is WSUpgradeResponse
        names = ("status", "reason", "version", "subprotocol", "body", "raw_header", "headers")
        for name in names:
            assert getattr(again, name) == getattr(response, name)
    assert copied(made).to_bytes() == made.to_bytes()
    again = copied(made)
    again.headers["X-A"] = "3"
    assert made.headers["X-A"] == "1"


@pytest.mark.parametrize(
    ("line", "method", "path", "version"),
    [
        ("GET /a?b HTTP/1.1", "GET", "/a?b", "HTTP/1.1"),
        ("HEAD http://h HTTP/1.0", "HEAD", "/", "HTTP/1.0"),
        ("GET https://h?q HTTP/1.1", "GET", "/?q", "HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", "OPTIONS", "*", "HTTP/1.1"),
        ("M-SEARCH * HTTP/1.1", "M-SEARCH", "*", "HTTP/1.1"),
        ("GET / HTTP/3.7", "GET", "/", "HTTP/3.7"),
    ],
)
def test_request_line(line: str, method: str, path: str, version: str) -> None:
    request = request_of(f"{line}\r\nHost: h\r\n\r\n".encode())
    for each in (request, pickle.loads(pickle.dumps(request))):
        assert (each.method, each.path, each.version) == (method, path, version)


class Server:
    """What a request belongs to."""


def test_server_of_a_request() -> None:
    owner = Server()
    server = ServerHandshake(lambda request: None, WSOptions(), (), weakref.ref(owner))
    server.feed_data(request_head())
    request = server.request
    assert request is not None
    assert request.server is owner
    assert pickle.loads(pickle.dumps(request)).server is None
    del owner
    assert request.server is None
    assert request_of(request_head()).server is None


@pytest.mark.parametrize("address", [("203.0.113.9", 80), ("::1", 1, 0, 0), "/run/s", None])
def test_remote_address_may_be_set(address: Any) -> None:
    request = request_of(request_head())
    set_remote_address(request, address)
    assert request.remote_address == address


def test_repr_of_request_is_short_and_keeps_secrets() -> None:
    data = request_head(("Authorization", "secret"), first_line="GET /a?token=secret HTTP/1.1")
    assert repr(request_of(data)) == "<WSUpgradeRequest GET /a>"
    data = request_head(first_line=f"GET /{'a' * 1000} HTTP/1.1")
    assert repr(request_of(data)) == f"<WSUpgradeRequest GET /{'a' * 79}...>"


# Response


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


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_and_no_length(status: int) -> None:
    response = WSUpgradeResponse.create_response(status, None, {"ETag": '"a"'})
    head = response.to_bytes()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-" not in head
    assert b'\r\nETag: "a"\r\n' in head
    assert head.endswith(b"\r\nConnection: close\r\n\r\n")


def test_any_status() -> None:
    response = WSUpgradeResponse.create_response(207, "body")
    assert (response.status, response.reason, response.body) == (207, "Multi-Status", b"body")
    assert b"Content-Length: 0\r\n" in WSUpgradeResponse.create_response(205).to_bytes()


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_body_that_may_not_be(status: int) -> None:
    with pytest.raises(WSInvalidOptionError, match="has no body"):
        WSUpgradeResponse.create_response(status, "body")


@pytest.mark.parametrize("status", [101, 199, 600, 0, -1])
def test_status_that_is_not_final(status: int) -> None:
    with pytest.raises(WSInvalidOptionError, match="200 to 599"):
        WSUpgradeResponse.create_response(status)


def test_head_of_a_body_that_is_sent_apart() -> None:
    response = WSUpgradeResponse.create_ok_response(None, {"X-A": "1"})
    head = encode_response_head(response, 5_000_000_000)
    assert head == (
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 5000000000\r\nConnection: close\r\n\r\n"
    )
    with pytest.raises(WSStateError):
        encode_response_head(WSUpgradeResponse.create_101_response(), 5)


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
