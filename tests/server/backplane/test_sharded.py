from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, List

import pytest

from picows_server import WSInvalidOptionError
from picows_server.backplane import (
    BackplaneError,
    BackplaneReceiver,
    HistoryRule,
    Position,
)
from picows_server.backplane.redis_backplane import RedisBackplane
from picows_server.backplane.sharded import ShardedBackplane
from tests.support.backplanes import FakeBackplane, FakeEngine
from tests.support.engines import Engine, free_port
from tests.support.receivers import Remembering, until

TOPICS = [f"topic.{number}" for number in range(1000)]


def places(names: List[str]) -> List[str]:
    engines: Any = {name: FakeBackplane(FakeEngine()) for name in names}
    sharded = ShardedBackplane(engines)
    by_engine = {engine: name for name, engine in engines.items()}
    return [by_engine[sharded.engine_of(topic)] for topic in TOPICS]


def test_topics_stay_where_they_are() -> None:
    three = places(["a", "b", "c"])
    assert three == places(["c", "a", "b"])
    assert all(250 < count < 420 for count in Counter(three).values())
    four = places(["a", "b", "c", "d"])
    assert all(new in {old, "d"} for old, new in zip(three, four))
    # Documented: processes of different versions must agree.
    assert "".join(three[:10]) == "bababcacab"


def test_what_is_no_list_of_engines() -> None:
    with pytest.raises(WSInvalidOptionError, match="at least one"):
        ShardedBackplane([])
    one = FakeBackplane(FakeEngine())
    with pytest.raises(WSInvalidOptionError, match="twice among a, b"):
        ShardedBackplane({"a": one, "b": one})
    with pytest.raises(TypeError, match=r"engine '1' must be a Backplane, .* not None"):
        ShardedBackplane([one, None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="engine 'a' must be a Backplane"):
        ShardedBackplane({"a": FakeBackplane})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="name of an engine must be a str, not 1"):
        ShardedBackplane({1: one})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="by name, or a list of them, not FakeBackplane"):
        ShardedBackplane(one)  # type: ignore[arg-type]


def test_cancelled_start_closes_those_that_had_started(run: Any) -> None:
    class Waiting(FakeBackplane):
        async def start(self, receiver: BackplaneReceiver) -> None:
            await asyncio.sleep(1000)

    async def main() -> None:
        engines = [FakeBackplane(FakeEngine()), Waiting(FakeEngine())]
        backplane = ShardedBackplane(engines)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(backplane.start(Remembering()), 0.01)
        assert [engine.is_closed for engine in engines] == [True, True]

    run(main)


def test_two_engines(run: Any, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    engines = [Engine("valkey", folder).start() for folder in folders]
    rule = HistoryRule(10)

    async def main() -> None:
        receiver = Remembering()
        shards = [RedisBackplane(engine.url) for engine in engines]
        backplane = ShardedBackplane(shards)
        assert backplane.supports_history
        assert backplane.supports_count
        await backplane.start(receiver)
        for topic in TOPICS[:100]:
            backplane.subscribe(topic, rule)
            receiver.counts[topic] = 1
        for topic in TOPICS[:100]:
            await backplane.subscribed(topic)
        for topic in TOPICS:
            backplane.publish(topic, b"x", 1, key=None, history=rule, token=None)
        await until(lambda: len(receiver.publications) == 100)
        await until(lambda: not backplane.stats().pending)
        assert all(350 < shard.stats().published < 650 for shard in shards)
        assert backplane.stats().published == 1000
        assert await backplane.count(TOPICS[0]) == 1
        at = (await backplane.history(TOPICS[5], None, rule)).position
        assert at.offset == 1
        found = await backplane.history(TOPICS[5], Position(0, at.epoch), rule)
        assert [each.payload for each in found.publications] == [b"x"]
        engines[1].kill()
        await until(lambda: not backplane.is_connected)
        # The other one goes on.
        for topic in TOPICS[:100]:
            backplane.publish(topic, b"y", 1, key=None, history=rule, token=None)
        mine = [topic for topic in TOPICS[:100] if backplane.engine_of(topic) is shards[0]]
        await until(lambda: receiver.payloads().count(b"y") == len(mine))
        engines[1].start()
        await until(lambda: receiver.payloads().count(b"y") + len(receiver.gaps) >= 100)
        await until(lambda: [state for state, _ in receiver.states] == [True, False, True])
        backplane.unsubscribe(TOPICS[0])
        await backplane.close()

    try:
        run(main)
    finally:
        for engine in engines:
            engine.kill()


def test_one_that_is_not_there(run: Any, tmp_path: Path) -> None:
    engine = Engine("valkey", tmp_path).start()

    async def main() -> None:
        urls = [engine.url, f"redis://127.0.0.1:{free_port()}"]
        backplane = ShardedBackplane([RedisBackplane(url) for url in urls])
        with pytest.raises(BackplaneError):
            await backplane.start(Remembering())

    try:
        run(main)
    finally:
        engine.kill()
