from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Iterator

import pytest

from picows_server.backplane import BackplaneError, HistoryRule, Position
from picows_server.backplane.envelope import PRODUCER_SIZE, encode_published, plain_envelope
from picows_server.backplane.redis_backplane import RedisBackplane
from tests.support.engines import Engine
from tests.support.loops import other_tasks
from tests.support.receivers import NUMBERS, RULE, Remembering, publish, started, until


@pytest.fixture(params=["valkey", "redis"])
def engine(request: Any, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(request.param, tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    engine.start()
    yield engine
    engine.kill()


def test_history(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine)
        empty = await backplane.history("a", None, RULE)
        assert empty.position.offset == 0
        for number in NUMBERS:
            publish(backplane, "a", number, RULE)
        for number in NUMBERS:
            publish(backplane, "a", number + b"!", HistoryRule(2000))
        await until(lambda: not backplane.stats().pending)
        now = await backplane.history("a", None, RULE)
        assert (now.position.offset, now.recovered, now.publications) == (2000, True, [])
        both = await backplane.history("a", empty.position, RULE)
        assert both.recovered
        assert [each.payload for each in both.publications] == [
            *NUMBERS,
            *(number + b"!" for number in NUMBERS),
        ]
        some = await backplane.history("a", Position(1990, now.position.epoch), RULE)
        assert [each.position.offset for each in some.publications if each.position] == list(
            range(1991, 2001)
        )
        publish(backplane, "a", b"x", RULE)
        await until(lambda: not backplane.stats().pending)
        lost = await backplane.history("a", Position(1000, now.position.epoch), RULE)
        assert not lost.recovered
        assert not lost.publications
        assert (await backplane.history("a", Position(1001, now.position.epoch), RULE)).recovered
        for position in (Position(5, "other"), Position(3000, now.position.epoch)):
            assert not (await backplane.history("a", position, RULE)).recovered
        await backplane.close()

    run(main)


def test_history_of_large_messages(run: Any, engine: Engine) -> None:
    """An engine that cuts whoever lets more than 8 MB wait is asked for less at a time."""
    engine.command("CONFIG", "SET", "client-output-buffer-limit", "normal 8000000 8000000 0")
    large = [bytes([number]) * 500_000 for number in range(40)]

    async def main() -> None:
        backplane, _ = await started(engine)
        empty = await backplane.history("a", None, RULE)
        for payload in large:
            publish(backplane, "a", payload, RULE)
        await until(lambda: not backplane.stats().pending)
        read = await backplane.history("a", empty.position, RULE)
        assert read.recovered
        assert [each.payload for each in read.publications] == large
        some = await backplane.history("a", None, RULE, last=30)
        assert [each.payload for each in some.publications] == large[10:]
        assert not backplane.stats().reconnects
        await backplane.close()

    run(main)


def test_history_ages(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine)
        rule = HistoryRule(100, 0.5)
        begin = (await backplane.history("a", None, rule)).position
        for _ in range(50):
            publish(backplane, "a", b"old", rule)
        await until(lambda: not backplane.stats().pending)
        assert len((await backplane.history("a", begin, rule)).publications) == 50
        await asyncio.sleep(0.6)
        assert not (await backplane.history("a", begin, rule)).recovered
        publish(backplane, "a", b"new", rule)
        await until(lambda: not backplane.stats().pending)
        assert engine.command("XLEN", "picows:{a}:s") == 1
        assert engine.command("TTL", "picows:{a}:m") > 80_000
        await backplane.close()

    run(main)


def test_history_that_is_kept_for_longer_than_silent_topics(run: Any, engine: Engine) -> None:
    """Reading it must not let its epoch expire before its messages."""

    async def main() -> None:
        backplane, _ = await started(engine, topic_ttl=100.0)
        rule = HistoryRule(100, 5000.0)
        publish(backplane, "a", b"x", rule)
        await until(lambda: not backplane.stats().pending)
        await backplane.history("a", None, rule)
        for key in "ms":
            assert engine.command("TTL", f"picows:{{a}}:{key}") > 4000
        await backplane.close()

    run(main)


@pytest.mark.parametrize("size", [0, 1_100_000], ids=["one page", "many pages"])
def test_history_of_an_engine_whose_clock_was_set_back(run: Any, engine: Engine, size: int) -> None:
    """Messages have the offsets that they were published with."""
    payloads = [bytes(size) + number for number in (b"1", b"2", b"3")]

    async def main() -> None:
        backplane, _ = await started(engine)
        rule = HistoryRule(100, 60.0)
        begin = (await backplane.history("a", None, rule)).position
        publish(backplane, "a", payloads[0], rule)
        await until(lambda: not backplane.stats().pending)
        ((_, fields),) = engine.command("XRANGE", "picows:{a}:s", "-", "+")
        engine.command("XADD", "picows:{a}:s", "2-1", "d", fields[b"d"][:-1] + b"2")
        engine.command("HSET", "picows:{a}:m", "o", "2")
        publish(backplane, "a", payloads[2], rule)
        await until(lambda: not backplane.stats().pending)
        found = await backplane.history("a", begin, rule)
        positions = [each.position.offset for each in found.publications if each.position]
        assert [each.payload for each in found.publications] == payloads
        assert positions == [1, 2, 3]
        await backplane.close()

    run(main)


def test_the_last_messages(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine)
        last_of_none = await backplane.history("a", None, RULE, last=5)
        assert (last_of_none.position.offset, last_of_none.publications) == (0, [])
        publish(backplane, "a", b"x", RULE)
        await until(lambda: not backplane.stats().pending)
        ((_, fields),) = engine.command("XRANGE", "picows:{a}:s", "-", "+")
        engine.command("DEL", "picows:{a}:s")
        for offset in range(2, 42):  # too old, and not removed yet
            engine.command("XADD", "picows:{a}:s", f"{offset}-1", "d", fields[b"d"])
        engine.command("HSET", "picows:{a}:m", "o", "41")
        for number in range(42, 45):
            publish(backplane, "a", b"%d" % number, RULE)
        await until(lambda: not backplane.stats().pending)
        epoch = last_of_none.position.epoch
        young = HistoryRule(100, 60.0)

        async def offsets(since: Any, rule: HistoryRule, last: int) -> Any:
            found = await backplane.history("a", since, rule, last)
            assert found.position == Position(44, epoch)
            offsets = [each.position.offset for each in found.publications if each.position]
            return offsets, found.recovered

        assert await offsets(None, RULE, 5) == ([40, 41, 42, 43, 44], False)
        assert await offsets(None, RULE, 100) == (list(range(2, 45)), False)
        assert await offsets(None, young, 2) == ([43, 44], False)
        assert await offsets(None, young, 100) == ([42, 43, 44], False)
        for lost in (Position(3, "other"), Position(45, epoch), Position(40, epoch)):
            assert await offsets(lost, young, 100) == ([42, 43, 44], False)
            assert await offsets(lost, young, 0) == ([], False)
        assert await offsets(Position(41, epoch), young, 1) == ([42, 43, 44], True)
        assert await offsets(Position(44, epoch), young, 3) == ([], True)
        await backplane.close()

    run(main)


def test_the_last_messages_in_many_pages(run: Any, engine: Engine) -> None:
    """No more than were asked for, although others come while the pages are read."""

    async def main() -> None:
        backplane, _ = await started(engine)
        rule = HistoryRule(5000)
        for number in range(4000):
            publish(backplane, "a", b"%d" % number, rule)
        await until(lambda: not backplane.stats().pending)
        reading = asyncio.ensure_future(backplane.history("a", None, rule, last=3000))
        await asyncio.sleep(0)
        for number in range(4000, 4100):
            publish(backplane, "a", b"%d" % number, rule)
        found = await reading
        last = found.position.offset
        assert [each.payload for each in found.publications] == [
            b"%d" % number for number in range(last - 3000, last)
        ]
        await backplane.close()

    run(main)


@pytest.mark.parametrize("is_since", [True, False])
def test_the_last_messages_if_others_take_their_place(
    run: Any, engine: Engine, is_since: bool
) -> None:
    """Those of the next page are not kept any more when it is read."""
    large = [bytes([number]) * 600_000 for number in range(12)]

    async def main() -> None:
        backplane, _ = await started(engine)
        rule = HistoryRule(6, 60.0)
        begin = (await backplane.history("a", None, rule)).position
        for _ in range(6):
            publish(backplane, "a", large.pop(0), rule)
        await until(lambda: not backplane.stats().pending)
        assert backplane._engine is not None
        read = backplane._engine._read

        async def slowly(*arguments: Any, **more: Any) -> Any:
            page = await read(*arguments, **more)
            while large:
                publish(backplane, "a", large.pop(0), rule)
            await until(lambda: not backplane.stats().pending)
            return page

        backplane._engine._read = slowly
        found = await backplane.history("a", begin if is_since else None, rule, last=5)
        assert not found.recovered
        assert found.position.offset == 12
        assert [each.payload[0] for each in found.publications] == [7, 8, 9, 10, 11]
        await backplane.close()

    run(main)


def test_many_that_are_too_old_do_not_hold_up_the_engine(run: Any, engine: Engine) -> None:
    """Neither who reads nor who publishes goes through all of them at once."""

    async def main() -> None:
        backplane, _ = await started(engine)
        rule = HistoryRule(10_000, 60.0)
        begin = (await backplane.history("a", None, rule)).position
        add = "for i = 1, 5000 do redis.call('XADD', KEYS[1], i .. '-1', 'd', 'old') end"
        engine.command("EVAL", add, 1, "picows:{a}:s")
        engine.command("HSET", "picows:{a}:m", "o", "5000")
        engine.command("CONFIG", "RESETSTAT")
        for since, last in ((begin, 0), (None, 5000), (begin, 5000)):
            assert not (await backplane.history("a", since, rule, last)).publications
        publish(backplane, "a", b"new", rule)
        await until(lambda: not backplane.stats().pending)
        assert engine.command("XLEN", "picows:{a}:s") == 1
        assert _stat(engine, "xrange", "calls") < 120
        await backplane.close()

    run(main)


def test_age_of_large_messages(run: Any, engine: Engine) -> None:
    """To find out whether they are too old, a publisher does not make the engine read many."""

    async def main() -> None:
        backplane, _ = await started(engine)
        least = []
        for topic, rule in (("a", HistoryRule(50)), ("b", HistoryRule(50, 60.0))):
            durations = []
            for _ in range(50):
                engine.command("CONFIG", "RESETSTAT")
                publish(backplane, topic, bytes(200_000), rule)
                await until(lambda: not backplane.stats().pending)
                durations.append(_stat(engine, "evalsha", "usec"))
            least.append(min(durations[40:]))
        assert least[1] < 5 * least[0]
        await backplane.close()

    run(main)


def test_pages_of_large_messages(run: Any, engine: Engine) -> None:
    """The engine reads no more than what a page takes."""

    async def main() -> None:
        backplane, _ = await started(engine)
        begin = (await backplane.history("a", None, RULE)).position
        for _ in range(30):
            publish(backplane, "a", bytes(1_100_000), RULE)
        await until(lambda: not backplane.stats().pending)
        least = []
        for offset, pages in ((29, 1), (0, 30)):
            durations = []
            for _ in range(5):
                engine.command("CONFIG", "RESETSTAT")
                await backplane.history("a", Position(offset, begin.epoch), RULE)
                assert _stat(engine, "evalsha", "calls") == pages
                durations.append(_stat(engine, "evalsha", "usec") / pages)
            least.append(min(durations))
        assert least[1] < 5 * least[0]
        await backplane.close()

    run(main)


def _stat(engine: Engine, command: str, what: str) -> int:
    """Return a statistic of a command, as it was executed by scripts, too."""
    return int(engine.command("INFO", "commandstats")[f"cmdstat_{command}"][what])


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_killed_connections(run: Any, engine: Engine, kind: str) -> None:
    async def main() -> None:
        one, to_one = await started(engine)
        other, to_other = await started(engine)
        for each in (one, other):
            each.subscribe("with", RULE)
            each.subscribe("without", None)
            await each.subscribed("with")
            await each.subscribed("without")
        for number in NUMBERS:
            publish(one, "with", number, RULE)
            publish(one, "without", number)
            if int(number) % 200 == 100:
                engine.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                await asyncio.sleep(0.02)
        await until(lambda: not one.stats().pending)
        await until(lambda: to_one.payloads("with") == to_other.payloads("with") == NUMBERS)
        await until(lambda: one.is_connected and other.is_connected)
        publish(other, "without", b"end")
        await until(lambda: b"end" in to_one.payloads("without"))
        found = to_one.payloads("without")
        assert len(found) == len(set(found))
        if kind == "pubsub":
            assert ["without"] in [topics for topics, _ in to_one.gaps]
        else:
            assert found == [*NUMBERS, b"end"]
            assert not to_one.gaps
            assert one.stats().resent
        assert not any("with" in (topics or ()) for topics, _ in to_one.gaps)
        await one.close()
        await other.close()

    run(main)


def test_engine_that_has_lost_everything(run: Any, tmp_path: Path) -> None:
    engine = Engine("valkey", tmp_path).start()

    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        for number in NUMBERS[:500]:
            publish(backplane, "a", number, RULE)
        await until(lambda: len(receiver.publications) == 500)
        before = receiver.publications[-1].position
        assert before is not None
        engine.kill()
        for number in NUMBERS[500:]:
            publish(backplane, "a", number, RULE)
        await until(lambda: not backplane.is_connected)
        engine.start()
        await until(lambda: bool(receiver.gaps) and not backplane.stats().pending)
        assert receiver.gaps[0][0] == ["a"]
        publish(backplane, "a", b"end", RULE)
        await until(lambda: receiver.payloads()[-1] == b"end")
        assert not (await backplane.history("a", before, RULE)).recovered
        last = receiver.publications[-1].position
        assert last is not None
        assert last.epoch != before.epoch
        await backplane.close()

    try:
        run(main)
    finally:
        engine.kill()


def test_output_limit(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", RULE)
        backplane.subscribe("b", None)
        await backplane.subscribed("a")
        await backplane.subscribed("b")
        engine.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100000 100000 0")
        producer = bytes(PRODUCER_SIZE)
        for number in range(1, 11):  # more than the kernel holds, while this loop stands still
            record = encode_published(number, number - 1, None, 2, None, bytes(4_000_000))
            engine.command("PUBLISH", "picows:{b}:c", plain_envelope(producer, [record]))
        for _ in range(3):
            publish(backplane, "a", b"x", RULE)
        await until(lambda: bool(receiver.gaps))
        await until(lambda: len(receiver.payloads("a")) == 3)
        assert receiver.gaps[0][0] == ["b"]
        await backplane.close()

    run(main)


def test_lost_script_is_loaded_again(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        for number in NUMBERS:
            publish(backplane, "a", number, RULE)
            if int(number) % 100 == 50:
                engine.command("SCRIPT", "FLUSH")
                await asyncio.sleep(0.001)
        await until(lambda: receiver.payloads() == NUMBERS)
        assert not receiver.gaps
        await backplane.close()

    run(main)


def test_lost_message_is_fetched(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1", RULE)
        await until(lambda: receiver.payloads() == [b"1"])
        assert backplane._engine is not None
        delivery = backplane._engine._delivery
        arrived = delivery.arrived
        delivery.arrived = lambda feed, data: None  # type: ignore[method-assign]
        publish(backplane, "a", b"2", RULE)
        await until(lambda: not backplane.stats().pending)
        await asyncio.sleep(0.05)
        delivery.arrived = arrived  # type: ignore[method-assign]
        publish(backplane, "a", b"3", RULE)
        await until(lambda: receiver.payloads() == [b"1", b"2", b"3"])
        assert not receiver.gaps
        assert backplane.stats().recovered
        await backplane.close()

    run(main)


def test_large_payload(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine, max_payload=10)
        publish(backplane, "a", b"x" * 10)
        with pytest.raises(BackplaneError, match="max_payload=10"):
            publish(backplane, "a", b"x" * 11)
        await until(lambda: backplane.stats().acknowledged == 1)
        await backplane.close()

    run(main)


def test_sentinel(run: Any, tmp_path: Path) -> None:
    engines = []
    for name in ("one", "two", "watch"):
        folder = tmp_path / name
        folder.mkdir()
        engines.append(Engine("redis", folder))
    one, two, watch = engines
    one.start()
    two._arguments = ("--replicaof", "127.0.0.1", str(one.port))
    two.start()
    configuration = watch.folder / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor main 127.0.0.1 {one.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    )
    watch._command = [*watch._command, str(configuration), "--sentinel"]
    watch.start()

    async def main() -> None:
        receiver = Remembering()
        backplane = RedisBackplane("redis://main", sentinels=[("127.0.0.1", watch.port)])
        await backplane.start(receiver)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1", RULE)
        await until(lambda: receiver.payloads() == [b"1"])
        await until(lambda: one.command("WAIT", 1, 10) == 1)
        await until(lambda: watch.command("SENTINEL", "REPLICAS", "main"))
        one.kill()
        publish(backplane, "a", b"2", RULE)
        # A Sentinel that a busy machine has held up for two seconds does nothing for half a minute.
        await until(lambda: b"2" in receiver.payloads(), 150.0)
        assert receiver.payloads() == [b"1", b"2"] or receiver.gaps
        await backplane.close()

    try:
        run(main)
    finally:
        for engine in engines:
            engine.kill()


def test_rights(run: Any, tmp_path: Path) -> None:
    """A user with no more than the documented rights."""
    engine = Engine("valkey", tmp_path).start()
    rights = (
        "on >pw resetkeys ~picows:* resetchannels &picows:* -@all +@connection +@pubsub +evalsha"
        " +script|load +info +hmget +hset +hdel +hlen +hgetall +del +xadd +xtrim +xrange"
        " +expire +ttl +time"
    )
    engine.command("ACL", "SETUSER", "me", *rights.split())

    async def main() -> None:
        receiver = Remembering()
        backplane = RedisBackplane(f"redis://me:pw@127.0.0.1:{engine.port}")
        await backplane.start(receiver)
        receiver.counts["a"] = 1
        for topic, rule in (("a", RULE), ("b", None)):
            backplane.subscribe(topic, rule)
            await backplane.subscribed(topic)
            publish(backplane, topic, b"1", rule)
        await until(lambda: len(receiver.publications) == 2)
        assert await backplane.count("a") == 1
        await backplane.close()

        elsewhere = RedisBackplane(f"redis://me:pw@127.0.0.1:{engine.port}", prefix="other:")
        await elsewhere.start(receiver)
        publish(elsewhere, "a", b"1", RULE)
        await until(lambda: elsewhere.stats().failed == 1)
        assert receiver.gaps[-1][0] == ["a"]
        await elsewhere.close()

    try:
        run(main)
    finally:
        engine.kill()


@pytest.mark.parametrize("iterations", range(1, 9))
def test_cancelled_while_it_closes(run: Any, engine: Engine, iterations: int) -> None:
    """It has closed all the same."""

    async def main() -> None:
        backplane, _ = await started(engine)
        backplane.subscribe("a", None)
        subscribed = asyncio.ensure_future(backplane.subscribed("a"))
        publish(backplane, "a", b"1")
        closing = asyncio.ensure_future(backplane.close())
        for _ in range(iterations):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing, subscribed], timeout=20.0)
        assert closing.done()
        assert subscribed.done()
        subscribed.exception()
        assert not backplane.is_connected
        assert backplane.stats().pending == 0
        assert not other_tasks()

    run(main)


def test_misuse(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine, presence_ttl=None)
        assert not backplane.supports_count
        with pytest.raises(BackplaneError, match="presence_ttl"):
            await backplane.count("a")
        await backplane.close()
        with pytest.raises(BackplaneError, match="not connected"):
            await backplane.history("a", None, RULE)

    run(main)
