"""What connections that come back get from the history of an engine in memory."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from picows_codec import WSInvalidOptionError
from picows_server.backplane.interface import (
    BackplaneError,
    Position,
)
from picows_server.topics import Topics, WSTopicError, recovery
from tests.support.backplanes import FakeBackplane, FakeEngine
from tests.support.connection import Connection
from tests.support.leaks import eventually
from tests.support.relayed_topics import Gateways, texts, with_gateways


def test_history_of_the_engine() -> None:
    async def test(gateways: Gateways) -> None:
        for number in range(5):
            gateways.others.publish("h", str(number))
        gateways.engine.run()
        epoch = gateways.engine.epoch
        first, second = gateways.links
        found = await gateways.topics.subscribe_from(first.ws, "h", (3, epoch))
        assert found == (Position(5, epoch), True)
        assert await gateways.topics.subscribe_from(second.ws, "h", (1, epoch)) == (
            Position(5, epoch),
            False,
        )
        gateways.others.publish("h", "5")
        assert gateways.received()[:2] == [["4:3", "5:4", "6:5"], ["6:5"]]

    with_gateways(test)


def test_history_of_this_process() -> None:
    """What is known here is not asked for."""

    async def test(gateways: Gateways) -> None:
        first, second = gateways.links
        await gateways.topics.subscribe_from(first.ws, "h")
        for number in range(5):
            gateways.others.publish("h", str(number))
        gateways.engine.run()
        asked = len(gateways.backplane.calls)
        found = await gateways.topics.subscribe_from(second.ws, "h", (3, gateways.engine.epoch))
        assert found.recovered
        assert len(gateways.backplane.calls) == asked
        gateways.topics.unsubscribe(second.ws, "h")
        await gateways.topics.subscribe_from(second.ws, "h", last=2)
        assert texts(second) == ["4:3", "5:4"] * 2
        assert len(gateways.backplane.calls) == asked

    with_gateways(test)


@pytest.mark.parametrize("are_delivered", [True, False])
@pytest.mark.parametrize("since", [None, 2])
def test_messages_while_the_history_is_read(since: Any, are_delivered: bool) -> None:
    """Each comes once, whether the engine's history had it, or it came live, or both."""

    async def test(gateways: Gateways) -> None:
        engine, (first, second) = gateways.engine, gateways.links
        for number in range(3):
            gateways.others.publish("h", str(number))
        engine.run()

        def meanwhile() -> None:
            gateways.backplane.meanwhile = lambda: None
            gateways.others.publish("h", "meanwhile")
            if are_delivered:
                engine.run()

        gateways.backplane.meanwhile = meanwhile
        position = None if since is None else (since, engine.epoch)
        found = await gateways.topics.subscribe_from(first.ws, "h", position, last=2)
        assert found == (Position(4, engine.epoch), since is not None)
        await gateways.topics.subscribe_from(second.ws, "h", found.position)
        gateways.topics.publish("h", "end", exclude=second.ws)
        engine.run()
        assert texts(first) == ["3:2", "4:meanwhile", "5:end"]
        assert texts(second) == []

    with_gateways(test)


@pytest.mark.parametrize("since", [None, 1])
def test_more_than_may_wait_while_the_history_is_read(
    monkeypatch: pytest.MonkeyPatch, since: Any
) -> None:
    """With their envelope the messages have three bytes."""
    monkeypatch.setattr(recovery, "_ARRIVED_BYTES", 6)

    async def test(gateways: Gateways) -> None:
        engine, first = gateways.engine, gateways.links[0]
        gateways.others.publish("h", "1")
        engine.run()
        count = 3

        def meanwhile() -> None:
            for _ in range(count):
                gateways.others.publish("h", "2")
            engine.run()

        gateways.backplane.meanwhile = meanwhile
        position = None if since is None else (since, engine.epoch)
        with pytest.raises(BackplaneError, match=r"more than 6 bytes of topic 'h'.* again later"):
            await gateways.topics.subscribe_from(first.ws, "h", position)
        assert gateways.topics.of(first.ws) == []
        await eventually(lambda: gateways.topics.stats().topics == 0)
        count = 2
        position = None if since is None else (4, engine.epoch)
        await gateways.topics.subscribe_from(first.ws, "h", position)
        assert texts(first) == ["5:2", "6:2"]

    with_gateways(test, unsubscribe_grace=0)


def test_a_new_life_while_the_history_is_read() -> None:
    async def test(gateways: Gateways) -> None:
        engine, first = gateways.engine, gateways.links[0]
        gateways.others.publish("h", "1")
        position = engine.position("h")

        def meanwhile() -> None:
            engine.lose_everything()
            gateways.others.publish("h", "2")

        gateways.backplane.meanwhile = meanwhile
        found = await gateways.topics.subscribe_from(first.ws, "h", position)
        assert found == (Position(1, "first'"), False)
        engine.run()
        gateways.others.publish("h", "3")
        engine.run()
        assert texts(first) == ["2:3"]

    with_gateways(test)


def test_a_new_life_after_a_message_that_came_while_the_history_is_read() -> None:
    """What the history has now replaces that message."""

    async def test(gateways: Gateways) -> None:
        engine, topics, (first, second) = gateways.engine, gateways.topics, gateways.links
        topics.subscribe(first.ws, "h")
        gateways.others.publish("h", "1")
        engine.run()

        def meanwhile() -> None:
            gateways.backplane.meanwhile = lambda: None
            gateways.others.publish("h", "2")
            engine.run()
            engine.lose_everything()
            gateways.others.publish("h", "3")

        gateways.backplane.meanwhile = meanwhile
        found = await topics.subscribe_from(second.ws, "h", last=3)
        assert found == (Position(1, "first'"), False)
        gateways.others.publish("h", "4")
        engine.run()
        assert texts(second) == ["1:3", "2:4"]

    with_gateways(test)


def test_retained_messages_instead_of_history() -> None:
    async def test(gateways: Gateways) -> None:
        topics = gateways.topics
        topics.configure("h", history=3, retain=True)
        first, second = gateways.links
        topics.subscribe(first.ws, "h")
        for number in range(5):
            topics.publish("h", str(number), key=str(number % 2))
        gateways.engine.run()
        found = await topics.subscribe_from(second.ws, "h", (1, gateways.engine.epoch))
        assert found == (Position(5, gateways.engine.epoch), False)
        assert texts(second) == ["3", "4"]

    with_gateways(test)


def test_messages_that_are_newer_than_what_is_retained_here() -> None:
    """They are on their way, so the live ones begin with them."""

    async def test(gateways: Gateways) -> None:
        topics, (first, second) = gateways.topics, gateways.links
        topics.configure("h", history=3, retain=True)
        topics.subscribe(first.ws, "h")
        for number in range(1, 6):
            gateways.others.publish("h", str(number))
        gateways.engine.run()
        assert texts(first) == ["1", "2", "3", "4", "5"]
        for number in range(6, 8):
            gateways.others.publish("h", str(number))
        found = await topics.subscribe_from(second.ws, "h", (1, gateways.engine.epoch))
        assert found == (Position(5, gateways.engine.epoch), False)
        gateways.engine.run()
        assert texts(second) == ["5", "6", "7"]

    with_gateways(test)


def test_history_that_cannot_be_read() -> None:
    async def test(gateways: Gateways) -> None:
        ws = gateways.links[0].ws
        gateways.backplane.fails = True
        with pytest.raises(BackplaneError):
            await gateways.topics.subscribe_from(ws, "h")
        assert gateways.topics.of(ws) == []
        await eventually(lambda: gateways.topics.stats().topics == 0)
        gateways.backplane.fails = False
        await gateways.topics.subscribe_from(ws, "h")
        with pytest.raises(WSTopicError, match="subscribed to 'h' already"):
            await gateways.topics.subscribe_from(ws, "h")

    with_gateways(test, unsubscribe_grace=0)


def test_subscribing_that_is_cancelled() -> None:
    async def test(gateways: Gateways) -> None:
        ws = gateways.links[0].ws
        task = asyncio.ensure_future(gateways.topics.subscribe_from(ws, "h"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: gateways.topics.stats().topics == 0)

    with_gateways(test, unsubscribe_grace=0)


def test_subscribing_that_is_cancelled_when_it_is_confirmed() -> None:
    """asyncio.wait_for() would go on, before Python 3.12."""

    async def test(gateways: Gateways) -> None:
        first = gateways.links[0]

        async def subscribed(topic: str) -> None:
            subscribing.cancel()

        gateways.backplane.subscribed = subscribed  # type: ignore[method-assign]
        subscribing = asyncio.ensure_future(gateways.topics.subscribe_from(first.ws, "h"))
        with pytest.raises(asyncio.CancelledError):
            await subscribing
        assert gateways.topics.of(first.ws) == []

    with_gateways(test)


def test_a_connection_that_ends_while_the_history_is_read() -> None:
    async def test(gateways: Gateways) -> None:
        link = gateways.links[0]

        def end() -> None:
            link.lose()
            link.loop.run_ready()

        gateways.backplane.meanwhile = end
        await gateways.topics.subscribe_from(link.ws, "h")
        assert not (await gateways.topics.subscribe_from(link.ws, "h")).recovered
        assert gateways.topics.stats().subscriptions == 0

    with_gateways(test)


def test_engine_that_does_not_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for an engine that is not there for longer than some seconds."""
    monkeypatch.setattr(recovery, "_CONFIRMATION_TIMEOUT", 0.01)

    async def never(topic: str) -> None:
        await asyncio.sleep(1000)

    async def test(gateways: Gateways) -> None:
        ws = gateways.links[0].ws
        monkeypatch.setattr(gateways.backplane, "subscribed", never)
        with pytest.raises(BackplaneError, match=r"not confirmed .* 'h' within 0\.01 s"):
            await gateways.topics.subscribe_from(ws, "h")
        assert gateways.topics.of(ws) == []
        monkeypatch.undo()
        assert not (await gateways.topics.subscribe_from(ws, "h")).recovered
        assert gateways.topics.of(ws) == ["h"]

    with_gateways(test)


def test_a_silent_topic_keeps_no_connections_that_have_ended() -> None:
    async def test(gateways: Gateways) -> None:
        stays = gateways.links[0].ws
        await gateways.topics.subscribe_from(stays, "h")
        gone = []
        for _ in range(5):
            link = Connection("server")
            gone.append(weakref.ref(link.ws))
            await gateways.topics.subscribe_from(link.ws, "h")
            link.lose()
            link.loop.run_ready()
            del link
        gc.collect()  # the network of the test is a cycle
        assert [found() for found in gone] == [None] * 5
        gateways.others.publish("h", "1")
        assert gateways.received()[0] == ["1:1"]

    with_gateways(test)


def test_an_envelope_is_made_once_however_many_come_back() -> None:
    async def test(gateways: Gateways) -> None:
        calls = []

        def envelope(topic: str, payload: bytes, position: Any) -> bytes:
            calls.append(payload)
            return payload

        gateways.topics.configure("h", history=3, envelope=envelope)
        gateways.subscribe("h")

        def meanwhile() -> None:
            gateways.backplane.meanwhile = lambda: None
            gateways.others.publish("h", "1")
            gateways.engine.run()

        gateways.backplane.meanwhile = meanwhile
        links = [Connection("server") for _ in range(5)]
        await asyncio.gather(*(gateways.topics.subscribe_from(each.ws, "h") for each in links))
        assert [texts(link) for link in (*gateways.links, *links)] == [["1"]] * 7
        assert calls == [b"1"]

    with_gateways(test)


def test_a_message_of_the_history_that_cannot_be_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those before it and after it are."""

    async def test(gateways: Gateways) -> None:
        def envelope(topic: str, payload: bytes, position: Any) -> bytes:
            if payload == b"wrong":
                raise ValueError("as asked for")
            return payload

        topics = gateways.topics
        topics.configure("h", history=3, envelope=envelope)
        for text in ("1", "wrong", "3"):
            gateways.others.publish("h", text)
        gateways.engine.run()
        found = await topics.subscribe_from(gateways.links[0].ws, "h", (0, "first"))
        assert found == (Position(3, "first"), False)
        assert texts(gateways.links[0]) == ["1", "3"]
        assert topics.stats().invalid == 1

    with_gateways(test)
    assert "topic 'h': a message of the backplane cannot be delivered" in caplog.text


def test_unsubscribed_while_the_history_is_read() -> None:
    async def test(gateways: Gateways) -> None:
        topics, (first, second) = gateways.topics, gateways.links
        gateways.others.publish("h", "1")

        def meanwhile() -> None:
            assert topics.unsubscribe(first.ws, "h")
            assert not topics.unsubscribe(second.ws, "h")

        gateways.backplane.meanwhile = meanwhile
        for last in (0, 1):
            assert not (await topics.subscribe_from(first.ws, "h", last=last)).recovered
            assert topics.of(first.ws) == []
        gateways.others.publish("h", "2")
        assert gateways.received()[0] == []
        gateways.backplane.meanwhile = lambda: None
        await topics.subscribe_from(first.ws, "h")
        assert topics.of(first.ws) == ["h"]
        assert topics.unsubscribe(first.ws, "h")

    with_gateways(test)


@pytest.mark.parametrize("comes_back", [False, True])
def test_subscribed_again_before_what_it_had_has_arrived(comes_back: bool) -> None:
    """What the history had for the first subscription is new for the second one."""

    async def test(gateways: Gateways) -> None:
        topics, (first, second) = gateways.topics, gateways.links
        topics.subscribe(second.ws, "h")
        gateways.others.publish("h", "1")
        gateways.engine.run()
        for text in ("2", "3"):
            gateways.others.publish("h", text)  # and they are on their way
        found = await topics.subscribe_from(first.ws, "h", (0, "another"), last=3)
        assert found.position.offset == 3
        assert texts(first) == ["1:1", "2:2", "3:3"]
        topics.unsubscribe(first.ws, "h")
        if comes_back:
            found = await topics.subscribe_from(first.ws, "h", (1, "first"))
            assert found == (Position(1, "first"), True)
        else:
            topics.subscribe(first.ws, "h")
        assert gateways.received()[0] == ["2:2", "3:3"]

    with_gateways(test)


def test_confirmed() -> None:
    async def test(gateways: Gateways) -> None:
        confirmed = asyncio.get_running_loop().create_future()

        async def subscribed(topic: str) -> None:
            assert topic == "a"
            await confirmed

        gateways.subscribe("a")
        gateways.backplane.subscribed = subscribed  # type: ignore[method-assign]
        waiting = asyncio.ensure_future(gateways.topics.confirmed("a"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        confirmed.set_result(None)
        await waiting
        with pytest.raises(WSTopicError, match="must not be empty"):
            await gateways.topics.confirmed("")

    with_gateways(test)
    asyncio.run(Topics().confirmed("a"))


def test_two_subscriptions_at_once() -> None:
    async def test(gateways: Gateways) -> None:
        ws = gateways.links[0].ws
        results = await asyncio.gather(
            gateways.topics.subscribe_from(ws, "h"),
            gateways.topics.subscribe_from(ws, "h"),
            return_exceptions=True,
        )
        assert [type(result).__name__ for result in results] == ["Subscribed", "WSTopicError"]

    with_gateways(test)


def test_more_subscriptions_at_once_than_a_connection_may_have() -> None:
    async def test(gateways: Gateways) -> None:
        topics, ws = gateways.topics, gateways.links[0].ws
        results = await asyncio.gather(
            *(topics.subscribe_from(ws, f"h{number}") for number in range(4)),
            return_exceptions=True,
        )
        kinds = [type(result).__name__ for result in results]
        assert kinds == ["Subscribed", "Subscribed", "WSTopicError", "WSTopicError"]
        assert topics.of(ws) == ["h0", "h1"]
        await eventually(lambda: topics.stats().topics == 2)

    with_gateways(test, max_topics_per_connection=2, unsubscribe_grace=0)


# Gaps


def test_a_gap_while_the_history_is_read() -> None:
    async def test(gateways: Gateways) -> None:
        relay: Any = gateways.topics._relay
        gateways.backplane.meanwhile = lambda: relay.gap(["h"], "as asked for")
        position = Position(0, gateways.engine.epoch)
        found = await gateways.topics.subscribe_from(gateways.links[0].ws, "h", position)
        assert found == (position, False)
        assert gateways.gaps == [["h"]]

    with_gateways(test)


def test_a_gap_before_what_a_connection_has_already() -> None:
    """What was on its way then does not come twice; what replaces it comes."""

    async def test(gateways: Gateways) -> None:
        engine, (first, _) = gateways.engine, gateways.links
        for text in ("1", "2"):
            gateways.others.publish("h", text)
        found = await gateways.topics.subscribe_from(first.ws, "h", (0, engine.epoch))
        assert found.recovered
        gateways.backplane.receiver.gap(["h"], "as asked for")
        engine.run()
        gateways.others.publish("h", "3")
        engine.run()
        assert texts(first) == ["1:1", "2:2", "3:3"]
        engine.lose_everything()
        gateways.others.publish("h", "4")
        engine.run()
        assert texts(first) == ["1:4"]

    with_gateways(test)


def test_an_engine_without_history() -> None:
    class Forgetful(FakeBackplane):
        supports_history = False

    topics = Topics(Forgetful(FakeEngine()))
    topics.configure("a", retain=True)
    with pytest.raises(WSInvalidOptionError, match="history=3: Forgetful keeps no history"):
        topics.configure("a", history=3)


def test_a_topic_that_is_dropped_and_comes_back_while_its_history_is_read() -> None:
    """It ends when nobody waits for it any more, whichever reading ends last."""

    async def test(gateways: Gateways) -> None:
        topics, (first, second) = gateways.topics, gateways.links
        is_confirmed, never = asyncio.Event(), asyncio.Event()
        gates = [is_confirmed, never]

        async def subscribed(topic: str) -> None:
            await gates.pop(0).wait()

        gateways.backplane.subscribed = subscribed  # type: ignore[method-assign]
        waiting = []
        for link in (first, second):
            for name in ("h", "another"):  # of which there may be one
                topics.subscribe(link.ws, name)
                topics.unsubscribe(link.ws, name)
            waiting.append(asyncio.ensure_future(topics.subscribe_from(link.ws, "h")))
            await asyncio.sleep(0.01)
        waiting[1].cancel()
        await asyncio.wait(waiting[1:])
        is_confirmed.set()
        with pytest.raises(BackplaneError, match="'h' was dropped meanwhile"):
            await waiting[0]
        await eventually(lambda: topics.stats().topics == 0)

    with_gateways(test, max_topics=1, unsubscribe_grace=0)


def test_messages_that_are_published_while_the_last_ones_are_looked_for() -> None:
    async def test(gateways: Gateways) -> None:
        gateways.backplane.meanwhile = lambda: gateways.others.publish("h", "meanwhile")
        for _ in range(5):
            await gateways.topics.subscribe_from(gateways.links[0].ws, "h", last=1)
            assert len(texts(gateways.links[0])) == 1
            gateways.topics.unsubscribe(gateways.links[0].ws, "h")

    with_gateways(test)


@pytest.mark.parametrize("count", range(1, 9))
def test_as_many_of_the_last_messages_as_there_still_are(count: int) -> None:
    """The engine has dropped others because of their age."""

    async def test(gateways: Gateways) -> None:
        for topics in (gateways.topics, gateways.others):
            topics.configure("h", history=8, history_seconds=60)
        for number in range(1, 11):
            gateways.others.publish("h", str(number))
        gateways.engine.run()
        del gateways.engine.kept["h"][: 8 - count]
        await gateways.topics.subscribe_from(gateways.links[0].ws, "h", last=5)
        expected = ["6", "7", "8", "9", "10"]
        assert texts(gateways.links[0]) == expected[max(0, 5 - count) :]

    with_gateways(test)
