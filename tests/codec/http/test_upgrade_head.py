from __future__ import annotations

import pytest

from picows_codec.errors import WSInvalidMessageError
from tests.support.handshakes import (
    ACCEPT,
    KEY,
    Feed,
    Headers,
    check_refusal,
    make_client,
    make_server,
    request_head,
    response_head,
    route_must_not_be_called,
)


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
