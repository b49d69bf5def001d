"""Redis and Valkey that are away, come back with older data, or have no memory left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Iterator

import pytest

from picows_server.backplane import BackplaneError, BackplaneFull, Position, redis_engine
from tests.support.engines import Engine
from tests.support.receivers import NUMBERS, RULE, publish, started, until


@pytest.fixture(params=["valkey", "redis"])
def engine(request: Any, tmp_path: Path) -> Iterator[Engine]:
    """Keeps nothing but what the command SAVE writes."""
    engine = Engine(request.param, tmp_path).start()
    yield engine
    engine.kill()


async def publish_all(backplane: Any, payloads: Any) -> None:
    for payload in payloads:
        publish(backplane, "a", payload, RULE)
    await until(lambda: backplane.is_connected and not backplane.stats().pending)


def test_topic_that_is_subscribed_to_while_the_engine_is_away(run: Any, engine: Engine) -> None:
    """What is published to it afterwards comes, though it waits for the engine, too."""

    async def main() -> None:
        backplane, receiver = await started(engine)
        engine.kill()
        await until(lambda: not backplane.is_connected)
        publish(backplane, "a", b"before", RULE)
        backplane.subscribe("a", RULE)
        backplane.subscribe("unwanted", RULE)
        for number in NUMBERS[:500]:
            publish(backplane, "a", number, RULE)
            publish(backplane, "unwanted", number, RULE)
        backplane.unsubscribe("unwanted")
        assert backplane.stats().pending == 1001
        engine.start()
        await until(lambda: receiver.payloads()[-500:] == NUMBERS[:500])
        await until(lambda: not backplane.stats().pending)
        for topic, count in (("a", 501), ("unwanted", 500)):
            assert (await backplane.history(topic, None, RULE)).position.offset == count
        await backplane.close()

    run(main)


def test_closed_while_the_engine_is_away(run: Any, engine: Engine) -> None:
    """What was published has failed, wherever it waited."""

    async def main() -> None:
        backplane, _ = await started(engine, close_timeout=0.1)
        engine.kill()
        await until(lambda: not backplane.is_connected)
        backplane.subscribe("a", RULE)
        for topic in ("a", "b"):
            publish(backplane, topic, b"x", RULE)
        await backplane.close()
        assert (backplane.stats().pending, backplane.stats().failed) == (0, 2)

    run(main)


def test_busy_topic_that_is_subscribed_to_again(run: Any, engine: Engine) -> None:
    """Messages of the earlier subscription are on their way still."""

    async def main() -> None:
        backplane, receiver = await started(engine)
        publisher, _ = await started(engine)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        for _ in range(5):
            for number in NUMBERS:
                publish(publisher, "a", number, RULE)
                publish(publisher, "b", number, RULE)
            await until(lambda: bool(receiver.publications))
            backplane.unsubscribe("a")
            backplane.subscribe("a", RULE)
            await until(lambda: not publisher.stats().pending)
            await publish_all(publisher, [b"end"])
            await until(lambda: receiver.payloads()[-1] == b"end")
            offsets = [each.position.offset for each in receiver.publications if each.position]
            assert sorted(set(offsets)) == offsets
            receiver.publications.clear()
        assert not receiver.gaps
        await backplane.close()
        await publisher.close()

    run(main)


def test_older_snapshot(run: Any, engine: Engine) -> None:
    """What came after it is a gap for everybody who had it, and nothing else is lost."""

    async def main() -> None:
        ahead, to_ahead = await started(engine)
        publisher, _ = await started(engine)
        ahead.subscribe("a", RULE)
        await ahead.subscribed("a")
        await publish_all(publisher, NUMBERS[:500])
        engine.command("SAVE")
        await publish_all(publisher, NUMBERS[500:600])
        await until(lambda: len(to_ahead.publications) == 600)
        first = to_ahead.publications[0].position
        assert first is not None
        engine.kill()
        engine.start()  # as it was after 500
        await until(lambda: ahead.is_connected and publisher.is_connected)
        await until(lambda: bool(to_ahead.gaps))
        assert to_ahead.gaps[0][0] == ["a"]
        await publish_all(publisher, NUMBERS[600:700])
        await until(lambda: to_ahead.payloads() == NUMBERS[:700])
        positions = [each.position for each in to_ahead.publications if each.position]
        assert [each.offset for each in positions] == [*range(1, 601), *range(501, 601)]
        assert positions[-1].epoch != first.epoch
        # Those who come back with a position of the time before.
        now = positions[-1].epoch
        for offset, recovered in ((400, True), (500, True), (501, False), (600, False)):
            found = await publisher.history("a", Position(offset, first.epoch), RULE)
            assert found.recovered == recovered
            assert found.position == Position(600, now)
            expected = [*NUMBERS[offset:500], *NUMBERS[600:700]] if recovered else []
            assert [each.payload for each in found.publications] == expected
        await ahead.close()
        await publisher.close()

    run(main)


def test_older_snapshot_that_others_have_overtaken(run: Any, engine: Engine) -> None:
    """The same offsets, and other messages: nobody may take these for those that it has."""

    def let_in() -> None:
        engine.command("ACL", "SETUSER", "me", "on", ">pw", "~*", "&*", "+@all")

    async def main() -> None:
        let_in()
        url = engine.url.replace("//", "//me:pw@")
        ahead, to_ahead = await started(engine, url=url)
        publisher, _ = await started(engine)
        ahead.subscribe("a", RULE)
        await ahead.subscribed("a")
        await publish_all(publisher, NUMBERS[:100])
        engine.command("SAVE")
        await publish_all(publisher, NUMBERS[100:200])
        await until(lambda: len(to_ahead.publications) == 200)
        engine.kill()
        engine.start()  # which does not know the user any more
        await until(lambda: publisher.is_connected)
        await publish_all(publisher, NUMBERS[200:400])
        assert not ahead.is_connected
        let_in()
        await until(lambda: bool(to_ahead.gaps))
        assert to_ahead.gaps[0][0] == ["a"]
        await until(lambda: ahead.is_connected)
        await publish_all(publisher, [b"end"])
        await until(lambda: to_ahead.payloads()[-1] == b"end")
        last = to_ahead.publications[-1].position
        assert last is not None
        assert last.offset == 301
        await ahead.close()
        await publisher.close()

    run(main)


def test_publisher_that_the_snapshot_does_not_know(run: Any, engine: Engine) -> None:
    """What was acknowledged and then lost is not sent again; what was not, is, and once."""

    async def main() -> None:
        publisher, _ = await started(engine)
        engine.command("SAVE")
        await publish_all(publisher, NUMBERS[:10])
        engine.kill()
        for number in NUMBERS[10:20]:
            publish(publisher, "a", number, RULE)
        await until(lambda: not publisher.is_connected)
        engine.start()
        await publish_all(publisher, NUMBERS[20:30])
        now = (await publisher.history("a", None, RULE)).position
        found = await publisher.history("a", Position(0, now.epoch), RULE)
        assert [each.payload for each in found.publications] == NUMBERS[10:30]
        await publisher.close()

    run(main)


def test_no_memory(run: Any, engine: Engine) -> None:
    """Publishers wait as long as their buffers last, and everything arrives when there is some."""

    async def main() -> None:
        backplane, receiver = await started(engine, max_pending_messages=100)
        for topic, rule in (("a", RULE), ("b", None)):
            backplane.subscribe(topic, rule)
            await backplane.subscribed(topic)
        await publish_all(backplane, NUMBERS[:10])
        engine.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        engine.command("CONFIG", "SET", "maxmemory", "100kb")
        for number in NUMBERS[10:100]:
            publish(backplane, "a", number, RULE)
        for number in NUMBERS[:10]:
            publish(backplane, "b", number)
        with pytest.raises(BackplaneFull, match="max_pending_messages=100"):
            publish(backplane, "a", b"x", RULE)
        await until(lambda: len(receiver.states) > 3)
        causes = {cause for is_connected, cause in receiver.states if not is_connected}
        assert all("refuses for now" in cause and "maxmemory" in cause for cause in causes)
        stats = backplane.stats()
        assert (stats.pending, stats.refused) == (100, 1)
        assert stats.reconnects
        await asyncio.sleep(0.5)
        engine.command("CONFIG", "SET", "maxmemory", "0")
        await until(lambda: not backplane.stats().pending)
        await until(lambda: receiver.payloads("a") == NUMBERS[:100])
        await until(lambda: receiver.payloads("b") == NUMBERS[:10])
        assert backplane.is_connected
        assert backplane.stats().failed == 0
        assert not receiver.gaps
        await backplane.close()

    run(main)


def test_no_memory_for_a_new_topic(run: Any, engine: Engine) -> None:
    """Nobody is told to be subscribed before it is so."""

    async def main() -> None:
        backplane, receiver = await started(engine)
        engine.command("CONFIG", "SET", "maxmemory", "100kb")
        backplane.subscribe("a", RULE)
        subscribed = asyncio.ensure_future(backplane.subscribed("a"))
        await until(lambda: backplane.stats().reconnects > 1)
        assert not subscribed.done()
        engine.command("CONFIG", "SET", "maxmemory", "0")
        await subscribed
        await publish_all(backplane, [b"1"])
        await until(lambda: receiver.payloads() == [b"1"])
        await backplane.close()

    run(main)


def test_history_that_somebody_else_has_written_to(run: Any, engine: Engine) -> None:
    """It is a gap of that topic. All others go on."""

    async def main() -> None:
        backplane, receiver = await started(engine)
        for topic in ("a", "b"):
            backplane.subscribe(topic, RULE)
            await backplane.subscribed(topic)
        publish(backplane, "a", b"1", RULE)
        await until(lambda: receiver.payloads() == [b"1"])
        first = receiver.publications[0].position
        engine.command("XADD", "picows:{a}:s", "2-1", "d", b"not ours")
        engine.command("HSET", "picows:{a}:m", "o", "2")
        found = await backplane.history("a", first, RULE)
        assert (found.publications, found.recovered) == ([], False)
        publish(backplane, "a", b"3", RULE)  # which shows the hole
        await until(lambda: bool(receiver.gaps))
        for topic in ("a", "b"):
            publish(backplane, topic, b"last", RULE)
        await until(lambda: receiver.payloads() == [b"1", b"last", b"last"])
        assert [topics for topics, _ in receiver.gaps] == [["a"]]
        stats = backplane.stats()
        assert (stats.malformed, stats.reconnects) == (2, 0)
        await backplane.close()

    run(main)


def test_topic_whose_keys_are_something_else(run: Any, engine: Engine, monkeypatch: Any) -> None:
    monkeypatch.setattr(redis_engine, "_REFUSED", 0.05)

    async def main() -> None:
        backplane, receiver = await started(engine)
        engine.command("SET", "picows:{a}:m", "something else")
        for topic in ("a", "b"):
            backplane.subscribe(topic, RULE)
        await backplane.subscribed("b")
        with pytest.raises(BackplaneError, match="WRONGTYPE"):
            await backplane.history("a", None, RULE)
        await until(lambda: bool(receiver.gaps))
        assert receiver.gaps[0][0] == ["a"]
        assert "WRONGTYPE" in receiver.gaps[0][1]
        publish(backplane, "b", b"1", RULE)
        await until(lambda: receiver.payloads() == [b"1"])
        engine.command("DEL", "picows:{a}:m")
        await backplane.subscribed("a")
        publish(backplane, "a", b"2", RULE)
        await until(lambda: receiver.payloads() == [b"1", b"2"])
        assert backplane.stats().reconnects == 0
        await backplane.close()

    run(main)
