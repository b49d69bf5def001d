"""Subscribers of all processes: told to real engines, counted, and forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.support.engines import Engine
from tests.support.receivers import started, until


@pytest.fixture(params=["valkey", "redis"])
def engine(request: Any, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(request.param, tmp_path)
    engine.start()
    yield engine
    engine.kill()


def test_counts_of_all_processes(run: Any, engine: Engine) -> None:
    async def main() -> None:
        one, to_one = await started(engine)
        other, to_other = await started(engine)
        dead, to_dead = await started(engine, presence_ttl=1.0)
        for backplane, receiver, count in ((one, to_one, 2), (other, to_other, 3)):
            receiver.counts["a"] = count
            backplane.subscribe("a", None)
            assert await backplane.count("a") >= count
        to_dead.counts["a"] = 10
        assert await dead.count("a") == 15
        assert dead._engine is not None
        await dead._engine.nodes[0].stop()
        await asyncio.sleep(2.2)
        assert await one.count("a") == 5
        await dead.close()
        await other.close()
        assert await one.count("a") == 2
        to_one.counts.clear()
        assert await one.count("a") == 0
        await one.close()

    run(main)


def test_counts_of_many_topics(run: Any, engine: Engine) -> None:
    """More than are looked at in one go: all of them are told, told again, and taken back."""
    topics = [f"topic.{number}" for number in range(1000)]

    async def main() -> None:
        backplane, receiver = await started(engine, presence_ttl=2.0)
        for topic in topics:
            receiver.counts[topic] = 2
            backplane.subscribe(topic, None)
        await asyncio.sleep(2.5)
        asker, _ = await started(engine)
        assert [await asker.count(topic) for topic in topics] == [2] * 1000
        for topic in topics[::2]:
            del receiver.counts[topic]
            backplane.unsubscribe(topic)
        receiver.counts[topics[1]] = 3
        await until(lambda: engine.command("DBSIZE") == 500)
        await asyncio.sleep(2.5)
        assert [await asker.count(topic) for topic in topics[1::2]] == [3, *[2] * 499]
        await asker.close()
        await backplane.close()
        assert engine.command("DBSIZE") == 0

    run(main)


def test_an_engine_that_has_forgotten_is_told_again(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine)
        receiver.counts["a"] = 2
        backplane.subscribe("a", None)
        assert await backplane.count("a") == 2
        engine.kill()
        await until(lambda: not backplane.is_connected)
        engine.start()
        await until(lambda: backplane.is_connected)
        await until(lambda: engine.command("EXISTS", "picows:{a}:n"))
        assert await backplane.count("a") == 2
        await backplane.close()

    run(main)
