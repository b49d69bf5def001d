"""A market that nobody trades on: prices, an order book of each symbol, and trades.

Only arithmetic: no clock, no network. The same seed and the same steps give the same market.

The logarithm of a price is an Ornstein-Uhlenbeck process: it wanders, and is drawn back to where it
began, so that a market which runs for weeks looks like one that has just been opened. The book is
what lies around that price. Orders come and go at its levels, trades take from the best one.
"""

from __future__ import annotations

import math
import random
from typing import Dict, List, Mapping, NamedTuple, Sequence

__all__ = ["INSTRUMENTS", "Book", "Instrument", "Level", "Market", "Trade"]

REVERSION = 600.0  # seconds in which a price comes back most of the way
CHANGES = 0.1  # share of the levels that somebody changes in a step


class Instrument(NamedTuple):
    """What is traded."""

    symbol: str
    price: float  # around which it moves
    tick: float  # the least difference of two prices
    lot: float  # the least difference of two sizes
    size: float  # of a usual level
    volatility: float  # of the price, relative, in a square root of a second
    trades: float  # in a second, on average

    @property
    def decimals(self) -> int:
        return max(0, -math.floor(math.log10(self.tick)))


INSTRUMENTS = (
    Instrument("BTC-USD", 64_000.0, 0.5, 0.001, 0.6, 0.00008, 6.0),
    Instrument("ETH-USD", 3_200.0, 0.05, 0.01, 8.0, 0.0001, 4.0),
    Instrument("SOL-USD", 150.0, 0.01, 0.1, 120.0, 0.00014, 3.0),
)


class Level(NamedTuple):
    price: float
    size: float


class Trade(NamedTuple):
    symbol: str
    price: float
    size: float
    side: str  # of who took: "buy" or "sell"


class Book(NamedTuple):
    """Both sides from the best price on."""

    bids: List[Level]
    asks: List[Level]


class Market:
    """The books and prices of several instruments."""

    def __init__(
        self, seed: int, levels: int = 100, instruments: Sequence[Instrument] = INSTRUMENTS
    ) -> None:
        chance = random.Random(seed)
        self._listings = {
            each.symbol: _Listing(each, levels, random.Random(chance.random()))
            for each in instruments
        }

    @property
    def symbols(self) -> List[str]:
        return list(self._listings)

    def step(self, seconds: float) -> List[Trade]:
        """Let time pass; returns what was traded meanwhile."""
        return [trade for each in self._listings.values() for trade in each.step(seconds)]

    def book(self, symbol: str) -> Book:
        return self._listings[symbol].book()

    def price(self, symbol: str) -> float:
        """The middle between the best two prices."""
        return self._listings[symbol].price

    def prices(self) -> Dict[str, float]:
        return {symbol: self.price(symbol) for symbol in self._listings}

    def move_to(self, prices: Mapping[str, float]) -> None:
        """Go on from other prices; those of unknown symbols are ignored."""
        for symbol in prices.keys() & self._listings.keys():
            self._listings[symbol].move_to(prices[symbol])


class _Listing:
    """One instrument. Prices are whole ticks in here, sizes whole lots."""

    def __init__(self, instrument: Instrument, levels: int, chance: random.Random) -> None:
        self.instrument = instrument
        self.levels = levels
        self.chance = chance
        self.deviation = 0.0  # of the price's logarithm from where it began
        self.gap = 0  # ticks between the best two prices that nobody offers
        # From a price in ticks to a size in lots, the best price first.
        self.bids: Dict[int, int] = {}
        self.asks: Dict[int, int] = {}
        self._surround()

    @property
    def price(self) -> float:
        return (next(iter(self.bids)) + next(iter(self.asks))) / 2 * self.instrument.tick

    def step(self, seconds: float) -> List[Trade]:
        pull = math.exp(-seconds / REVERSION)
        # Exact for any length of a step
        noise = self.instrument.volatility * math.sqrt(REVERSION / 2 * (1 - pull * pull))
        self.deviation = self.deviation * pull + noise * self.chance.gauss(0.0, 1.0)
        if self.chance.random() < CHANGES:
            self.gap = int(self.chance.expovariate(1.0))
        self._surround()
        self._change_levels()
        return [self._trade() for _ in range(self._count(self.instrument.trades * seconds))]

    def book(self) -> Book:
        return Book(
            [self._level(price, size) for price, size in self.bids.items()],
            [self._level(price, size) for price, size in self.asks.items()],
        )

    def move_to(self, price: float) -> None:
        self.deviation = math.log(price / self.instrument.price)
        self._surround()

    def _surround(self) -> None:
        """Put both sides around the price: with all levels, and without one on the wrong side."""
        ticks = self.instrument.price * math.exp(self.deviation) / self.instrument.tick
        bid = math.floor(ticks) - self.gap // 2
        ask = bid + 1 + self.gap
        self.bids = self._side(self.bids, range(bid, bid - self.levels, -1))
        self.asks = self._side(self.asks, range(ask, ask + self.levels))

    def _side(self, side: Dict[int, int], prices: range) -> Dict[int, int]:
        return {
            price: side.get(price) or self._size(distance) for distance, price in enumerate(prices)
        }

    def _size(self, distance: int) -> int:
        """Draw the size of a level; there is more of it away from the best price."""
        usual = self.instrument.size / self.instrument.lot * (0.3 + math.log1p(distance) / 2)
        return 1 + int(usual * self.chance.lognormvariate(0.0, 0.7))

    def _change_levels(self) -> None:
        for side, prices in ((self.bids, [*self.bids]), (self.asks, [*self.asks])):
            for _ in range(max(1, int(self.levels * CHANGES))):
                # Most of what happens in a book happens near its best price.
                distance = min(int(self.chance.expovariate(8.0 / self.levels)), self.levels - 1)
                side[prices[distance]] = self._size(distance)

    def _trade(self) -> Trade:
        is_buy = self.chance.random() < 0.5
        side = self.asks if is_buy else self.bids
        price = next(iter(side))
        wanted = 1 + int(self.instrument.size / self.instrument.lot * self.chance.expovariate(6.0))
        size = min(wanted, side[price])
        # What is taken completely is offered anew at once.
        side[price] = side[price] - size or self._size(0)
        level = self._level(price, size)
        return Trade(self.instrument.symbol, *level, "buy" if is_buy else "sell")

    def _count(self, mean: float) -> int:
        """Draw how often something happens that does so ``mean`` times on average (Poisson).

        The mean is small, because steps are short.
        """
        count, product, limit = 0, self.chance.random(), math.exp(-mean)
        while product > limit:
            count += 1
            product *= self.chance.random()
        return count

    def _level(self, price: int, lots: int) -> Level:
        return Level(
            round(price * self.instrument.tick, self.instrument.decimals),
            round(lots * self.instrument.lot, 6),
        )
