"""Chromium and Firefox against our server, with a look at the frames on the wire."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Union

import pytest

from picows_codec import WSPermessageDeflate
from picows_server import (
    WSCloseInfo,
    WSConnection,
    WSDisconnectKind,
    WSListener,
    WSTransport,
    WSUpgradeRequest,
    serve,
    ws_create_server,
)
from tests.interop.browsers import BROWSERS, Browser
from tests.interop.conftest import LARGE, SIZES, TEXTS
from tests.interop.endings import cause_of, closing_of
from tests.interop.test_our_server import Closer, FrameEcho, MessageEcho, Splitter
from tests.interop.wire_tap import Tap, inflate_messages, tap_server
from tests.support.frames import CONTINUATION, Frame
from tests.support.leaks import eventually

Run = Callable[..., Any]
Message = Union[str, bytes]

QUOTES = '{"symbol":"BTCUSDT","price":"60000.10","quantity":"0.001"}' * 300
MESSAGES: List[Message] = [
    *TEXTS,
    *(QUOTES[:size] for size in (1, 125, 126, 262, 4096)),
    *((QUOTES.encode() * 60)[:size] for size in SIZES),
    bytes(range(256)) * 8,
]
OFFERS = {
    "chromium": "permessage-deflate; client_max_window_bits",
    "firefox": "permessage-deflate",
}


@pytest.fixture(scope="module", params=sorted(BROWSERS))
def browser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    name: str = request.param
    running = Browser(name, Path(tmp_path_factory.mktemp(name)))
    yield running
    running.stop()


class Serving:
    """Our server, and what runs scripts against it."""

    def __init__(self, browser: Browser, tap: Tap, listeners: List[WSListener]) -> None:
        self.browser = browser
        self.tap = tap
        self.listeners = listeners

    @property
    def transport(self) -> WSTransport:
        """Our end of the only connection."""
        (listener,) = self.listeners
        return listener.transport

    async def run(self, script: str, **values: Any) -> Any:
        """Run it in the browser; ``url`` and the values are constants of it."""
        constants = {"url": self.tap.url, **values}
        lines = [f"const {name} = {json.dumps(value)}" for name, value in constants.items()]
        lines.append(script)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self.browser.run, "\n".join(lines))


Serve = Callable[..., "contextlib.AbstractAsyncContextManager[Serving]"]


@pytest.fixture
def serving_with(browser: Browser) -> Serve:
    """``async with serving_with(factory, parameters, **options)``; ``parameters=None``: plain."""

    @contextlib.asynccontextmanager
    async def open_server(
        factory: Callable[[], WSListener] = FrameEcho, parameters: Any = (), **options: Any
    ) -> AsyncIterator[Serving]:
        listeners: List[WSListener] = []

        def route(_: WSUpgradeRequest) -> WSListener:
            listeners.append(factory())
            return listeners[-1]

        compression = None
        if parameters is not None:
            compression = WSPermessageDeflate(**{"min_size": 0, **dict(parameters)})
        async with ws_create_server(
            "ws://127.0.0.1:0", route, compression=compression, **options
        ) as server, tap_server(server.url) as tap:
            yield Serving(browser, tap, listeners)

    return open_server


def packed(messages: List[Message]) -> List[Any]:
    return [
        each if isinstance(each, str) else {"binary": base64.b64encode(each).decode()}
        for each in messages
    ]


def encoded(messages: List[Message]) -> List[bytes]:
    return [each.encode() if isinstance(each, str) else each for each in messages]


def parameters_of(extension: str) -> List[str]:
    return sorted(each.strip() for each in extension.split(";"))


def flags(frames: List[Frame]) -> List[int]:
    """RSV bits of the first frame of each message; the others must have none."""
    assert not any(frame.rsv for frame in frames if frame.opcode == CONTINUATION)
    return [frame.rsv for frame in frames if frame.opcode != CONTINUATION]


ALONE = ["client_no_context_takeover", "server_no_context_takeover"]


@pytest.mark.parametrize(
    ("parameters", "answer", "client_bits", "server_bits", "takeover"),
    [
        ({}, [], 15, 15, True),
        (
            {"server_no_context_takeover": True, "client_no_context_takeover": True},
            ALONE,
            15,
            15,
            False,
        ),
        ({"server_max_window_bits": 9}, ["server_max_window_bits=9"], 15, 9, True),
        (
            {"server_max_window_bits": 10, "client_max_window_bits": 9},
            ["client_max_window_bits=9", "server_max_window_bits=10"],
            9,
            10,
            True,
        ),
    ],
    ids=["default", "alone", "server-window", "windows"],
)
@pytest.mark.parametrize("binary_type", ["arraybuffer", "blob"])
def test_echo(
    run: Run,
    browser: Browser,
    serving_with: Serve,
    parameters: Dict[str, Any],
    answer: List[str],
    client_bits: int,
    server_bits: int,
    takeover: bool,
    binary_type: str,
) -> None:
    if browser.name == "firefox":
        # It offers no window of its own, so that a server may not set one (RFC 7692, 7.1.2.2).
        answer = [each for each in answer if not each.startswith("client_max")]
        client_bits = 15

    async def main() -> None:
        async with serving_with(FrameEcho, parameters) as serving:
            extensions = await serving.run(
                """
                const socket = new Socket(url, [], binaryType)
                await socket.opened
                for (let round = 0; round < 2; round++) {
                  for (const message of messages) await socket.echo(unpack(message))
                }
                const extensions = socket.ws.extensions
                socket.ws.close(1000)
                await socket.end()
                return extensions
                """,
                messages=packed(MESSAGES),
                binaryType=binary_type,
            )
        recording = serving.tap.recording
        offered, accepted = recording.extensions()
        assert offered == OFFERS[browser.name]
        assert parameters_of(accepted) == sorted(["permessage-deflate", *answer])
        # Chromium shows the parameters, Firefox only the name.
        assert parameters_of(extensions) in (parameters_of(accepted), ["permessage-deflate"])
        for frames, bits in (
            (recording.client_frames(), client_bits),
            (recording.server_frames(), server_bits),
        ):
            found = inflate_messages(frames, window_bits=bits, takeover=takeover)
            assert found == encoded(MESSAGES * 2)
            compressed = [
                message for message, flag in zip(found, flags(frames)) if flag and message
            ]
            assert sum(map(len, compressed)) > 0.99 * sum(map(len, found))
            assert sum(len(frame.payload) for frame in frames) < 0.5 * sum(map(len, found))

    run(main)


def test_many_at_once(run: Run, serving_with: Serve) -> None:
    async def main() -> None:
        messages: List[Message] = [QUOTES[: number % 40] for number in range(1000)]
        async with serving_with(MessageEcho) as serving:
            await serving.run(
                """
                const socket = new Socket(url)
                await socket.opened
                for (const message of messages) socket.ws.send(message)
                for (const message of messages) {
                  const found = await socket.receive()
                  if (found !== message) throw new Error(`${show(message)}: ${show(found)}`)
                }
                socket.ws.close(1000)
                await socket.end()
                """,
                messages=messages,
            )
        recording = serving.tap.recording
        assert inflate_messages(recording.client_frames()) == encoded(messages)
        assert inflate_messages(recording.server_frames()) == encoded(messages)
        assert any(flags(recording.client_frames()))
        assert all(flags(recording.server_frames()))

    run(main)


@pytest.mark.parametrize("factory", [FrameEcho, MessageEcho])
def test_large_messages(run: Run, serving_with: Serve, factory: Callable[[], WSListener]) -> None:
    """Frames of a message that a browser sends in several come back as several, or as one."""

    async def main() -> None:
        text = (QUOTES * (LARGE // len(QUOTES) + 1))[:LARGE]
        async with serving_with(factory) as serving:
            await serving.run(
                """
                const socket = new Socket(url)
                await socket.opened
                await socket.echo(quotes.repeat(Math.ceil(size / quotes.length)).slice(0, size))
                // Not compressible: a generator of Lehmer's.
                const noise = new Uint8Array(1000003)
                let state = 1
                for (let index = 0; index < noise.length; index++) {
                  state = state * 48271 % 2147483647
                  noise[index] = state >> 8
                }
                await socket.echo(noise.buffer)
                socket.ws.close(1000)
                await socket.end()
                """,
                quotes=QUOTES,
                size=LARGE,
            )
        recording = serving.tap.recording
        for frames in (recording.client_frames(), recording.server_frames()):
            found, noise = inflate_messages(frames)
            assert found == text.encode()
            assert len(noise) == 1_000_003
            assert frames[0].rsv == 4
        assert inflate_messages(recording.client_frames()) == inflate_messages(
            recording.server_frames()
        )

    run(main)


def test_coroutines(run: Run, browser: Browser) -> None:
    async def handle(connection: WSConnection) -> None:
        async for message in connection:
            await connection.send(message)
        assert connection.close_code == 1005

    async def main() -> None:
        async with serve(
            handle, "ws://127.0.0.1:0", origins=[browser.origin], compression="deflate"
        ) as server, tap_server(server.url) as tap:
            await Serving(browser, tap, []).run(
                """
                const socket = new Socket(url)
                await socket.opened
                for (const message of messages) await socket.echo(unpack(message))
                socket.ws.close()
                await socket.end()
                """,
                messages=packed(MESSAGES),
            )
        assert inflate_messages(tap.recording.server_frames()) == encoded(MESSAGES)
        # What is shorter than min_size is sent as it is.
        assert set(flags(tap.recording.server_frames())) == {0, 4}

    run(main)


def test_fragments(run: Run, serving_with: Serve) -> None:
    """Each byte of a text arrives in a frame of its own."""

    async def main() -> None:
        messages: List[Message] = ["żółw, 漢字, 🐢", QUOTES[:1000], b"\x00\xff" * 50]
        async with serving_with(Splitter) as serving:
            await serving.run(
                """
                const socket = new Socket(url)
                await socket.opened
                for (const message of messages) await socket.echo(unpack(message))
                socket.ws.close(1000)
                await socket.end()
                """,
                messages=packed(messages),
            )
        frames = serving.tap.recording.server_frames()
        assert inflate_messages(frames) == encoded(messages)
        assert flags(frames) == [4, 4, 4]
        assert len(frames) == sum(map(len, encoded(messages))) + 2 * len(messages)

    run(main)


def test_our_ping(run: Run, serving_with: Serve) -> None:
    async def main() -> None:
        async with serving_with() as serving:
            visit = asyncio.ensure_future(
                serving.run("return (await new Socket(url).end()).slice(0, 2)")
            )
            await eventually(lambda: serving.listeners and serving.listeners[0].transport)
            times = await asyncio.wait_for(serving.transport.measure_roundtrip_time(3), 30)
            assert len(times) == 3
            serving.transport.disconnect(code=1001)
            assert await visit == [1001, ""]

    run(main)


@pytest.mark.parametrize("parameters", [(), None], ids=["deflate", "plain"])
@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        ([], WSCloseInfo(1005, "")),
        ([1000], WSCloseInfo(1000, "")),
        ([1000, "done"], WSCloseInfo(1000, "done")),
        ([3000, "żółw"], WSCloseInfo(3000, "żółw")),
        ([4999, "r" * 123], WSCloseInfo(4999, "r" * 123)),
    ],
    ids=lambda value: str(value[0])[:4] if value and isinstance(value, list) else "",
)
def test_they_close(
    run: Run, serving_with: Serve, parameters: Any, arguments: List[Any], received: WSCloseInfo
) -> None:
    async def main() -> None:
        async with serving_with(FrameEcho, parameters) as serving:
            end = await serving.run(
                """
                const socket = new Socket(url)
                await socket.opened
                await socket.echo('before')
                socket.ws.close(...closing)
                return await socket.end()
                """,
                closing=arguments,
            )
            transport = serving.transport
            await asyncio.wait_for(transport.wait_disconnected(), 10)
        assert cause_of(transport).kind is WSDisconnectKind.PEER_CLOSE
        assert closing_of(transport).received == received
        code, _reason, was_clean = end
        assert (code, was_clean) == (received.code, True)

    run(main)


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "gone"), (1008, "żółw"), (4001, "r" * 123)]
)
def test_we_close(run: Run, serving_with: Serve, code: int, reason: str) -> None:
    async def main() -> None:
        async with serving_with(lambda: Closer(code, reason)) as serving:
            assert await serving.run(
                """
                const socket = new Socket(url)
                return [await socket.receive(), await socket.end()]
                """
            ) == ["last words", [code, reason, True]]
            transport = serving.transport
            await asyncio.wait_for(transport.wait_disconnected(), 10)
        assert cause_of(transport).kind is WSDisconnectKind.LOCAL_CLOSE
        assert closing_of(transport).received.code == code

    run(main)


def test_a_bomb(run: Run, serving_with: Serve) -> None:
    async def main() -> None:
        async with serving_with(
            MessageEcho, max_frame_size=100_000, max_message_size=100_000
        ) as serving:
            code, _, _ = await serving.run(
                """
                const socket = new Socket(url)
                await socket.opened
                await socket.echo(new ArrayBuffer(100000))
                socket.ws.send(new ArrayBuffer(10000000))
                return await socket.end()
                """
            )
            assert code == 1009
            transport = serving.transport
            await asyncio.wait_for(transport.wait_disconnected(), 10)
            assert cause_of(transport).kind is WSDisconnectKind.PROTOCOL_ERROR

    run(main)


def test_a_page_that_is_left(run: Run, serving_with: Serve) -> None:
    async def main() -> None:
        async with serving_with() as serving:
            await serving.run(
                """
                const frame = document.body.appendChild(document.createElement('iframe'))
                const ws = new frame.contentWindow.WebSocket(url)
                await new Promise((resolve) => { ws.onopen = resolve })
                frame.remove()
                """
            )
            transport = serving.transport
            await asyncio.wait_for(transport.wait_disconnected(), 30)
            assert cause_of(transport).kind is WSDisconnectKind.PEER_CLOSE
            assert closing_of(transport).received.code == 1001

    run(main)


def test_no_compression(run: Run, browser: Browser, serving_with: Serve) -> None:
    """It is offered, and not accepted."""

    async def main() -> None:
        async with serving_with(FrameEcho, None) as serving:
            extensions = await serving.run(
                """
                const socket = new Socket(url)
                await socket.opened
                for (const message of messages) await socket.echo(unpack(message))
                socket.ws.close(1000)
                await socket.end()
                return socket.ws.extensions
                """,
                messages=packed(MESSAGES),
            )
        assert extensions == ""
        recording = serving.tap.recording
        assert recording.extensions() == (OFFERS[browser.name], "")
        for frames in (recording.client_frames(), recording.server_frames()):
            assert not any(flags(frames))
            assert inflate_messages(frames) == encoded(MESSAGES)

    run(main)


def test_origins_and_subprotocols(run: Run, browser: Browser, serving_with: Serve) -> None:
    async def main() -> None:
        async with serving_with(
            FrameEcho, origins=[browser.origin], subprotocols=["interop.v1"]
        ) as serving:
            protocol = await serving.run(
                """
                const socket = new Socket(url, ['interop.v2', 'interop.v1'])
                await socket.opened
                socket.ws.close(1000)
                await socket.end()
                return socket.ws.protocol
                """
            )
            assert protocol == "interop.v1"
            assert serving.transport.request.headers["Origin"] == browser.origin
        async with serving_with(FrameEcho, origins=["https://example.org"]) as serving:
            end = await serving.run("return await new Socket(url).end()")
            assert end == [1006, "", False]
            assert not serving.listeners

    run(main)
