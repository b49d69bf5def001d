"""Backplanes that are closed while they start, before it, and by somebody who does not wait."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest

from picows_server.backplane import BackplaneError
from tests.support.engines import Engine
from tests.support.forks import in_child
from tests.support.receivers import RULE, Remembering, backplane_of, publish, started, until


@pytest.fixture(params=["valkey", "nats"])
def engine(request: Any, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(request.param, tmp_path).start()
    yield engine
    engine.kill()


async def check_is_released(backplane: Any) -> None:
    assert not backplane.is_connected
    await until(lambda: len(asyncio.all_tasks()) == 1)


def test_closed_before_it_is_started(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane = backplane_of(engine)
        await backplane.close()
        with pytest.raises(BackplaneError, match="is closed; make a new one"):
            await backplane.start(Remembering())
        await check_is_released(backplane)

    run(main)


@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_closed_while_it_is_started(run: Any, engine: Engine, iterations: int) -> None:
    async def main() -> None:
        backplane = backplane_of(engine)
        start = asyncio.ensure_future(backplane.start(Remembering()))
        await asyncio.sleep(0)
        for _ in range(iterations):
            await asyncio.sleep(0.0005)
        await backplane.close()
        (outcome,) = await asyncio.gather(start, return_exceptions=True)
        if isinstance(outcome, BaseException):
            assert "was closed while it was started" in str(outcome)
        await check_is_released(backplane)

    run(main)


def test_cancelled_start(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane = backplane_of(engine)
        engine.pause()
        start = asyncio.ensure_future(backplane.start(Remembering()))
        await asyncio.sleep(0.05)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        engine.resume()
        await check_is_released(backplane)

    run(main)


@pytest.mark.parametrize("outcome", ["connected", "swallowed", "failed"])
def test_cancelled_start_whatever_the_client_library_does(
    run: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """It is connected in the same iteration, or although it is cancelled, or raises then."""
    backplane = backplane_of(engine)
    if engine.name == "nats":
        library: Any = pytest.importorskip("nats.aio.client").Client
    else:
        library = pytest.importorskip("redis.asyncio").Connection
    connect = library.connect

    async def main() -> None:
        async def connecting(*arguments: Any, **options: Any) -> None:
            if outcome != "connected":
                try:
                    waiting.set()
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    if outcome == "failed":
                        raise asyncio.TimeoutError from None
            await connect(*arguments, **options)
            if outcome == "connected":
                start.cancel()

        waiting = asyncio.Event()
        monkeypatch.setattr(library, "connect", connecting)
        start = asyncio.ensure_future(backplane.start(Remembering()))
        if outcome != "connected":
            await waiting.wait()
            start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        await check_is_released(backplane)
        gc.collect()

    run(main)


def test_cancelled_close(run: Any, engine: Engine) -> None:
    """Who does not wait for acknowledgements has no connections either."""

    async def main() -> None:
        backplane, _ = await started(engine)
        engine.pause()
        publish(backplane, "a", b"1")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(backplane.close(), 0.05)
        await check_is_released(backplane)
        assert backplane.stats().failed == 1
        engine.resume()

    run(main)


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_made_before_processes_were_forked(tmp_path: Path) -> None:
    """Each of them is a publisher of its own."""
    engine = Engine("valkey", tmp_path).start()
    backplane, receiver = backplane_of(engine), Remembering()

    async def publish_one() -> None:
        await backplane.start(receiver)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1", RULE)
        await until(lambda: receiver.payloads() == [b"1"])
        await backplane.close()

    try:
        for _ in range(2):
            assert in_child(lambda: asyncio.run(publish_one())) == 0
        assert engine.command("XLEN", "picows:{a}:s") == 2
    finally:
        engine.kill()
