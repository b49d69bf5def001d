"""Nothing is left of a connection to NATS, however it ends."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from picows_server.backplane import NatsBackplane
from tests.support.engines import Engine
from tests.support.loops import other_tasks
from tests.support.receivers import Remembering, backplane_of, publish, until
from tests.support.slow_nats import SlowNats

pytest.importorskip("nats", reason="nats-py is not installed")


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_killed_while_it_subscribes_and_publishes(
    run: Any, tmp_path: Path, iterations: int
) -> None:
    """The client library fails in its own closing; its tasks would be reported to the loop."""

    async def main() -> None:
        backplane = backplane_of(engine)
        await backplane.start(Remembering())
        topics = [f"topic{number}" for number in range(50)]
        for topic in topics:
            backplane.subscribe(topic, None)
        for _ in range(3):
            await until(lambda: backplane.is_connected)
            for _ in range(iterations):
                await asyncio.sleep(0)
            for topic in topics:
                publish(backplane, topic, b"x" * 1000)
            engine.kill()
            await until(lambda: not backplane.is_connected)
            gc.collect()
            engine.start()
        await until(lambda: backplane.is_connected)
        await backplane.close()
        assert not other_tasks()
        gc.collect()

    engine = Engine("nats", tmp_path).start()
    try:
        run(main)
    finally:
        engine.kill()


def test_server_that_reads_no_more(run: Any) -> None:
    """A socket that takes no more is closed all the same."""

    async def main() -> None:
        server = SlowNats()
        backplane = NatsBackplane(await server.start(), close_timeout=0.1)
        await backplane.start(Remembering())
        await asyncio.sleep(0.1)
        server.stops = True
        publish(backplane, "first", b"x")
        await until(lambda: backplane.stats().acknowledged == 1)
        for number in range(100):
            publish(backplane, f"topic{number}", b"x" * 500_000)
        await asyncio.sleep(0.1)
        await backplane.close()
        await server.stop()  # which waits for the end of the connection

    run(main)
