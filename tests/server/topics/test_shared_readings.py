"""Connections that come back at once share the reading of a history."""

from __future__ import annotations

import asyncio
from typing import Any, List

import pytest

from picows_server.backplane.interface import (
    BackplaneError,
    Position,
)
from picows_server.topics import recovery
from tests.support.connection import Connection
from tests.support.relayed_topics import Gateways, texts, with_gateways


def readings(gateways: Gateways) -> int:
    return sum(call[0] == "history" for call in gateways.backplane.calls)


def test_many_that_come_back_at_once() -> None:
    """The engine is asked once for each position, however many have it; all get the same."""

    async def test(gateways: Gateways) -> None:
        engine, topics = gateways.engine, gateways.topics
        for text in ("1", "2"):
            gateways.others.publish("h", text)
        engine.run()
        links = [Connection("server") for _ in range(20)]
        late = Connection("server")
        waiting = []

        def meanwhile() -> None:
            gateways.others.publish("h", "3")
            engine.run()
            if not waiting:
                waiting.append(asyncio.ensure_future(topics.subscribe_from(late.ws, "h", first)))

        gateways.backplane.meanwhile = meanwhile
        first, second = Position(0, engine.epoch), Position(1, engine.epoch)
        found = await asyncio.gather(
            *(
                topics.subscribe_from(link.ws, "h", second if number % 2 else first)
                for number, link in enumerate(links)
            )
        )
        assert readings(gateways) == 2
        assert (await waiting[0]).recovered
        assert found == [(Position(4, engine.epoch), True)] * 20
        gateways.others.publish("h", "4")
        engine.run()
        received = [texts(link) for link in (*links, late)]
        assert received[0] == ["1:1", "2:2", "3:3", "4:3", "5:4"]
        assert received[1] == received[0][1:]
        assert received == [received[0], received[1]] * 10 + [received[0]]

    with_gateways(test)


def test_others_have_their_turn_while_many_come_back_at_once() -> None:
    async def test(gateways: Gateways) -> None:
        links = [Connection("server") for _ in range(1000)]
        subscribing = [gateways.topics.subscribe_from(link.ws, "h") for link in links]
        tasks = [asyncio.ensure_future(each) for each in subscribing]
        turns = 0
        while not all(task.done() for task in tasks):
            turns += any(task.done() for task in tasks)
            await asyncio.sleep(0)
        assert turns >= 10
        assert readings(gateways) == 1

    with_gateways(test)


@pytest.mark.parametrize("are_all", [False, True])
def test_cancelled_while_others_wait_for_the_same(are_all: bool) -> None:
    async def test(gateways: Gateways) -> None:
        gateways.others.publish("h", "1")
        gateways.engine.run()
        position = Position(0, gateways.engine.epoch)
        waiting = [
            asyncio.ensure_future(gateways.topics.subscribe_from(link.ws, "h", position))
            for link in gateways.links
        ]
        tasks = len(asyncio.all_tasks())
        await asyncio.sleep(0)
        for task in waiting if are_all else waiting[:1]:
            task.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert isinstance(results[1], asyncio.CancelledError) == are_all
        assert len(asyncio.all_tasks()) == tasks - 2
        expected = [] if are_all else ["h"]
        assert [gateways.topics.of(link.ws) for link in gateways.links] == [[], expected]
        await gateways.topics.subscribe_from(gateways.links[0].ws, "h", position)
        assert texts(gateways.links[0]) == ["1:1"]

    with_gateways(test)


def test_an_engine_that_fails_while_many_wait() -> None:
    async def test(gateways: Gateways) -> None:
        gateways.backplane.fails = True
        results = await asyncio.gather(
            *(gateways.topics.subscribe_from(link.ws, "h") for link in gateways.links),
            return_exceptions=True,
        )
        assert [str(result) for result in results] == ["as asked for"] * 2
        assert readings(gateways) == 1
        gateways.backplane.fails = False
        await gateways.topics.subscribe_from(gateways.links[0].ws, "h")
        assert gateways.topics.of(gateways.links[0].ws) == ["h"]

    with_gateways(test)


def test_an_engine_that_fails_tells_each_where() -> None:
    """And nobody where others have waited, which would be thousands of lines."""

    async def test(gateways: Gateways) -> None:
        async def functions(link: Connection) -> List[str]:
            with pytest.raises(BackplaneError) as failed:
                await gateways.topics.subscribe_from(link.ws, "h")
            return [entry.name for entry in failed.traceback]

        gateways.backplane.fails = True
        links = [Connection("server") for _ in range(5)]
        found = await asyncio.gather(*(functions(link) for link in links))
        assert found[0].count("functions") == found[0].count("history") == 1
        assert found == [found[0]] * 5

    with_gateways(test)


def test_a_reading_is_not_shared_after_a_gap() -> None:
    """Who comes behind the gap misses nothing."""

    async def test(gateways: Gateways) -> None:
        engine, (first, second) = gateways.engine, gateways.links
        gateways.others.publish("h", "1")
        engine.run()
        position = Position(0, engine.epoch)
        waiting = []

        def meanwhile() -> None:
            gateways.backplane.meanwhile = lambda: None
            gateways.backplane.receiver.gap(["h"], "as asked for")
            waiting.append(
                asyncio.ensure_future(gateways.topics.subscribe_from(second.ws, "h", position))
            )

        gateways.backplane.meanwhile = meanwhile
        assert not (await gateways.topics.subscribe_from(first.ws, "h", position)).recovered
        assert (await waiting[0]).recovered
        assert readings(gateways) == 2
        assert texts(first) == texts(second) == ["1:1"]

    with_gateways(test)


@pytest.mark.parametrize("is_overfull", [False, True])
def test_asking_again_after_a_reading_that_failed(
    monkeypatch: pytest.MonkeyPatch, is_overfull: bool
) -> None:
    """Nobody gets the same failure again, although others have not heard of it yet."""
    monkeypatch.setattr(recovery, "_ARRIVED_BYTES", 6)

    async def test(gateways: Gateways) -> None:
        gateways.backplane.fails = not is_overfull

        def meanwhile() -> None:
            gateways.backplane.meanwhile = lambda: None
            for _ in range(3):
                gateways.others.publish("h", "1")
            gateways.engine.run()

        async def subscribe(link: Connection) -> None:
            with pytest.raises(BackplaneError):
                await gateways.topics.subscribe_from(link.ws, "h")
            gateways.backplane.fails = False
            await gateways.topics.subscribe_from(link.ws, "h")

        if is_overfull:
            gateways.backplane.meanwhile = meanwhile
        await asyncio.gather(*(subscribe(link) for link in gateways.links))
        assert readings(gateways) == 2

    with_gateways(test)


def test_a_reading_is_not_shared_after_more_has_arrived_than_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_ARRIVED_BYTES", 6)

    async def test(gateways: Gateways) -> None:
        first, second = gateways.links
        waiting = []

        def meanwhile() -> None:
            gateways.backplane.meanwhile = lambda: None
            for _ in range(3):
                gateways.others.publish("h", "1")
            gateways.engine.run()
            waiting.append(asyncio.ensure_future(gateways.topics.subscribe_from(second.ws, "h")))

        gateways.backplane.meanwhile = meanwhile
        with pytest.raises(BackplaneError, match="again later"):
            await gateways.topics.subscribe_from(first.ws, "h")
        await waiting[0]
        assert gateways.topics.of(second.ws) == ["h"]

    with_gateways(test)


def test_a_reading_does_not_last_while_others_come() -> None:
    """However fast they do, they do not get what the engine had long ago."""

    async def test(gateways: Gateways) -> None:
        waiting = []
        for _ in range(20):
            subscribing = gateways.topics.subscribe_from(Connection("server").ws, "h")
            waiting.append(asyncio.ensure_future(subscribing))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert readings(gateways) > 1

    with_gateways(test)


@pytest.mark.parametrize("last", [1, 2, 5])
def test_no_more_of_the_last_messages_than_were_asked_for(last: int) -> None:
    """Although more have arrived while others had waited for the same already."""

    async def test(gateways: Gateways) -> None:
        engine, topics, (first, second) = gateways.engine, gateways.topics, gateways.links
        reading, arriving = asyncio.Event(), asyncio.Event()
        history = gateways.backplane.history

        async def slowly(*question: Any) -> Any:
            found = await history(*question)
            reading.set()
            await arriving.wait()
            return found

        gateways.backplane.history = slowly  # type: ignore[method-assign]
        gateways.others.publish("h", "1")
        engine.run()
        waiting = [asyncio.ensure_future(topics.subscribe_from(first.ws, "h", last=last))]
        await reading.wait()
        for text in ("2", "3", "4"):
            gateways.others.publish("h", text)
        engine.run()
        waiting.append(asyncio.ensure_future(topics.subscribe_from(second.ws, "h", last=last)))
        await asyncio.sleep(0)
        gateways.others.publish("h", "5")
        engine.run()
        arriving.set()
        assert await asyncio.gather(*waiting) == [(Position(5, engine.epoch), False)] * 2
        expected = ["1:1", "2:2", "3:3", "4:4", "5:5"]
        assert texts(first) == expected
        assert texts(second) == expected[-1 - min(last, 3) :]
        assert readings(gateways) == 1

    with_gateways(test)


def test_nothing_comes_from_before_a_subscription() -> None:
    """Unless it says since when, although it waits for what another one has asked for."""

    async def test(gateways: Gateways) -> None:
        first, second = gateways.links
        waiting = []

        def meanwhile() -> None:
            gateways.others.publish("h", "1")
            gateways.engine.run()
            waiting.append(asyncio.ensure_future(gateways.topics.subscribe_from(second.ws, "h")))

        gateways.backplane.meanwhile = meanwhile
        found = await gateways.topics.subscribe_from(first.ws, "h")
        assert await waiting[0] == found
        assert readings(gateways) == 1
        gateways.others.publish("h", "2")
        assert gateways.received()[:2] == [["1:1", "2:2"], ["2:2"]]

    with_gateways(test)
