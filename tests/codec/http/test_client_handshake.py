from __future__ import annotations

import base64
from typing import Any, Dict, Optional, Type

import pytest

from picows_codec.errors import (
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
)
from picows_codec.http.client_handshake import ClientHandshake
from picows_codec.http.upgrade import WSUpgradeRequest, WSUpgradeResponse
from picows_codec.options import WSOptions
from tests.support.handshakes import (
    ACCEPT,
    LISTENER,
    TAIL,
    Feed,
    Headers,
    client_accept,
    client_with,
    feed_byte_by_byte,
    make_client,
    response_head,
)

# The client


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


# Arguments of the client


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
