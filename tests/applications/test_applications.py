"""The same contract for each framework, spoken to by websockets and by our client.

Run by ``tox -e asgi``, which installs the frameworks; skipped where one is missing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, List

import pytest

from picows_client import connect
from tests.applications.speakers import Speaker, run, speakers

# uvicorn with our protocol, and our own front end.
FRONTS = ["uvicorn", "own"]
FRAMEWORKS = ["starlette", "fastapi", "litestar", "quart", "channels"]

fronts = pytest.mark.parametrize("front", FRONTS)
frameworks = pytest.mark.parametrize("framework", FRAMEWORKS)


@fronts
@frameworks
@speakers
def test_echo(start: Any, front: str, framework: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        async with speaker.connect(f"ws://{address}/echo") as ws:
            for message in ("höhe", b"\x00\xff", "x" * 1000000, bytes(1000000)):
                await ws.send(message)
                assert await ws.recv() == message

    run(test, start(framework, front=front).address)


@pytest.mark.parametrize(
    "options",
    [
        ["--workers", "2"],
        ["--reload", "--reload-dir", str(Path(__file__).parent / "apps")],
        ["--loop", "asyncio", "--http", "h11"],
        ["--root-path", "/here"],
        ["--no-server-header", "--log-level", "trace"],
    ],
    ids=lambda options: options[0],
)
def test_options_of_uvicorn(start: Any, options: List[str]) -> None:
    async def test(address: str) -> None:
        async with connect(f"ws://{address}/echo") as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run(test, start("starlette", *options).address)


@fronts
@frameworks
@speakers
def test_many_messages_at_once(start: Any, front: str, framework: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        async with speaker.connect(f"ws://{address}/echo") as ws:
            wanted = [f"{number}" for number in range(1000)]

            async def send_all() -> None:
                for text in wanted:
                    await ws.send(text)

            sending = asyncio.get_running_loop().create_task(send_all())
            assert [await ws.recv() for _ in wanted] == wanted
            await sending

    run(test, start(framework, front=front).address)


@fronts
@frameworks
@speakers
def test_refusal(start: Any, front: str, framework: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        status, _ = await speaker.refusal(f"ws://{address}/refuse")
        assert status == 403

    application = start(framework, front=front)
    run(test, application.address)
    application.wait_for_log('"WebSocket /refuse" 403')


@fronts
@frameworks
@speakers
def test_subprotocol(start: Any, front: str, framework: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        url = f"ws://{address}/subprotocol"
        async with speaker.connect(url, subprotocols=["one", "two"]) as ws:
            assert ws.subprotocol == "two"

    run(test, start(framework, front=front).address)


@fronts
@frameworks
@speakers
def test_closed_by_the_client(start: Any, front: str, framework: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        async with connect(f"ws://{address}/forget") as ws:
            await ws.recv()
        async with speaker.connect(f"ws://{address}/echo") as ws:
            await ws.close(3007, "bye")
        code = "0"
        while code == "0":
            async with connect(f"ws://{address}/last") as ws:
                code = await ws.recv()
        assert code == ("1" if framework == "quart" else "3007")

    run(test, start(framework, front=front).address)


@fronts
@frameworks
@speakers
def test_closed_by_the_server(start: Any, front: str, framework: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        async with speaker.connect(f"ws://{address}/close") as ws:
            await ws.send("go")
            code, reason = await speaker.end(ws)
        assert code == 4001
        assert reason == "enough" or framework == "quart"  # whose older releases send none

    run(test, start(framework, front=front).address)


@fronts
@frameworks
@speakers
def test_an_exception(start: Any, front: str, framework: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        async with speaker.connect(f"ws://{address}/fail") as ws:
            await ws.send("go")
            code, _ = await speaker.end(ws)
        # Litestar and Quart close by themselves. For the others the connection just ends.
        assert code == {"litestar": 4500, "quart": 1000}.get(framework, 1006)

    application = start(framework, front=front)
    run(test, application.address)
    if framework != "litestar":  # which logs only in debug mode
        application.wait_for_log("ValueError: broken")


@fronts
@frameworks
@speakers
def test_backpressure(start: Any, front: str, framework: str, speaker: Speaker) -> None:
    """A server that must wait: 12 MB for a client that takes them late."""

    async def test(address: str) -> None:
        async with speaker.connect(f"ws://{address}/flood", max_queue=2) as ws:
            await ws.send("go")
            await asyncio.sleep(0.1)
            pieces = [message async for message in ws]
            assert pieces == [f"{number:06}" * 10000 for number in range(200)]

    run(test, start(framework, front=front).address)


@fronts
@speakers
def test_fastapi_dependencies_and_denials(start: Any, front: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        async with speaker.connect(f"ws://{address}/echo?name=ann") as ws:
            assert ws.response.headers["x-user"] == "ann"
        status, _ = await speaker.refusal(f"ws://{address}/echo?name=intruder")
        assert status == 403
        assert await speaker.refusal(f"ws://{address}/deny") == (404, b"no such room")

    run(test, start("fastapi", front=front).address)


@fronts
@speakers
def test_fastapi_json(start: Any, front: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        async with speaker.connect(f"ws://{address}/json") as ws:
            for number, total in ((1, 1), (2, 3), (3, 6)):
                await ws.send(f'{{"number": {number}}}')
                assert await ws.recv() == f'{{"total":{total}}}'

    run(test, start("fastapi", front=front).address)


@fronts
@speakers
def test_channels_groups(start: Any, front: str, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        url = f"ws://{address}/group"
        async with speaker.connect(url) as first, speaker.connect(url) as second:
            await first.send("hello")
            assert await first.recv() == "hello"
            assert await second.recv() == "hello"

    run(test, start("channels", front=front).address)
