"""examples/market: the simulation by itself, and the gateway as a client sees it."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional

import pytest

from examples.market import service
from examples.market.publishing import BACKFILL, HISTORY, encoded
from examples.market.simulation import INSTRUMENTS, Instrument, Market, Trade
from picows_client import WSConnection, WSConnectionClosed, connect
from picows_server import WSServer, serve
from tests.examples.conftest import ROOT, TIMEOUT
from tests.support.leaks import eventually

Run = Callable[..., Any]
BTC = "BTC-USD"
STEP = 0.05  # seconds


# The simulation


def trades_of(market: Market, steps: int) -> List[Trade]:
    return [trade for _ in range(steps) for trade in market.step(STEP)]


def test_the_same_seed_gives_the_same_market() -> None:
    first, second, other = (Market(seed, 10) for seed in (1, 1, 2))
    assert trades_of(first, 100) == trades_of(second, 100) != trades_of(other, 100)
    assert first.book(BTC) == second.book(BTC) != other.book(BTC)


def test_symbols() -> None:
    market = Market(1)
    assert market.symbols == [each.symbol for each in INSTRUMENTS]
    assert market.prices().keys() == {*market.symbols}


@pytest.mark.parametrize("levels", [1, 2, 30])
@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda each: each.symbol)
def test_a_book_is_always_a_book(instrument: Instrument, levels: int) -> None:
    market = Market(1, levels, [instrument])
    for _ in range(200):
        market.step(STEP)
        bids, asks = market.book(instrument.symbol)
        assert len(bids) == len(asks) == levels
        assert [level.price for level in bids] == sorted({level.price for level in bids})[::-1]
        assert [level.price for level in asks] == sorted({level.price for level in asks})
        assert bids[0].price < market.price(instrument.symbol) < asks[0].price
        for price, size in (*bids, *asks):
            assert price == round(round(price / instrument.tick) * instrument.tick, 9)
            assert size >= instrument.lot


def test_a_trade_takes_from_the_best_price() -> None:
    market = Market(3)
    for _ in range(200):
        for trade in market.step(STEP):
            bids, asks = market.book(trade.symbol)
            assert trade.price == (asks if trade.side == "buy" else bids)[0].price
            assert trade.size > 0


def test_trades_come_as_often_as_they_should() -> None:
    trades = trades_of(Market(1, 1), 2000)
    for each in INSTRUMENTS:
        count = sum(trade.symbol == each.symbol for trade in trades)
        assert count / (2000 * STEP) == pytest.approx(each.trades, rel=0.15)
    assert 0.45 < sum(trade.side == "buy" for trade in trades) / len(trades) < 0.55


def test_prices_come_back() -> None:
    """As far from where they began as the process says, even after a week."""
    bitcoin = INSTRUMENTS[0]._replace(trades=0.0)
    market = Market(1, 5, [bitcoin])
    distances = []
    for _ in range(2000):
        market.step(1200.0)
        distances.append(math.log(market.price(BTC) / bitcoin.price))
    expected = bitcoin.volatility * math.sqrt(600.0 / 2)
    assert statistics.pstdev(distances) == pytest.approx(expected, rel=0.15)


def test_going_on_from_other_prices() -> None:
    market = Market(1)
    market.move_to({BTC: 65_000.0, "DOGE-USD": 0.1})
    assert market.price(BTC) == pytest.approx(65_000.0, abs=5.0)
    market.step(STEP)
    assert market.price(BTC) == pytest.approx(65_000.0, abs=50.0)
    assert market.price("ETH-USD") == pytest.approx(3_200.0, abs=5.0)


# The gateway


@asynccontextmanager
async def serving(levels: int = 5, **settings: Any) -> AsyncIterator[WSServer]:
    async with serve(
        service.watch,
        "ws://127.0.0.1:0",
        process_request=service.respond,
        **service.SERVER_OPTIONS,
    ) as server:
        lifespan = service.lifespan_of(service.Settings(levels=levels, **settings))
        async with lifespan(server) as server.state:
            yield server
            server.close_clients()


class Client:
    """What the page's feed is: asks, and sorts what comes."""

    def __init__(self, ws: WSConnection) -> None:
        self.ws = ws
        self.topics: Dict[str, List[Dict[str, Any]]] = {}

    async def ask(self, **request: Any) -> Dict[str, Any]:
        """Returns the reply; what comes before it is noted."""
        await self.ws.send(json.dumps({"id": 7, **request}))
        while True:
            message = json.loads(await self.ws.recv())
            if "reply" in message:
                assert message.pop("reply") == 7
                return dict(message)
            self.note(message)

    async def read(self, topic: str, count: int) -> List[Dict[str, Any]]:
        """Read until so many messages of a topic have come."""
        while len(self.topics.get(topic, ())) < count:
            self.note(json.loads(await self.ws.recv()))
        return self.topics[topic]

    def note(self, message: Dict[str, Any]) -> None:
        self.topics.setdefault(message["topic"], []).append(message)

    def offsets(self) -> List[int]:
        return [trade["offset"] for trade in self.topics.get(f"trades.{BTC}", ())]


def trade(server: WSServer, count: int) -> None:
    """Let many trades be made at once."""
    market = Market(1, 5, [INSTRUMENTS[0]._replace(trades=count / 10)])
    for _ in range(10):
        for each in market.step(1.0):
            server.state.topics.publish(f"trades.{BTC}", encoded(each._asdict()))


@asynccontextmanager
async def client_of(server: WSServer) -> AsyncIterator[Client]:
    async with connect(f"{server.url}/feed", proxy=None) as ws:
        yield Client(ws)


def test_books(run: Run) -> None:
    async def main() -> None:
        async with serving() as server, client_of(server) as client:
            await client.ask(watch=BTC, since=None)
            books = await client.read(f"book.{BTC}", 5)
            numbers = [book["number"] for book in books]
            assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
            for book in books:
                assert len(book["bids"]) == len(book["asks"]) == 5
                assert book["bids"][0][0] < book["asks"][0][0]
            assert {*client.topics} <= {f"book.{BTC}", f"trades.{BTC}", "ticker"}

    run(main)


def test_the_newest_book_and_prices_are_there_at_once(run: Run) -> None:
    async def main() -> None:
        async with serving(publishes=False) as server:
            server.state.publisher.publish()
            async with client_of(server) as client:
                await client.ask(watch=BTC, since=None)
                (book,) = await client.read(f"book.{BTC}", 1)
                assert book["bids"]
                prices = await client.read("ticker", 3)
                assert [each["symbol"] for each in prices] == [*server.state.market.symbols]

    run(main)


def test_who_comes_first_gets_the_history(run: Run) -> None:
    async def main() -> None:
        async with serving() as server:
            trade(server, 500)
            async with client_of(server) as client:
                reply = await client.ask(watch=BTC, since=None)
                assert reply["recovered"] is False
                offsets = client.offsets()
                assert 400 < len(offsets) == reply["offset"]
                assert offsets == [*range(reply["offset"] - len(offsets) + 1, reply["offset"] + 1)]
                more = await client.read(f"trades.{BTC}", len(offsets) + 5)
                assert client.offsets() == [*range(offsets[0], offsets[0] + len(more))]

    run(main)


def test_who_comes_back_gets_what_was_missed(run: Run) -> None:
    async def main() -> None:
        async with serving() as server:
            async with client_of(server) as client:
                await client.ask(watch=BTC, since=None)
                last = (await client.read(f"trades.{BTC}", 5))[-1]
            trade(server, 100)
            async with client_of(server) as client:
                since = {"offset": last["offset"], "epoch": last["epoch"]}
                reply = await client.ask(watch=BTC, since=since)
                assert reply["recovered"] is True
                assert reply["epoch"] == last["epoch"]
                await client.read(f"trades.{BTC}", len(client.offsets()) + 5)
                offsets = client.offsets()
                assert offsets == [*range(last["offset"] + 1, offsets[-1] + 1)]
                assert reply["offset"] in offsets

    run(main)


@pytest.mark.parametrize("since", [{"offset": 0}, {"epoch": "another"}], ids=["old", "epoch"])
def test_who_was_away_for_too_long_gets_the_end_of_the_history(
    run: Run, since: Dict[str, Any]
) -> None:
    async def main() -> None:
        async with serving() as server:
            async with client_of(server) as client:
                now = await client.ask(watch=BTC, since=None)
            trade(server, HISTORY + 500)
            async with client_of(server) as client:
                asked = {"offset": now["offset"], "epoch": now["epoch"], **since}
                reply = await client.ask(watch=BTC, since=asked)
                assert reply["recovered"] is False
                assert len(client.offsets()) == BACKFILL
                assert client.offsets()[-1] == reply["offset"]

    run(main)


def test_unwatching(run: Run) -> None:
    async def main() -> None:
        async with serving() as server, client_of(server) as client:
            await client.ask(watch=BTC, since=None)
            assert await client.ask(unwatch=BTC) == {}
            client.topics.clear()
            await client.read("ticker", 3)
            assert {*client.topics} == {"ticker"}

    run(main)


def test_status(run: Run) -> None:
    async def main() -> None:
        async with serving() as server, client_of(server) as client:
            status = await client.ask(ask="status")
            assert status["gateway"].endswith(f":{server.url.rpartition(':')[2]}")
            assert (status["viewers"], status["replaced"]) == (1, 0)

    run(main)


def test_a_slow_client_gets_the_newest_book_and_all_trades(run: Run) -> None:
    async def main() -> None:
        async with serving(levels=100) as server, client_of(server) as client:
            await client.ask(watch=BTC, since=None)
            client.ws.transport.underlying_transport.pause_reading()
            (ours,) = server.open_connections
            for _ in range(5000):
                server.state.publisher.publish()
                if server.state.topics.stats_of(ours).replaced > 100:
                    break
                await asyncio.sleep(0)
            conflated = server.state.topics.stats_of(ours).replaced
            assert conflated > 100
            client.ws.transport.underlying_transport.resume_reading()
            end = (await client.ask(watch="ETH-USD", since=None)) and client.offsets()[-1]
            await client.read(f"book.{BTC}", 1)
            offsets = client.offsets()
            assert offsets == [*range(offsets[0], offsets[0] + len(offsets))]
            assert end in offsets
            numbers = [book["number"] for book in client.topics[f"book.{BTC}"]]
            assert numbers == sorted({*numbers})
            assert numbers[-1] - numbers[0] + 1 > len(numbers)

    run(main)


@pytest.mark.parametrize(
    "request_text",
    [
        "",
        "{}",
        "[]",
        "7",
        '{"id": 1}',
        '{"id": 1, "ask": "price"}',
        '{"id": 1, "watch": "DOGE-USD", "since": null}',
        '{"id": 1, "watch": ["BTC-USD"], "since": null}',
        '{"id": 1, "watch": "BTC-USD"}',
        '{"id": 1, "watch": "BTC-USD", "since": {"offset": -1, "epoch": ""}}',
        '{"id": 1, "watch": "BTC-USD", "since": {"offset": true, "epoch": ""}}',
        '{"id": 1, "watch": "BTC-USD", "since": {"offset": 1, "epoch": 1}}',
        '{"unwatch": "BTC-USD"}',
        '{"id": 1e999, "ask": "status"}',
        "[" * 100_000,
    ],
)
def test_an_unknown_request(run: Run, request_text: str) -> None:
    async def main() -> None:
        async with serving() as server, client_of(server) as client:
            await client.ws.send(request_text)
            with pytest.raises(WSConnectionClosed) as caught:
                await client.read("nothing", 1)
            assert caught.value.code == 1008
            await eventually(lambda: not server.open_connections)

    run(main)


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    options: Dict[str, Any] = {}
    if sys.platform != "win32":
        # A shell's background jobs ignore SIGINT, and so would every child of theirs.
        options["preexec_fn"] = functools.partial(
            signal.signal, signal.SIGINT, signal.default_int_handler
        )
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "examples.market", *arguments],
        cwd=str(ROOT),
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # where examples is; the rest is installed
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        **options,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_the_program() -> None:
    with started("--url", "ws://127.0.0.1:0") as program:
        assert program.stdout is not None
        line = program.stdout.readline()
        found = re.fullmatch(r"Open http://127.0.0.1:(\d+) in a browser; Ctrl-C to stop\n", line)
        assert found is not None, line
        message = asyncio.run(first_price(f"ws://127.0.0.1:{found[1]}/feed"))
        assert message["topic"] == "ticker"
        program.send_signal(signal.SIGINT)
        output, errors = program.communicate(timeout=TIMEOUT)
    assert (program.returncode, output, errors) == (0, "", "")


async def first_price(url: str) -> Dict[str, Any]:
    # It accepts connections as soon as its lifespan has begun, which prints the line.
    async for ws in connect(url, proxy=None):
        async with ws:
            return dict(json.loads(await ws.recv()))
    raise AssertionError


def test_wrong_arguments() -> None:
    with started("--no-publish") as program:
        _, errors = program.communicate(timeout=TIMEOUT)
    assert program.returncode == 2
    assert "--no-publish needs --backplane" in errors


async def get(server: WSServer, path: str) -> str:
    host, port = server.url.rpartition("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    response = (await reader.read()).decode()
    writer.close()
    return response


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [
        ("/", 200, "<title>Market</title>"),
        ("/?utm_source=x", 200, "<title>Market</title>"),
        ("/style.css", 200, "prefers-color-scheme"),
        ("/feed.js", 200, "WebSocket"),
        ("/vendor/uPlot.iife.min.js", 200, "uPlot (v"),
        ("/healthz", 200, "ok"),
        ("/readyz", 200, "ready"),
        ("/feed", 426, None),
        ("/../service.py", 404, None),
        ("/nothing", 404, None),
    ],
)
def test_pages(run: Run, path: str, status: int, content: Optional[str]) -> None:
    async def main() -> None:
        async with serving() as server:
            head, _, body = (await get(server, path)).partition("\r\n\r\n")
            assert head.startswith(f"HTTP/1.1 {status} ")
            assert (content or "") in body
            if path in {"/", "/feed.js"}:
                assert "Content-Security-Policy: default-src 'self'" in head

    run(main)
