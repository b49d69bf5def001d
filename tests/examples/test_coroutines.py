"""What the guide and the migration page show of coroutines runs, and does what they say."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path
from typing import Any, Dict, List

import pytest

from picows_client import WSInvalidStatusError, connect
from picows_server import serve
from tests.conftest import Run
from tests.examples.conftest import ROOT

ANY_PORT = "ws://127.0.0.1:0"


def programs(document: str) -> List[Dict[str, Any]]:
    """What each program of a page defines."""
    text = (ROOT / "docs" / document).read_text("utf-8")
    found = []
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        names: Dict[str, Any] = {"__name__": document}
        exec(compile(block, document, "exec"), names)
        found.append(names)
    return found


def the_one_with(name: str, names: List[Dict[str, Any]], which: int = 0) -> Any:
    return [each for each in names if name in each][which][name]


GUIDE = programs("guide/coroutines.md")
OF_WEBSOCKETS = programs("coming-from/websockets.md")
OF_AIOHTTP = programs("coming-from/aiohttp.md")
echo = the_one_with("echo", GUIDE)


async def feed(ws: Any) -> None:
    """Sends two quotes, and closes as the path says."""
    await ws.send_many(['{"symbol": "A", "price": 1}', '{"symbol": "B", "price": 2}'])
    await ws.close(int(ws.request.path[1:] or 1000), "why")


async def answer(ws: Any) -> None:
    """The same for a client that sends something first."""
    await ws.recv()
    await feed(ws)


def test_programs_are_found() -> None:
    assert len(GUIDE) == 7
    assert len(OF_WEBSOCKETS) == 3
    assert len(OF_AIOHTTP) == 1


@pytest.mark.parametrize("which", [0, 1])
def test_follow(run: Run, capsys: pytest.CaptureFixture[str], which: int) -> None:
    follow = the_one_with("follow", GUIDE, which)

    async def main() -> None:
        async with serve(feed if which else answer, ANY_PORT) as server:
            await follow(server.url)
            if which:
                await follow(f"{server.url}/1012")
                await follow(f"{server.url}/4000")

    run(main)
    quotes = ['{"symbol": "A", "price": 1}', '{"symbol": "B", "price": 2}']
    ends: List[List[str]] = [[]]
    if which:
        ends = [["the server is done"], ["the server restarts: why"]]
        ends.append(["the peer closed: 4000 (why)"])
    assert capsys.readouterr().out.splitlines() == [line for end in ends for line in quotes + end]


def test_receiving(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with serve(feed, ANY_PORT) as server:
            async with connect(server.url) as ws:
                await the_one_with("keep_latest", GUIDE)(ws)
            async with connect(server.url) as ws:
                with pytest.raises(ConnectionError):
                    await the_one_with("next_message", GUIDE)(ws)

    run(main)
    *lines, end, first, second = capsys.readouterr().out.splitlines()
    assert lines[-1] == "{'A': 1, 'B': 2}"
    assert end == "the peer closed: 1000 (why)"
    assert (first, second) == ('{"symbol": "A", "price": 1}', '{"symbol": "B", "price": 2}')


def test_fragments(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n", "utf-8")

    async def main() -> List[Any]:
        async with serve(echo, ANY_PORT) as server, connect(server.url) as ws:
            await the_one_with("upload", GUIDE)(ws, str(path))
            return [await ws.recv(), await ws.recv()]

    assert run(main) == ["one\ntwo\n", b"headerbody"]


def test_chat(run: Run) -> None:
    names = next(each for each in GUIDE if "chat" in each)

    async def main() -> None:
        async with serve(names["chat"], ANY_PORT, process_request=names["check"]) as server:
            with pytest.raises(WSInvalidStatusError):
                await connect(server.url)
            async with connect(f"{server.url}/chat") as one, connect(f"{server.url}/chat") as other:
                await one.send("me")
                await other.send("me, too")
                assert await one.recv() == "me"
                while await one.recv() != "me, too":
                    pass

    run(main)
    assert names["room"] == set()


def test_reconnecting(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    names = next(each for each in OF_WEBSOCKETS if "consume_forever" in each)

    async def main() -> None:
        seen = 0

        async def handler(ws: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == 3:
                task.cancel()
            await feed(ws)

        async with serve(handler, ANY_PORT) as server:
            task = asyncio.ensure_future(names["consume_forever"](f"{server.url}/1012"))
            with pytest.raises(asyncio.CancelledError):
                await task
        # Refused: it does not try again.
        async with serve(feed, f"{ANY_PORT}/other", subprotocols=["a"]) as server:
            with pytest.raises(WSInvalidStatusError):
                await names["consume_forever"](server.url)

    run(main)
    assert capsys.readouterr().out.count('{"symbol": "A", "price": 1}') >= 2


def test_logging_in(run: Run) -> None:
    names = next(each for each in OF_WEBSOCKETS if "require_user" in each)

    def basic(text: str) -> Dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    async def main() -> None:
        check = names["require_user"]
        async with serve(names["handler"], ANY_PORT, process_request=check) as server:
            async with connect(server.url, extra_headers=basic("ada:secret")) as ws:
                assert await ws.recv() == "hello ada"
            for headers in ({}, basic("ada:wrong"), basic("eve:"), {"Authorization": "Basic ="}):
                with pytest.raises(WSInvalidStatusError) as caught:
                    await connect(server.url, extra_headers=headers)
                assert caught.value.status == 401
                assert caught.value.response is not None
                assert caught.value.response.headers["WWW-Authenticate"] == 'Basic realm="chat"'

    run(main)


def test_first_programs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with serve(answer, ANY_PORT) as server:
            await the_one_with("subscribe", OF_AIOHTTP)(server.url)
            await the_one_with("subscribe", OF_AIOHTTP)(f"{server.url}/4000")
        async with serve(answer, ANY_PORT, subprotocols=["v2"], compression="deflate") as server:
            await the_one_with("hello", OF_WEBSOCKETS)(server.url)
        for handler in (the_one_with("handler", OF_AIOHTTP), the_one_with("echo", OF_WEBSOCKETS)):
            async with serve(handler, ANY_PORT) as server, connect(server.url) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"

    run(main)
    lines = capsys.readouterr().out.splitlines()
    assert lines[4] == "the peer closed: 4000 (why)"
    assert len(lines) == 7
