"""replay: what was recorded arrives again, by the same callbacks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Callable, List

import pytest

from picows_codec import (
    WSConnection,
    WSDirection,
    WSDisconnectKind,
    WSFrame,
    WSMessage,
    WSMessageListener,
    WSPermessageDeflate,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUsageError,
)
from picows_codec.recording import Record, Recorder, RecordingError, read_recording, replay
from picows_codec.testing import connected
from tests.support.connection import Connection, both_roles
from tests.support.deflate import DeflateConnection, Peer, both_contexts
from tests.support.frames import BINARY, PING, TEXT, pattern
from tests.support.recording import Collector

Run = Callable[..., Any]


def record(path: Path, role: str, act: Callable[[Any], Any], **options: Any) -> Collector:
    """Record a connection in memory; returns its listener."""
    with Recorder(path) as recorder:
        link = connected(Collector(), role=role, tap=recorder, **options)
        act(link)
        if not link.is_disconnected:
            link.receive_close(4000, "bye")
            link.receive_eof()
    listener: Collector = link.listener
    return listener


def talk(link: Any) -> None:
    link.receive("one", b"two")
    link.receive_fragments("th", "r", "ee")
    link.transport.send(TEXT, b"sent")
    link.receive(b"p", opcode=PING)
    link.receive(pattern(300_000))
    stream = link._connection.build(BINARY, pattern(5000))
    link.receive_bytes(*(stream[at : at + 999] for at in range(0, len(stream), 999)))


@both_roles
def test_the_same_events(run: Run, role: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    live = record(path, role, talk, url="ws://host/feed?a=1", subprotocols=["v1"])
    assert len(live.events) > 7

    async def main() -> None:
        listener = Collector()
        (cause,) = await replay(path, listener)
        assert listener.events == live.events
        assert cause.kind is WSDisconnectKind.PEER_CLOSE
        assert cause.close is not None
        assert cause.close.code == 4000
        made: List[Collector] = []

        def factory() -> Collector:
            made.append(Collector())
            return made[-1]

        await replay(str(path), factory, connection=1)
        assert [each.events for each in made] == [live.events]

    run(main)


@both_roles
@both_contexts
def test_a_compressed_session(run: Run, role: str, answer: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    peer = Peer(alone="no_context" in answer)
    with Recorder(path) as recorder:
        connection = DeflateConnection(role, Collector(), answer=answer, tap=recorder)
        for index in range(20):
            payload = b"message %d " % index * 20
            connection.feed(connection.compressed(TEXT, peer.deflate(payload)))
            connection.ws.send(TEXT, payload)
        connection.lose()
    live = connection.listener.events
    assert len(live) == 22

    async def main() -> None:
        listener = Collector()
        (cause,) = await replay(path, listener)
        assert listener.events == live
        assert cause.kind is WSDisconnectKind.CONNECTION_LOST

    run(main)


@both_roles
def test_server_windows(run: Run, role: str, tmp_path: Path) -> None:
    """Parameters other than the defaults are agreed on again."""
    path = tmp_path / "a.rec"
    compression = WSPermessageDeflate(
        min_size=0, server_max_window_bits=10, server_no_context_takeover=True
    )
    live = record(path, role, lambda link: link.receive("x"), compression=compression)

    async def main() -> None:
        listener = Collector()
        await replay(path, listener)
        assert listener.events == live.events

    run(main)


@both_roles
def test_a_coroutine(run: Run, role: str, tmp_path: Path) -> None:
    """It may be slower than the recording: reading is paused as it would be live."""
    path = tmp_path / "a.rec"
    record(path, role, lambda link: [link.receive(str(n)) for n in range(3000)])

    async def main() -> None:
        seen: List[Any] = []

        async def handler(ws: WSConnection) -> None:
            async for message in ws:
                seen.append(message)
                if len(seen) % 1000 == 0:
                    await asyncio.sleep(0.001)

        await replay(path, handler)
        assert seen == [str(n) for n in range(3000)]

        async def impatient(ws: WSConnection) -> None:
            await ws.recv()

        await replay(path, impatient)

        async def wrong(ws: WSConnection) -> None:
            raise LookupError(await ws.recv())

        with pytest.raises(LookupError, match="0"):
            await replay(path, wrong)

    run(main)


class Raises(WSMessageListener):
    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        raise LookupError("as asked for")


@both_roles
def test_what_a_callback_raises(run: Run, role: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    record(path, role, lambda link: link.receive("x"))

    async def main() -> None:
        with pytest.raises(LookupError, match="as asked for"):
            await replay(path, Raises())
        (cause,) = await replay(path, Raises(), raise_errors=False)
        assert cause.kind is WSDisconnectKind.LISTENER_EXCEPTION

    run(main)


def test_many_connections(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with Recorder(path) as recorder:
        links = [connected(Collector(), tap=recorder) for _ in range(3)]
        for round_number in range(5):
            for index, link in enumerate(links):
                link.receive(f"{round_number} of {index}")
        for link in links:
            link.lose()

    async def main() -> None:
        made: List[Collector] = []

        def factory(*_: Any) -> Collector:
            made.append(Collector())
            return made[-1]

        causes = await replay(path, factory)
        assert len(causes) == 3
        assert [each.events for each in made] == [link.listener.events for link in links]
        with pytest.raises(WSUsageError, match="connections overlap"):
            await replay(path, Collector())
        listener = Collector()
        await replay(path, listener, connection=2)
        assert listener.events == links[1].listener.events
        seen: List[Record] = []
        await replay(path, factory, on_record=seen.append)
        assert seen == list(read_recording(path))

    run(main)


def test_without_an_end(run: Run, tmp_path: Path) -> None:
    """The recorder was closed, or killed, before the connection had ended."""
    path = tmp_path / "a.rec"
    recorder = Recorder(path)
    link = connected(Collector(), tap=recorder, raise_errors=False)
    link.receive("a", "b")
    recorder.close()
    recorder.close()
    assert recorder.is_closed
    link.receive("not recorded")
    assert any("the tap failed, and is used no more" in line for line in link.log)

    async def main() -> None:
        listener = Collector()
        (cause,) = await replay(path, listener)
        assert listener.events[1:] == [(TEXT, b"a", True), (TEXT, b"b", True), "disconnected"]
        assert cause.kind is WSDisconnectKind.CONNECTION_LOST

    run(main)


def forbidden() -> Any:
    return WSUpgradeResponse.create_error_response(403, b"no")


def redirected() -> Any:
    return WSUpgradeResponse.create_redirect_response(302, "/elsewhere")


def fine() -> Any:
    return WSUpgradeResponse.create_ok_response(b"healthy")


@both_roles
@pytest.mark.parametrize("respond", [forbidden, redirected, fine])
def test_a_refused_handshake(
    run: Run, role: str, respond: Callable[[], Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.rec"
    response = respond()
    with Recorder(path) as recorder:
        connection = Connection(role, factory=lambda *_: respond(), open=False, tap=recorder)
        connection.start()
        if role == "client":
            connection.feed(response.to_bytes())
        else:
            connection.feed(connection.opening_bytes())
        connection.loop.run_ready()
        connection.lose()

    async def main() -> None:
        def factory() -> Collector:
            raise AssertionError("there is no connection")

        (cause,) = await replay(path, factory)
        assert cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE
        assert cause.exception is not None
        assert str(response.status) in str(cause.exception)

    run(main)


def test_a_factory_that_checks_credentials(run: Run, tmp_path: Path) -> None:
    """They are not in the recording, so it refuses what it accepted live."""
    path = tmp_path / "a.rec"

    def route(request: WSUpgradeRequest) -> Any:
        return Collector() if "Authorization" in request.headers else forbidden()

    with Recorder(path) as recorder:
        credentials = {"Authorization": "Basic YTpi"}
        connected(route, role="server", peer_headers=credentials, tap=recorder).lose()

    async def main() -> None:
        (cause,) = await replay(path, route)
        assert cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE
        listener = Collector()
        await replay(path, listener)
        assert listener.events[-1] == "disconnected"

    run(main)


@both_roles
def test_redacted_subprotocols(run: Run, role: str, tmp_path: Path) -> None:
    """Several have the same name then."""
    path = tmp_path / "a.rec"
    names = ["token", "0a" * 20]
    live = record(
        path,
        role,
        lambda link: link.receive("x"),
        subprotocols=names,
        **({"peer_headers": {"Sec-WebSocket-Protocol": names[1]}} if role == "server" else {}),
    )

    async def main() -> None:
        listener = Collector()
        await replay(path, listener)
        assert listener.events[0] == ("connected", "/", "REDACTED")
        assert listener.events[1:] == live.events[1:]

    run(main)


@both_roles
def test_it_keeps_little(run: Run, role: str, tmp_path: Path) -> None:
    """Not more for a recording of a million writes."""
    path = tmp_path / "a.rec"
    record(path, role, lambda link: [link.receive("x") for _ in range(1000)])

    class Echo(Collector):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            transport.send(TEXT, b"y")

        def on_ws_connected(self, transport: WSTransport) -> None:
            self.network: Any = transport.underlying_transport

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            self.kept = len(self.network.calls), len(self.network.writes)

    async def main() -> None:
        listener = Echo()
        await replay(path, listener)
        assert listener.kept <= (1, 1)

    run(main)


def test_no_task_is_left(run: Run, tmp_path: Path) -> None:
    """A coroutine that is cancelled has ended when replay raises."""
    path = tmp_path / "a.rec"
    with Recorder(path) as recorder:
        links = [connected(Collector(), tap=recorder) for _ in range(3)]
        for link in links:
            link.receive("x")
    ended: List[str] = []

    async def main() -> None:
        async def handler(ws: WSConnection) -> None:
            try:
                async for _ in ws:
                    pass
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0)
                ended.append("ended")

        def stop(record: Record) -> None:
            if record.direction is WSDirection.RECEIVED and not record.is_handshake:
                raise LookupError("as asked for")

        with pytest.raises(LookupError, match="as asked for"):
            await replay(path, handler, on_record=stop)
        assert ended == ["ended"] * 3

    run(main)


def test_pace(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.rec"
    now = [0]
    monkeypatch.setattr("time.monotonic_ns", lambda: now[0])
    with Recorder(path) as recorder:
        link = connected(Collector(), tap=recorder)
        for _ in range(4):
            now[0] += 10_000_000_000
            link.receive("x")
    monkeypatch.undo()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        slept: List[float] = []
        sleep = asyncio.sleep

        async def note(seconds: float) -> None:
            if seconds:
                slept.append(seconds)
                offset[0] += seconds
            await sleep(0)

        offset = [0.0]
        time = loop.time

        class Loop:
            def time(self) -> float:
                return time() + offset[0]

            def __getattr__(self, name: str) -> Any:
                return getattr(loop, name)

        monkeypatch.setattr(asyncio, "sleep", note)
        monkeypatch.setattr(asyncio, "get_running_loop", Loop)

        try:
            await replay(path, Collector(), 2.0)
        finally:
            monkeypatch.undo()
        assert 19 < sum(slept) <= 20

    run(main)


@pytest.mark.parametrize("speed", [0, -1, 0.0])
def test_wrong_speed(run: Run, speed: Any, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(WSUsageError, match="speed must be above 0"):
            await replay(tmp_path / "a.rec", Collector(), speed)

    run(main)


def test_wrong_files(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"

    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await replay(path, Collector())
        path.write_bytes(b"something else, and long enough")
        with pytest.raises(RecordingError, match="is not a recording"):
            await replay(path, Collector())

    run(main)


@both_roles
def test_how_this_side_ended_it(run: Run, role: str, tmp_path: Path) -> None:
    """A program closed or dropped the connection, not its listener: so it ends here."""

    def closes(link: Any) -> None:
        link.receive("before")
        link.transport.send_close(4001, "enough")
        link.receive("meanwhile")
        link.receive_close(4001)
        link.receive_eof()

    def drops(link: Any) -> None:
        link.receive("before")
        link.transport.disconnect(graceful=False)

    async def main() -> None:
        for number, (act, kind) in enumerate(
            [(closes, WSDisconnectKind.LOCAL_CLOSE), (drops, WSDisconnectKind.LOCAL_ABORT)]
        ):
            path = tmp_path / f"{number}.rec"
            live = record(path, role, act)
            listener = Collector()
            (cause,) = await replay(path, listener)
            assert cause.kind is kind
            assert listener.events == live.events

    run(main)


def test_nothing_to_replay(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    record(path, "client", lambda link: link.receive("one"))
    whole = path.read_bytes()
    (tmp_path / "empty.rec").touch()
    cut = tmp_path / "cut.rec"

    async def main() -> None:
        with pytest.raises(RecordingError, match="there is no connection 9 in it"):
            await replay(path, Collector(), connection=9)
        with pytest.raises(RecordingError, match="there is no connection in it"):
            await replay(tmp_path / "empty.rec", Collector())
        for size in range(1, 300, 7):
            cut.write_bytes(whole[:size])
            with pytest.raises(RecordingError):
                await replay(cut, Collector())

    run(main)


@both_roles
def test_files_of_a_rotated_recording(run: Run, role: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with Recorder(path, max_bytes=5000) as recorder:
        link = connected(Collector(), role=role, tap=recorder)
        for number in range(200):
            link.receive(f"message {number} " * 10)
        link.lose()
    assert len(list(tmp_path.iterdir())) > 4

    async def main() -> None:
        listener = Collector()
        await replay(path, listener)
        assert listener.events == link.listener.events

    run(main)


@both_roles
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_files_whose_beginning_is_gone(run: Run, role: str, piece: int, tmp_path: Path) -> None:
    """They begin in the middle of a frame, or of a message: the rest of it is left out."""
    path = tmp_path / "a.rec"
    with Recorder(path, max_bytes=60_000 // min(piece, 12), keep=1) as recorder:
        link = connected(Collector(), role=role, tap=recorder)
        build = link._connection.build
        stream = b""
        for number in range(40):
            stream += build(TEXT, b"a%d" % number * 5, fin=False) + build(PING, b"p")
            stream += build(0, b"b" * 200, fin=False) + build(0, b"c")
            stream += build(BINARY, b"%d" % number)
        link.receive_bytes(*(stream[at : at + piece] for at in range(0, len(stream), piece)))
        link.lose()
    assert len(list(tmp_path.iterdir())) == 2

    async def main() -> None:
        listener = Collector()
        (cause,) = await replay(path, listener)
        assert cause.kind is WSDisconnectKind.CONNECTION_LOST
        got = listener.events[1:]
        assert got == link.listener.events[-len(got) :]
        assert got[0][0] != 0
        assert len(got) > 2

    run(main)


def test_a_compressed_beginning_is_gone(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    peer = Peer()
    with Recorder(path, max_bytes=5000, keep=1) as recorder:
        connection = DeflateConnection("client", Collector(), tap=recorder)
        for _ in range(300):
            connection.feed(connection.compressed(TEXT, peer.deflate(b"abc")))
        connection.lose()

    async def main() -> None:
        with pytest.raises(RecordingError, match="nothing to replay: the beginning of a compr"):
            await replay(path, Collector())

    run(main)
