"""examples/market: several gateways that share one market over a Valkey."""

from __future__ import annotations

import asyncio
import functools
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

pytest.importorskip("redis")

from examples.market import lease
from examples.market.lease import HOLDER, PRICES, Lease
from picows_server import WSServer
from tests.examples.test_market import BTC, Client, client_of, serving
from tests.support.engines import Engine
from tests.support.loops import run as run_on_loop
from tests.support.receivers import until

pytestmark = pytest.mark.timeout(300)
Run = Callable[..., Any]
BOOK, TRADES = f"book.{BTC}", f"trades.{BTC}"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine("valkey", tmp_path).start()
    yield engine
    engine.kill()


@pytest.fixture(name="run")
def run_fixture(loop_kind: str) -> Run:
    """As that of all tests, with more time: a Valkey takes part."""
    return functools.partial(run_on_loop, kind=loop_kind, limit=240.0)


@pytest.fixture
def is_never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a holder renews its lease in time."""
    monkeypatch.setattr(lease, "TIME_TO_LIVE", 30.0)
    monkeypatch.setattr(lease, "TIMEOUT", 60.0)


async def watching(client: Client, trades: int) -> List[Dict[str, Any]]:
    await client.ask(watch=BTC, since=None)
    await client.read(BOOK, 1)
    return await client.read(TRADES, trades)


@pytest.mark.usefixtures("is_never_late")
def test_all_gateways_show_the_same_market(run: Run, engine: Engine) -> None:
    async def main() -> None:
        async with serving(seed=1, backplane=engine.url) as first, serving(
            seed=2, backplane=engine.url
        ) as second, client_of(first) as one, client_of(second) as other:
            await watching(one, 10)
            await watching(other, 10)
            by_offset = {trade["offset"]: trade for trade in one.topics[TRADES]}
            common = [each for each in other.topics[TRADES] if each["offset"] in by_offset]
            assert len(common) > 5
            assert all(each == by_offset[each["offset"]] for each in common)
            (publisher,) = {book["by"] for book in one.topics[BOOK] + other.topics[BOOK]}
            assert publisher in {first.state.name, second.state.name}

    run(main)


@pytest.mark.usefixtures("is_never_late")
def test_another_one_takes_over(run: Run, engine: Engine) -> None:
    """Prices and positions go on, and a page that comes back there has missed nothing."""

    def price_beside_the_lease() -> float:
        prices = json.loads(engine.command("GET", PRICES) or b"{}")
        return float(prices.get(BTC, 0.0))

    async def main() -> None:
        async with AsyncExitStack() as both:
            async with serving(seed=1, backplane=engine.url) as first:
                first.state.market.move_to({BTC: 70_000.0})
                async with client_of(first) as client:
                    last = (await watching(client, 5))[-1]
                await until(lambda: price_beside_the_lease() > 69_000.0)
                second = await both.enter_async_context(serving(seed=2, backplane=engine.url))
                assert second.state.market.price(BTC) == pytest.approx(64_000.0, rel=0.001)
            await go_on(second, last)

    async def go_on(second: WSServer, last: Dict[str, Any]) -> None:
        async with client_of(second) as client:
            since = {"offset": last["offset"], "epoch": last["epoch"]}
            reply = await client.ask(watch=BTC, since=since)
            assert reply["recovered"] is True
            books = await client.read(BOOK, 1)
            count = len(client.offsets())
            trades = await client.read(TRADES, count + 3)
            offsets = client.offsets()
            assert offsets == [*range(last["offset"] + 1, offsets[-1] + 1)]
            assert trades[-1]["price"] == pytest.approx(70_000.0, rel=0.005)
            books = await client.read(BOOK, len(books) + 2)
            assert books[-1]["by"] == second.state.name

    run(main)


def test_a_gateway_that_never_publishes(run: Run, engine: Engine) -> None:
    async def main() -> None:
        async with serving(backplane=engine.url, publishes=False) as edge, client_of(
            edge
        ) as client:
            await client.ask(watch=BTC, since=None)
            await asyncio.sleep(1.0)
            assert client.topics == {}
            async with serving(backplane=engine.url):
                assert await client.read(BOOK, 3)

    run(main)


def test_a_holder_that_is_cut_off_stops(run: Run, engine: Engine) -> None:
    def attempts() -> int:
        return int(engine.command("INFO", "commandstats")["cmdstat_eval"]["calls"])

    async def main() -> None:
        taken: List[Any] = []
        first = Lease(engine.url, "first", lambda: {BTC: 1.0}, taken.append)
        second = Lease(engine.url, "second", lambda: {BTC: 2.0}, taken.append)

        def holders() -> int:
            number = first.is_held() + second.is_held()
            assert number < 2
            return number

        tasks = [asyncio.ensure_future(first.run())]
        await until(first.is_held)
        tasks.append(asyncio.ensure_future(second.run()))
        before = attempts()
        await until(lambda: holders() and attempts() > before + 4)
        engine.pause()
        await until(lambda: not holders())
        engine.resume()
        await until(holders)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not holders()
        await until(lambda: engine.command("EXISTS", HOLDER) == 0)
        assert all(each in ({BTC: 1.0}, {BTC: 2.0}) for each in taken)

    run(main)
