"""picows_server.asgi.connection: what an application receives and sends, over both front ends."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any, Dict, List

import pytest

from picows_server.asgi import ClientDisconnected, UvicornProtocol
from tests.support.asgi import Recorder, accept, echo_app, fronts, served
from tests.support.rawclient import RawClient, upgrade_request

CODE_1006 = {"type": "websocket.disconnect", "code": 1006}


class Script:
    """An application that a test writes as a function of scope, receive and send."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.events: List[Dict[str, Any]] = []
        self.error: Any = None
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def recording() -> Any:
            event = await receive()
            self.events.append(event)
            return event

        try:
            await self.function(scope, recording, send)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()


@fronts
async def test_events_by_opcode_and_back(front: str) -> None:
    script = Script(echo_app)
    async with served(front, script) as server, await RawClient.open(server.sockname) as client:
        client.write_frame(1, "höhe".encode())
        client.write_frame(2, b"\x00\xff")
        client.write_frame(1, b"")
        first = await client.read_frame()
        second = await client.read_frame()
        third = await client.read_frame()
        assert (first.opcode, first.payload) == (1, "höhe".encode())
        assert (second.opcode, second.payload) == (2, b"\x00\xff")
        assert (third.opcode, third.payload) == (1, b"")
        client.write_close(4001)
        assert await client.read_close() == 4001
        await script.ended.wait()
    assert script.events == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "höhe"},
        {"type": "websocket.receive", "bytes": b"\x00\xff"},
        {"type": "websocket.receive", "text": ""},
        {"type": "websocket.disconnect", "code": 4001, "reason": ""},
    ]


@fronts
async def test_fragments_are_one_event(front: str) -> None:
    script = Script(echo_app)
    async with served(front, script) as server, await RawClient.open(server.sockname) as client:
        client.write_frame(1, b"one ", fin=False)
        client.write_frame(0, b"two")
        assert (await client.read_frame()).payload == b"one two"


@fronts
async def test_disconnect_without_a_code_and_with_a_reason(front: str) -> None:
    for payload, wanted in (
        (b"", {"code": 1005, "reason": ""}),
        (b"\x03\xe8bye", {"code": 1000, "reason": "bye"}),
    ):
        script = Script(echo_app)
        async with served(front, script) as server, await RawClient.open(server.sockname) as client:
            client.write_frame(8, payload)
            await client.read_frame()
            await script.ended.wait()
        assert script.events[-1] == {"type": "websocket.disconnect", **wanted}


@fronts
async def test_lost_while_open(front: str) -> None:
    script = Script(echo_app)
    async with served(front, script) as server:
        client = await RawClient.open(server.sockname)
        client.reset()
        await script.ended.wait()
        await client.close()
    assert script.events[-1] == {"type": "websocket.disconnect", "code": 1005}
    assert script.error is None


@pytest.mark.parametrize("sent", ["nothing", "a frame", "a frame and a close"])
@pytest.mark.parametrize("is_reset", [True, False])
@fronts
async def test_lost_before_accept(front: str, is_reset: bool, sent: str) -> None:
    """What came too early does not hide the end."""
    begun = asyncio.Event()
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        begun.set()
        await receive()
        await send({"type": "websocket.accept"})

    script = Script(app)
    async with served(front, script, recorder) as server:
        client = await RawClient.connect(server.sockname)
        client.writer.write(upgrade_request())
        await begun.wait()
        if sent != "nothing":
            client.write_frame(1, b"early")
        if sent == "a frame and a close":
            client.write_close(1000)
        if is_reset:
            client.reset()
        await client.close()
        await script.ended.wait()
    assert script.events == [{"type": "websocket.connect"}, CODE_1006]
    assert isinstance(script.error, OSError)
    assert recorder.errors == []


@fronts
async def test_queued_messages_come_before_the_disconnect(front: str) -> None:
    may_read = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await may_read.wait()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    script = Script(app)
    async with served(front, script) as server, await RawClient.open(server.sockname) as client:
        for text in (b"a", b"b", b"c"):
            client.write_frame(1, text)
        client.write_close(1000)
        may_read.set()
        assert await client.read_close() == 1000
        await script.ended.wait()
    assert [event.get("text") for event in script.events[1:-1]] == ["a", "b", "c"]
    assert script.events[-1] == {"type": "websocket.disconnect", "code": 1000, "reason": ""}


@fronts
async def test_leaving_before_accept_is_no_news(front: str) -> None:
    recorder = Recorder()
    entered = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        entered.set()
        await receive()

    script = Script(app)
    async with served(front, script, recorder) as server:
        client = await RawClient.connect(server.sockname)
        client.writer.write(upgrade_request())
        await entered.wait()
        await client.close()
        await script.ended.wait()
    assert script.events[-1] == CODE_1006
    lines = [line for line in recorder.lines if "opening handshake failed" in line]
    assert {recorder.levels[line] for line in lines} == {logging.DEBUG}


@fronts
async def test_accept_with_subprotocol_and_headers(front: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["subprotocols"] == ["one", "two"]
        await accept(receive, send, subprotocol="two", headers=[(b"X-Extra", b"1")])
        await receive()

    async with served(front, app) as server:
        client = await RawClient.connect(server.sockname)
        async with client:
            response = await client.upgrade("/", [("Sec-WebSocket-Protocol", "one, two")])
            assert response.status == 101
            assert response.headers["sec-websocket-protocol"] == "two"
            assert response.headers["x-extra"] == "1"


@fronts
async def test_a_subprotocol_that_was_not_offered_is_not_sent(front: str) -> None:
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send, subprotocol="other")
        await receive()

    async with served(front, app, recorder) as server:
        client = await RawClient.connect(server.sockname)
        async with client:
            response = await client.upgrade()
            assert response.status == 101
            assert "sec-websocket-protocol" not in response.headers
    assert any("was not offered" in line for line in recorder.lines)


@fronts
async def test_close_before_accept_is_403(front: str) -> None:
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        await receive()
        with pytest.raises(RuntimeError, match=r"after sending 'websocket\.close'"):
            await send({"type": "websocket.accept"})

    script = Script(app)
    async with served(front, script, recorder) as server:
        async with await RawClient.connect(server.sockname) as client:
            response = await client.upgrade("/a%20b?c=d")
            assert (response.status, response.body) == (403, b"")
        await script.ended.wait()
    assert script.error is None
    assert script.events[-1] == CODE_1006
    assert any(line.endswith('"WebSocket /a%20b?c=d" 403') for line in recorder.lines)


@fronts
@pytest.mark.parametrize("raises", [True, False])
async def test_an_application_that_ends_before_accept(front: str, raises: bool) -> None:
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if raises:
            raise ValueError("broken")

    async with served(front, app, recorder) as server, await RawClient.connect(
        server.sockname
    ) as client:
        response = await client.upgrade()
    assert response.status == 500
    assert response.body == b"Internal Server Error"
    assert response.headers["content-length"] == "21"
    assert response.headers["connection"] == "close"
    (error,) = recorder.errors
    assert "broken" in error if raises else "without completing handshake" in error


@fronts
@pytest.mark.parametrize("ending", ["returns", "raises", "misuses"])
async def test_an_application_that_ends_after_accept(front: str, ending: str) -> None:
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", "text": "last"})
        if ending == "raises":
            raise ValueError("broken")
        if ending == "misuses":
            await send({"type": "websocket.accept"})

    async with served(front, app, recorder) as server, await RawClient.open(
        server.sockname
    ) as client:
        assert (await client.read_frame()).payload == b"last"
        assert await client.reader.read() == b""  # no CLOSE frame
    errors = "".join(recorder.errors)
    if ending == "returns":
        assert errors == ""
    else:
        wanted = "broken" if ending == "raises" else "Expected ASGI message 'websocket.send'"
        assert wanted in errors


@fronts
async def test_our_close(front: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await receive()
        await send({"type": "websocket.close", "code": 4002, "reason": "done"})
        await receive()
        with pytest.raises(RuntimeError, match=r"after sending 'websocket\.close'"):
            await send({"type": "websocket.send", "text": "late"})

    script = Script(app)
    async with served(front, script) as server, await RawClient.open(server.sockname) as client:
        client.write_frame(1, b"go")
        frame = await client.read_frame()
        assert frame.payload == b"\x0f\xa2done"
        client.write_frame(1, b"dropped")
        client.write_close(4002)
        assert await client.reader.read() == b""
        await script.ended.wait()
    assert script.error is None
    assert script.events[-1] == {"type": "websocket.disconnect", "code": 4002, "reason": "done"}


@fronts
async def test_sending_to_a_peer_that_is_gone(front: str) -> None:
    recorder = Recorder()

    async def app_that_sends(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"
        await send({"type": "websocket.send", "text": "late"})

    script = Script(app_that_sends)
    async with served(front, script, recorder) as server, await RawClient.open(
        server.sockname
    ) as client:
        client.write_frame(1, b"go")
        client.write_close(1000)
        await client.read_close()
        await script.ended.wait()
    assert isinstance(script.error, ClientDisconnected)
    assert isinstance(script.error, OSError)
    assert recorder.errors == []


@fronts
async def test_closing_a_connection_that_the_peer_closes_or_has_lost(front: str) -> None:
    recorder = Recorder()
    is_lost = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        assert (await receive())["code"] == 1000
        await send({"type": "websocket.close"})  # it is being closed already

    async def app_that_closes_late(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        assert (await receive())["code"] == 1005
        for _ in range(5):
            await asyncio.sleep(0)
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.close"})
        is_lost.set()

    script = Script(app)
    async with served(front, script, recorder) as server, await RawClient.open(
        server.sockname
    ) as client:
        client.write_close(1000)
        assert await client.read_close() == 1000
        await script.ended.wait()
    assert script.error is None
    async with served(front, app_that_closes_late, recorder) as server:
        client = await RawClient.open(server.sockname)
        client.reset()
        await is_lost.wait()
        await client.close()
    assert recorder.errors == []


@fronts
async def test_send_waits_for_a_peer_that_does_not_read(front: str) -> None:
    sent = 0
    chunk = "x" * 65536

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await accept(receive, send)
        for _ in range(160):
            await send({"type": "websocket.send", "text": chunk})
            sent += 1
        await receive()

    script = Script(app)
    async with served(front, script) as server, await RawClient.open(server.sockname) as client:
        before = -1
        while sent != before:  # until nothing moves
            before = sent
            await asyncio.sleep(0.05)
        assert 0 < sent < 160
        for _ in range(160):
            frame = await client.read_frame()
            assert len(frame.payload) == 65536
        client.write_close(1000)
        await script.ended.wait()
    assert script.error is None


@fronts
@pytest.mark.parametrize("fails", [True, False])
async def test_a_peer_that_does_not_read_is_dropped_when_the_application_ends(
    front: str, fails: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", "bytes": bytes(16 * 1024 * 1024)})
        if fails:
            raise ValueError

    class Hasty(UvicornProtocol):
        close_timeout = 0.05

    options: Dict[str, Any] = {"close_timeout": 0.05} if front == "own" else {"ws": Hasty}
    recorder = Recorder()
    async with served(front, app, recorder, **options) as server, await RawClient.open(
        server.sockname
    ):
        while not any("bytes were not sent" in line for line in recorder.lines):
            await asyncio.sleep(0.01)


async def test_nothing_is_left_of_senders_that_gave_up() -> None:
    """A broadcast gives up after a while; the peer may not read for hours."""
    counts: List[int] = []
    may_go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        given_up = 0
        while given_up < 3:
            try:
                await asyncio.wait_for(
                    send({"type": "websocket.send", "bytes": bytes(65536)}), 0.01
                )
            except asyncio.TimeoutError:
                given_up += 1
        counts.append(len(send.__self__._write_waiters))
        may_go_on.set()

    async with served("own", app) as server, await RawClient.open(server.sockname):
        await may_go_on.wait()
    assert counts == [0]


@fronts
async def test_a_sender_that_waits_learns_that_the_peer_is_gone(front: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        while True:
            await send({"type": "websocket.send", "bytes": bytes(65536)})

    recorder = Recorder()
    script = Script(app)
    async with served(front, script, recorder) as server:
        client = await RawClient.open(server.sockname)
        await asyncio.sleep(0.05)
        client.reset()
        await script.ended.wait()
        await client.close()
    assert isinstance(script.error, ClientDisconnected)
    assert recorder.errors == []


@fronts
async def test_a_cancelled_receive_loses_nothing(front: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        waiting = asyncio.get_running_loop().create_task(receive())
        await asyncio.sleep(0)
        await send({"type": "websocket.send", "text": "ready"})
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        await receive()

    async with served(front, app) as server, await RawClient.open(server.sockname) as client:
        assert (await client.read_frame()).payload == b"ready"
        client.write_frame(1, b"kept")
        assert (await client.read_frame()).payload == b"kept"


@fronts
async def test_several_receivers(front: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(receive()) for _ in range(3)]
        for event in await asyncio.gather(*tasks):
            await send({**event, "type": "websocket.send"})
        await receive()

    async with served(front, app) as server, await RawClient.open(server.sockname) as client:
        for text in (b"a", b"b", b"c"):
            client.write_frame(1, text)
        assert [(await client.read_frame()).payload for _ in range(3)] == [b"a", b"b", b"c"]


@fronts
async def test_context_and_name_of_the_task(front: str) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")
    names = []
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())
        await accept(receive, send)
        seen.append(variable.get())
        variable.set("mine")
        await receive()
        seen.append(variable.get())

    script = Script(app)
    async with served(front, script) as server, await RawClient.open(
        server.sockname, "/chat"
    ) as client:
        client.write_frame(1, b"go")
        await script.ended.wait()
    assert names == ["websocket /chat"]
    assert seen == ["", "mine"]


@fronts
async def test_too_large_a_message(front: str) -> None:
    options: Dict[str, Any] = (
        {"ws_max_size": 200} if front == "uvicorn" else {"max_message_size": 200}
    )
    script = Script(echo_app)
    async with served(front, script, **options) as server, await RawClient.open(
        server.sockname
    ) as client:
        client.write_frame(2, bytes(201))
        assert await client.read_close() == 1009
        await client.close()
        await script.ended.wait()
    assert script.events[-1]["code"] == 1009


@fronts
async def test_broken_upgrades_do_not_reach_the_application(front: str) -> None:
    called = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope)

    async with served(front, app) as server, await RawClient.connect(server.sockname) as client:
        client.writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await client.read_response()).status == 400
    assert called == []


@fronts
async def test_malformed_offers_do_not_reach_the_application(front: str) -> None:
    called = []
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope)

    options: Any = {"compression": "deflate"} if front == "own" else {}
    async with served(front, app, recorder, **options) as server, await RawClient.connect(
        server.sockname
    ) as client:
        response = await client.upgrade(headers=[("Sec-WebSocket-Extensions", ";")])
        assert response.status == 400
    assert called == []
    assert recorder.errors == []


@fronts
async def test_a_message_without_data(front: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", "text": None})

    script = Script(app)
    async with served(front, script) as server, await RawClient.open(server.sockname):
        await script.ended.wait()
    assert isinstance(script.error, RuntimeError)
    assert "neither 'bytes' nor 'text'" in str(script.error)


@fronts
async def test_headers_that_are_no_bytes(front: str) -> None:
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send, headers=[("x-name", "value")])

    async with served(front, app, recorder) as server, await RawClient.connect(
        server.sockname
    ) as client:
        assert (await client.upgrade()).status == 500
    assert any("pairs of bytes, not 'x-name'" in error for error in recorder.errors)


@fronts
async def test_lines_of_the_access_log(front: str) -> None:
    recorder = Recorder()
    async with served(front, echo_app, recorder) as server, await RawClient.open(
        server.sockname, "/x?y=z"
    ) as client:
        host, port = client.writer.get_extra_info("sockname")
    assert f'{host}:{port} - "WebSocket /x?y=z" [accepted]' in recorder.lines


@fronts
@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="no eager tasks")
async def test_eager_tasks(front: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        await receive()

    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("uvloop passes arguments that the factory does not know")
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
    try:
        async with served(front, app) as server, await RawClient.open(server.sockname) as client:
            client.write_frame(1, b"hello")
            assert (await client.read_frame()).payload == b"hello"
    finally:
        loop.set_task_factory(None)


@fronts
async def test_frames_behind_the_request(front: str) -> None:
    if front == "uvicorn":
        pytest.skip("uvicorn's HTTP protocol keeps what is behind the head")
    async with served(front, echo_app) as server, await RawClient.connect(
        server.sockname
    ) as client:
        client.writer.write(upgrade_request())
        client.write_frame(1, b"early")
        assert (await client.read_response()).status == 101
        assert (await client.read_frame()).payload == b"early"
