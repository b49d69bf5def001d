"""picows_server.asgi.refusal: HTTP responses of an application that does not accept."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Dict, List, Optional, Tuple

import pytest

from picows_server.asgi import asgi_listener
from picows_server.asgi.refusal import StreamedResponse, checked_fields
from tests.support.asgi import Recorder, fronts, served
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import serving, sockname

START: Dict[str, Any] = {"type": "websocket.http.response.start", "status": 404}
TWICE = (
    "Expected ASGI message 'websocket.http.response.body' but got 'websocket.http.response.start'."
)


def body(data: bytes = b"", more_body: bool = False) -> Dict[str, Any]:
    return {"type": "websocket.http.response.body", "body": data, "more_body": more_body}


async def response_to(front: str, messages: List[Dict[str, Any]], **options: Any) -> bytes:
    """All bytes that a client gets from an application that sends these messages, but the Date."""
    events = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await receive()
        for message in messages:
            await send(message)
        if messages[-1]["type"].endswith("body") and not messages[-1]["more_body"]:
            events.append(await receive())
            assert events == [{"type": "websocket.disconnect", "code": 1006}]

    recorder = Recorder()
    async with served(front, app, recorder, **options) as server, await RawClient.connect(
        server.sockname
    ) as client:
        client.writer.write(upgrade_request())
        data: bytes = await client.reader.read()
    assert recorder.errors == []
    assert any(line.endswith(f'"WebSocket /" {START["status"]}') for line in recorder.lines)
    date = re.search(rb"\r\ndate: \w+, \d+ \w+ \d+ [\d:]{8} GMT(?=\r\n)", data)
    assert date is not None
    return data.replace(date[0], b"", 1)


@fronts
async def test_a_single_body_gets_a_content_length(front: str) -> None:
    data = await response_to(front, [{**START, "headers": [(b"X-A", b"b")]}, body(b"not here")])
    assert data == (
        b"HTTP/1.1 404 Not Found\r\nx-a: b\r\ncontent-length: 8\r\nconnection: close\r\n\r\n"
        b"not here"
    )


@fronts
async def test_a_streamed_body_is_chunked(front: str) -> None:
    data = await response_to(front, [START, body(b"not ", True), body(b"", True), body(b"here")])
    assert data == (
        b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        b"4\r\nnot \r\n4\r\nhere\r\n0\r\n\r\n"
    )


@fronts
async def test_without_a_body_the_head_leaves_at_the_end(front: str) -> None:
    data = await response_to(front, [START])
    assert data == b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@fronts
async def test_with_a_content_length_the_head_leaves_at_start(front: str) -> None:
    may_go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({**START, "headers": [(b"Content-Length", b"4")]})
        await may_go_on.wait()
        await send(body(b"he", True))
        await send(body(b"re and too much"))

    async with served(front, app) as server, await RawClient.connect(server.sockname) as client:
        client.writer.write(upgrade_request())
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 4\r\n" in head
        may_go_on.set()
        assert await client.reader.read() == b"here"


@fronts
@pytest.mark.parametrize("headers", [None, [(b"Content-Length", b"0")]])
async def test_two_starts(front: str, headers: Optional[List[Tuple[bytes, bytes]]]) -> None:
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        message = {**START, "headers": headers or []}
        await send(message)
        with pytest.raises(RuntimeError) as caught:
            await send(message)
        errors.append(str(caught.value))

    async with served(front, app) as server, await RawClient.connect(server.sockname) as client:
        assert (await client.upgrade()).status == 404
    assert errors == [TWICE]


@fronts
@pytest.mark.parametrize("status", [99, 101, 600, "200"])
async def test_invalid_statuses(front: str, status: Any) -> None:
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": status})

    async with served(front, app, recorder) as server, await RawClient.connect(
        server.sockname
    ) as client:
        assert (await client.upgrade()).status == 500
    assert "Invalid HTTP status code" in recorder.errors[0]


@fronts
async def test_nothing_after_a_complete_response(front: str) -> None:
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        await send(body(b"x"))
        with pytest.raises(RuntimeError) as caught:
            await send(body(b"y"))
        errors.append(str(caught.value))

    async with served(front, app) as server, await RawClient.connect(server.sockname) as client:
        assert (await client.upgrade()).status == 404
    assert "response already completed" in errors[0]


@fronts
@pytest.mark.parametrize("is_chunked", [True, False])
async def test_a_body_that_is_left_unfinished(front: str, is_chunked: bool) -> None:
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [] if is_chunked else [(b"content-length", b"3")]
        await send({**START, "headers": headers})
        await send(body(b"x", True))

    async with served(front, app, recorder) as server, await RawClient.connect(
        server.sockname
    ) as client:
        client.writer.write(upgrade_request())
        data = await client.reader.read()
    assert not data.endswith(b"0\r\n\r\n")
    assert "without completing response" in recorder.errors[0]


@fronts
async def test_a_large_body_waits_for_the_peer(front: str) -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await receive()
        await send(START)
        for number in range(300):
            await send(body(bytes(65536), number < 299))
            sent += 1

    async with served(front, app) as server, await RawClient.connect(server.sockname) as client:
        client.writer.write(upgrade_request())
        before = -1
        while sent != before or not sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 300
        data = await client.reader.read()
        while True:
            more = await client.reader.read()
            if not more:
                break
            data += more
    assert data.count(b"\0") == 300 * 65536
    assert data.endswith(b"0\r\n\r\n")


def test_statuses_without_a_body() -> None:
    response = StreamedResponse({"status": 204, "headers": []})
    assert response.start() == b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    assert response.body({"body": b"ignored"}) == b""
    assert response.is_complete


@pytest.mark.parametrize("name", [None, b"Date"])
def test_the_date(name: Any) -> None:
    headers = [] if name is None else [(name, b"mine")]
    response = StreamedResponse({"status": 204, "headers": headers}, b"today")
    date = b"today" if name is None else b"mine"
    assert response.start().count(b"\r\ndate: ") == 1
    assert (
        b"\r\ndate: " + date + b"\r\n"
        in StreamedResponse({"status": 204, "headers": headers}, b"today").start()
    )


def test_a_204_has_no_length() -> None:
    response = StreamedResponse({"status": 204, "headers": [(b"Content-Length", b"3")]})
    assert response.start() == b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize("lengths", [[b"-3"], [b"1_0"], [b"+3"], [b""], [b"3", b"7"]])
def test_invalid_lengths(lengths: List[bytes]) -> None:
    """RFC 9110, 8.6: digits; the peer must not have to choose between two."""
    headers = [(b"content-length", length) for length in lengths]
    with pytest.raises(ValueError, match="invalid Content-Length"):
        StreamedResponse({"status": 401, "headers": headers})


@pytest.mark.parametrize("wrong", ["text", 5])
def test_bodies_are_bytes(wrong: Any) -> None:
    response = StreamedResponse({"status": 401})
    with pytest.raises(TypeError):
        response.body({"body": wrong})
    assert response.body({"body": bytearray(b"abc")}).endswith(b"\r\n\r\nabc")


async def test_a_response_of_which_nothing_was_sent_when_the_time_is_over() -> None:
    over = asyncio.Event()
    is_gone = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)  # whose head waits for the body
        assert await receive() == {"type": "websocket.disconnect", "code": 1006}
        over.set()
        await is_gone.wait()

    async with served(
        "own", app, websocket_handshake_timeout=0.05
    ) as server, await RawClient.connect(server.sockname) as client:
        client.writer.write(upgrade_request())
        await over.wait()
        is_gone.set()
        data = await client.reader.read()
    assert data.count(b"HTTP/1.1") == 1
    assert data.startswith(b"HTTP/1.1 503")


def test_headers_of_the_connection_are_ours() -> None:
    response = StreamedResponse(
        {"status": 299, "headers": [(b"Connection", b"keep-alive"), (b"Upgrade", b"x")]}
    )
    assert response.start() == b""
    assert response.end() == (b"HTTP/1.1 299 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


@pytest.mark.parametrize(
    "field", [(b"a b", b"c"), (b"", b"c"), (b"a", b"b\r\nc: d"), (b"a", b"\0")]
)
def test_headers_that_would_break_a_head(field: Tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="invalid HTTP header"):
        checked_fields([field])


@pytest.mark.parametrize("field", [("a", b"b"), (b"a", "b"), (b"a", None)])
def test_headers_are_bytes(field: Any) -> None:
    with pytest.raises(TypeError, match="headers must be pairs of bytes"):
        checked_fields([field])


async def test_a_response_that_takes_longer_than_the_handshake_may() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({**START, "headers": [(b"Content-Length", b"4")]})
        await asyncio.sleep(0.7)
        await send(body(b"he", True))
        await send(body(b"re"))

    factory = asgi_listener(app, lifespan="off")
    starting = serving(factory, websocket_handshake_timeout=0.5)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        response = await client.upgrade()
        assert (response.status, response.body) == (404, b"here")
        assert await client.reader.read() == b""


async def test_an_application_waits_for_a_client_that_reads_slowly() -> None:
    sent = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        for _ in range(200):
            await send(body(b"x" * 50_000, True))
            sent.append(50_000)
        await send(body())

    starting = serving(asgi_listener(app, lifespan="off"))
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(upgrade_request())
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = -1
        while len(sent) > before:  # until nobody takes more
            before = len(sent)
            await asyncio.sleep(0.05)
        assert before < 200
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await client.reader.read()).endswith(b"\r\n0\r\n\r\n")
        assert len(sent) == 200
