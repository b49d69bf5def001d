"""Topics over a backplane: what goes to an engine in memory, what comes, and what is lost."""

from __future__ import annotations

import asyncio
from typing import Any, List

import pytest

from picows_codec import WSStateError, WSTransport
from picows_server.backplane.interface import (
    BackplaneError,
    BackplaneFull,
    BackplaneStats,
    HistoryRule,
    Publication,
)
from picows_server.topics import Topics, relay
from tests.support.backplanes import FakeBackplane, FakeEngine
from tests.support.connection import Connection
from tests.support.frames import BINARY, TEXT
from tests.support.leaks import eventually
from tests.support.relayed_topics import Gateways, numbered, texts, with_gateways


def test_everybody_gets_it_through_the_engine() -> None:
    async def test(gateways: Gateways) -> None:
        gateways.subscribe("a")
        assert gateways.topics.publish("a", "1") == 0
        assert gateways.others.publish("a", b"2", BINARY, key="k") == 0
        assert [texts(link) for link in gateways.links] == [[], []]
        assert gateways.received() == [["1", "2"]] * 4
        assert gateways.topics.stats().rules[""].delivered == 4
        assert gateways.topics.stats().received == 2
        assert gateways.topics.stats().backplane == BackplaneStats(subscriptions=1)
        assert await gateways.topics.count_everywhere("a") == 4
        assert await gateways.topics.count_everywhere("b") == 0

    with_gateways(test)


def test_the_one_who_is_excluded() -> None:
    async def test(gateways: Gateways) -> None:
        gateways.subscribe("a")
        gateways.topics.publish("a", "1", exclude=gateways.links[0].ws)
        gateways.topics.publish("nobody", "1", exclude=gateways.links[0].ws)
        assert gateways.received() == [[], ["1"], ["1"], ["1"]]

    with_gateways(test)


def test_local_echo() -> None:
    async def test(gateways: Gateways) -> None:
        gateways.topics.configure("kept", retain=True)
        gateways.subscribe("a")
        gateways.subscribe("kept")
        assert gateways.topics.publish("a", "1", exclude=gateways.links[0].ws) == 1
        assert gateways.topics.publish("kept", "2") == 2
        assert [texts(link) for link in gateways.links] == [["2"], ["1", "2"]]
        assert gateways.received() == [[], [], ["1", "2"], ["1", "2"]]
        assert gateways.topics.stats().retained == 1
        gateways.subscribe("h")
        assert gateways.topics.publish("h", "3") == 0  # the engine gives it its position
        assert gateways.received() == [["1:3"]] * 4
        assert gateways.topics.publish("nobody", "4") == 0

    with_gateways(test, local_echo=True)


def test_local_echo_of_more_than_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are on their way, nobody gets any of them twice."""
    monkeypatch.setattr(relay, "_MOST_ON_THEIR_WAY", 2)

    async def test(gateways: Gateways) -> None:
        gateways.subscribe("a")
        for number in range(5):
            gateways.topics.publish("a", str(number))
        texts_of_all = [str(number) for number in range(5)]
        assert [texts(link) for link in gateways.links] == [texts_of_all] * 2
        assert gateways.received() == [[], [], texts_of_all, texts_of_all]

    with_gateways(test, local_echo=True)


def test_what_the_engine_does_not_take() -> None:
    async def test(gateways: Gateways) -> None:
        gateways.subscribe("a")
        gateways.backplane.room = 0
        for exclude in (None, gateways.links[0].ws):
            with pytest.raises(BackplaneFull):
                gateways.topics.publish("a", "1", exclude=exclude)
        assert gateways.received() == [[]] * 4

    with_gateways(test, local_echo=True)


def test_first_one_in_last_one_out() -> None:
    async def test(gateways: Gateways) -> None:
        topics, calls = gateways.topics, gateways.backplane.calls
        first, second = (link.ws for link in gateways.links)
        topics.subscribe(first, "a")
        topics.subscribe(second, "a")
        topics.unsubscribe(first, "a")
        topics.unsubscribe(second, "a")
        topics.subscribe(second, "a")  # within the grace
        assert calls == [("subscribe", "a", None)]
        await asyncio.sleep(0.06)
        assert calls == [("subscribe", "a", None)]
        topics.subscribe(first, "h")
        gateways.links[1].lose()
        gateways.links[1].loop.run_ready()
        topics.unsubscribe(first, "h")
        await eventually(lambda: len(calls) == 4)
        assert calls[1:] == [
            ("subscribe", "h", HistoryRule(3)),
            ("unsubscribe", "a"),
            ("unsubscribe", "h"),
        ]
        assert topics.stats().topics == 0

    with_gateways(test, unsubscribe_grace=0.02)


def test_a_topic_that_makes_room() -> None:
    async def test(gateways: Gateways) -> None:
        ws = gateways.links[0].ws
        for topic in ("a", "b"):
            gateways.topics.subscribe(ws, topic)
            gateways.topics.unsubscribe(ws, topic)
        assert gateways.backplane.calls[-2:] == [
            ("unsubscribe", "a"),
            ("subscribe", "b", None),
        ] or (gateways.backplane.calls[-2:] == [("subscribe", "b", None), ("unsubscribe", "a")])

    with_gateways(test, max_topics=1)


def test_what_comes_for_nobody() -> None:
    async def test(gateways: Gateways) -> None:
        gateways.topics._relay.received(Publication("a", b"x", TEXT))  # type: ignore[union-attr]
        assert gateways.topics.stats().invalid == 0

    with_gateways(test)


def test_what_cannot_be_delivered(caplog: pytest.LogCaptureFixture) -> None:
    async def test(gateways: Gateways) -> None:
        gateways.subscribe("a")
        relay: Any = gateways.topics._relay
        relay.received(Publication("a", b"\xff", TEXT))
        assert gateways.topics.stats().invalid == 1
        gateways.topics.publish("a", "fine")
        assert gateways.received() == [["fine"]] * 4

    with_gateways(test)
    assert "topic 'a': a message of the backplane cannot be delivered" in caplog.text


def test_retained_messages_of_this_process() -> None:
    async def test(gateways: Gateways) -> None:
        topics = gateways.topics
        topics.configure("kept", retain=True)
        topics.publish("kept", "nobody is subscribed")
        gateways.engine.run()
        topics.subscribe(gateways.links[0].ws, "kept")
        topics.publish("kept", "1")
        gateways.engine.run()
        topics.subscribe(gateways.links[1].ws, "kept")
        assert [texts(link) for link in gateways.links] == [["1"], ["1"]]

    with_gateways(test)


# History


def test_gaps(caplog: pytest.LogCaptureFixture) -> None:
    async def test(gateways: Gateways) -> None:
        relay: Any = gateways.topics._relay
        gateways.topics.configure("kept", retain=True)
        for topic in ("a", "h", "kept"):
            gateways.subscribe(topic)
        gateways.topics.publish("kept", "old")
        gateways.engine.run()
        relay.gap(None, "as asked for")
        relay.gap(["h", "unknown"], "as asked for")
        relay.gap(["unknown"], "as asked for")
        assert gateways.gaps == [["a", "kept"], ["h"]]
        stats = gateways.topics.stats()
        assert (stats.gaps, stats.retained) == (3, 0)

    with_gateways(test)
    assert "messages of 2 topics, 'a' among them, may be lost: as asked for" in caplog.text
    assert "messages of 'h' may be lost: as asked for" in caplog.text


def test_a_function_for_gaps_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def fail(topics: List[str]) -> None:
            raise ValueError("as asked for")

        backplane = FakeBackplane(FakeEngine())
        async with Topics(backplane, on_gap=fail) as topics:
            topics.subscribe(Connection("server").ws, "a")
            backplane.receiver.gap(None, "test")
        async with Topics(FakeBackplane(FakeEngine())) as topics:
            topics.subscribe(Connection("server").ws, "a")
            topics._relay.gap(None, "nobody is told")  # type: ignore[union-attr]

    asyncio.run(main())
    assert "on_gap raised an exception" in caplog.text


def test_the_connection_to_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    async def test(gateways: Gateways) -> None:
        assert gateways.topics.is_connected
        gateways.backplane.receiver.connected(False, "as asked for")
        gateways.backplane.receiver.connected(True, "again")
        gateways.backplane.is_connected = False
        assert not gateways.topics.is_connected
        gateways.backplane.is_connected = True

    caplog.set_level("INFO")
    with_gateways(test)
    assert "the backplane is not connected: as asked for" in caplog.text
    assert "the backplane is connected: again" in caplog.text
    assert Topics().is_connected


# Beginning and end


def test_before_and_after() -> None:
    async def main() -> None:
        topics = Topics(FakeBackplane(FakeEngine()))
        ws: WSTransport = Connection("server").ws
        with pytest.raises(WSStateError, match="start the topics first"):
            topics.subscribe(ws, "a")
        with pytest.raises(WSStateError, match="start the topics first"):
            topics.publish("a", "x")
        with pytest.raises(WSStateError, match="start the topics first"):
            await topics.count_everywhere("a")
        async with topics:
            with pytest.raises(WSStateError, match="started already"):
                await topics.start()
            topics.subscribe(ws, "a")
        other: WSTransport = Connection("server").ws
        for call in (
            lambda: topics.subscribe(other, "a"),  # for which nothing comes any more
            lambda: topics.subscribe(ws, "b"),
            lambda: topics.publish("a", "x"),
        ):
            with pytest.raises(WSStateError, match="are closed"):
                call()
        assert topics.unsubscribe(ws, "a")

    asyncio.run(main())


def test_while_it_starts() -> None:
    async def main() -> None:
        topics = Topics(FakeBackplane(FakeEngine()))
        ws: WSTransport = Connection("server").ws
        start = asyncio.ensure_future(topics.start())
        relay: Any = topics._relay
        relay.backplane.meanwhile = None

        async def slow(receiver: Any) -> None:
            await asyncio.sleep(0)
            for call in (lambda: topics.subscribe(ws, "a"), lambda: topics.publish("a", "x")):
                with pytest.raises(WSStateError, match="start the topics first"):
                    call()
            with pytest.raises(WSStateError, match="started already"):
                await topics.start()

        relay.backplane.start = slow
        await start
        await topics.close()
        with pytest.raises(WSStateError, match="are closed; make new ones"):
            await topics.start()

    asyncio.run(main())


def test_an_engine_that_cannot_be_reached() -> None:
    async def main() -> None:
        backplane = FakeBackplane(FakeEngine())
        backplane.fails = True
        topics = Topics(backplane)
        with pytest.raises(BackplaneError):
            await topics.start()
        backplane.fails = False
        await topics.start()
        await topics.close()
        assert backplane.is_closed

    asyncio.run(main())


def test_a_rule_that_changes() -> None:
    async def test(gateways: Gateways) -> None:
        gateways.subscribe("a")
        gateways.topics.configure("a", history=3, envelope=numbered)
        gateways.topics.configure("a", history=3, retain=True, envelope=numbered)
        assert gateways.backplane.calls == [
            ("subscribe", "a", None),
            ("unsubscribe", "a"),
            ("subscribe", "a", HistoryRule(3)),
        ]
        # Between the two the engine may have had messages for nobody.
        await eventually(lambda: gateways.gaps == [["a"]])
        gateways.topics.publish("a", "x")
        assert gateways.received() == [["1:x"], ["1:x"], ["x"], ["x"]]

    with_gateways(test)


def test_a_rule_that_changes_after_the_end() -> None:
    """Nobody waits for an engine that is not there any more."""

    async def main() -> None:
        backplane = FakeBackplane(FakeEngine())
        async with Topics(backplane) as topics:
            topics.subscribe(Connection("server").ws, "a")
        before = list(backplane.calls)
        topics.configure("a", history=3)
        assert backplane.calls == before
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_who_publishes_without_the_history_of_others(caplog: pytest.LogCaptureFixture) -> None:
    async def test(gateways: Gateways) -> None:
        gateways.others.configure("h")
        gateways.topics.configure("h", history=3)
        assert gateways.topics.subscribe(gateways.links[0].ws, "h.1")
        for _ in range(2):
            gateways.others.publish("h.1", "x")
        assert gateways.received()[0] == ["x", "x"]

    with_gateways(test)
    (message,) = (record.message for record in caplog.records if "position" in record.message)
    assert message == (
        "topic 'h.1': a message came without a position, because the process that published it has"
        " no history in its rule; it is delivered, and clients that come back do not get it: call"
        " configure('h', history=...) in all processes that publish"
    )
