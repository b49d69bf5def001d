"""The connection to an engine that is kept. Real engines are in ``test_engines.py``."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Callable, List

import pytest

from picows_server.backplane import BackplaneError
from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.reconnecting import KeptConnection
from tests.support.receivers import until


class Link:
    """A connection that is lost when the test says so."""

    def __init__(self) -> None:
        self.cause: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.is_closed = False

    async def lost(self) -> str:
        return await asyncio.shield(self.cause)

    async def close(self) -> None:
        self.is_closed = True


def kept(dial: Callable[[], Any], opened: List[Link]) -> KeptConnection:
    return KeptConnection(dial, opened.append, lambda cause: None, EngineCounts())


def test_another_attempt_follows_whatever_the_last_one_raised(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        outcomes: List[Any] = [Link(), BackplaneError("away"), TypeError("as asked for"), Link()]

        async def dial() -> Link:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            link: Link = outcome
            return link

        opened: List[Link] = []
        connection = kept(dial, opened)
        await connection.start()
        opened[0].cause.set_result("gone")
        await until(lambda: len(opened) == 2)
        await connection.stop()
        assert [link.is_closed for link in opened] == [True, True]

    run(main)
    assert "as asked for" in caplog.text
    assert "away" not in caplog.text


def test_stopped_while_a_dial_swallows_it(run: Any) -> None:
    """As ``asyncio.wait_for`` does before Python 3.12 if it is done in the same iteration."""

    async def main() -> None:
        links: List[Link] = []

        async def dial() -> Link:
            if links:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(1000)
            links.append(Link())
            return links[-1]

        opened: List[Link] = []
        connection = kept(dial, opened)
        await connection.start()
        links[0].cause.set_result("gone")
        await until(lambda: links[0].is_closed)
        await asyncio.sleep(0)
        await connection.stop()
        assert all(link.is_closed for link in links)

    run(main)


def test_stop_that_is_cancelled(run: Any) -> None:
    """All is closed nevertheless."""

    async def main() -> None:
        links: List[Link] = []

        class Stubborn(Link):
            async def lost(self) -> str:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(1000)
                return await super().lost()

        async def dial() -> Link:
            links.append(Stubborn())
            return links[-1]

        connection = kept(dial, [])
        await connection.start()
        await asyncio.sleep(0)
        stopping = asyncio.ensure_future(connection.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert [link.is_closed for link in links] == [True]

    run(main)
