"""picows_server.draining: when whom is told to leave, by a fake clock."""

from __future__ import annotations

import random
from typing import Any, List, Optional, Set, Tuple

import pytest

from picows_codec.testing import FakeLoop
from picows_server import WSInvalidOptionError
from picows_server.draining import Drain, DrainPlan
from tests.support.servers import quiet_logger

LONG = 3600.0


class Fleet:
    """Members that are only numbers, and what a drain does with them."""

    def __init__(self, size: int, numbers: Optional[random.Random] = None) -> None:
        self.loop = FakeLoop()
        self.began = self.loop.time()
        self.size = size
        self.half_open: Set[int] = set()
        self.left: List[Tuple[float, int]] = []
        self.events: List[Tuple[float, str]] = []
        self.drain: Any = None
        self._random = numbers or random.Random(1)

    def start(self, *, is_accepting: bool = True, **plan: Any) -> Drain:
        arguments: Any = {"loop": self.loop, "plan": DrainPlan(**plan), "logger": quiet_logger()}
        self.drain = Drain(
            **arguments,
            end_accepting=lambda: self._note("end_accepting"),
            members=lambda: list(range(self.size)),
            half_open=lambda: set(self.half_open),
            leave=self._leave,
            give_up=lambda: self._note("give_up"),
            random=self._random,
        )
        self.drain.start(is_accepting=is_accepting)
        return self.drain  # type: ignore[no-any-return]

    def _leave(self, member: int, code: int, reason: Optional[str]) -> None:
        assert (code, reason) == (self.drain._plan.code, self.drain._plan.reason)
        self.left.append((self.loop.time() - self.began, member))

    def _note(self, event: str) -> None:
        self.events.append((self.loop.time() - self.began, event))


def distance_from_uniform(times: List[float], spread: float) -> float:
    """The statistic of Kolmogorov and Smirnov: how far apart the distributions are at most."""
    ordered = sorted(times)
    count = len(ordered)
    return max(
        max((index + 1) / count - each / spread, each / spread - index / count)
        for index, each in enumerate(ordered)
    )


# By a fake clock


def test_everybody_leaves_once_uniformly_after_grace() -> None:
    fleet = Fleet(10_000)
    fleet.start(grace=5, spread=30, timeout=60)
    fleet.loop.advance(5)
    assert fleet.events == [(5.0, "end_accepting")]
    fleet.loop.advance(30)
    assert sorted(member for _, member in fleet.left) == list(range(10_000))
    times = [when - 5 for when, _ in fleet.left]
    assert min(times) >= 0
    assert max(times) <= 30
    # As many as are due at each time: better than independent random numbers, for which this
    # is below 0.0163 in 99 of 100 cases.
    assert distance_from_uniform(times, 30) < 0.001


def test_who_leaves_when_is_random() -> None:
    """The order says nothing about a member: every part of the list is spread out evenly."""
    fleet = Fleet(8_000)
    fleet.start(grace=0, spread=30, timeout=60)
    fleet.loop.advance(30)
    for start in range(0, 8_000, 2_000):
        times = [when for when, member in fleet.left if start <= member < start + 2_000]
        assert distance_from_uniform(times, 30) < 1.63 / 2_000**0.5


def test_single_connections_leave_at_any_time() -> None:
    """Many servers with one connection each are a fleet, too."""
    times = []
    numbers = random.Random(1)
    for _ in range(2_000):
        fleet = Fleet(1, numbers)
        fleet.start(grace=0, spread=30, timeout=60)
        fleet.loop.advance(31)
        ((when, _),) = fleet.left
        times.append(when)
    assert distance_from_uniform(times, 30) < 1.63 / 2_000**0.5


@pytest.mark.parametrize("spread", [0, 1])
def test_the_loop_goes_on_between_slices(spread: int) -> None:
    fleet = Fleet(10_000)
    seen: List[int] = []

    def look() -> None:
        seen.append(len(fleet.left))
        if len(fleet.left) < fleet.size:
            fleet.loop.call_soon(look)

    leave = fleet._leave

    def leave_and_look(member: int, *close: Any) -> None:
        leave(member, *close)
        if not seen:
            fleet.loop.call_soon(look)

    fleet._leave = leave_and_look  # type: ignore[method-assign]
    fleet.start(grace=0, spread=spread, timeout=60)
    fleet.loop.clock.now += 2  # the loop was blocked: all are due
    fleet.loop.advance(1)
    steps = [later - earlier for earlier, later in zip(seen, seen[1:])]
    assert seen[-1] == 10_000
    assert max(steps) <= 64
    assert len(seen) > 150


def test_no_timer_for_each_connection() -> None:
    fleet = Fleet(10_000)
    fleet.start(grace=5, spread=30, timeout=60)
    wakes = 0
    for _ in range(60 * 100):
        before = len(fleet.left)
        fleet.loop.advance(0.01)
        wakes += len(fleet.left) > before
        assert len(fleet.loop.timers) <= 2
        # 10,000 in 30 s: three or four in a hundredth of a second
        assert len(fleet.left) - before <= 8
    assert wakes > 2_000


def test_no_grace_for_a_server_that_does_not_accept() -> None:
    fleet = Fleet(1)
    fleet.start(is_accepting=False, grace=5, spread=0, timeout=60)
    assert fleet.events == [(0.0, "end_accepting")]
    assert fleet.left == [(0.0, 0)]


def test_timeout_counts_from_the_beginning() -> None:
    fleet = Fleet(10)
    fleet.start(grace=5, spread=30, timeout=60)
    fleet.loop.advance(59.9)
    assert fleet.events == [(5.0, "end_accepting")]
    fleet.loop.advance(1)
    assert fleet.events[1:] == [(60.0, "give_up")]
    assert not fleet.loop.timers


def test_a_grace_as_long_as_timeout() -> None:
    fleet = Fleet(10)
    fleet.start(grace=60, spread=0, timeout=60)
    fleet.loop.advance(60)
    assert fleet.events == [(60.0, "end_accepting"), (60.0, "give_up")]
    assert not fleet.loop.timers


def test_no_timeout() -> None:
    fleet = Fleet(10)
    fleet.start(grace=5, spread=30, timeout=None)
    fleet.loop.advance(1e6)
    assert len(fleet.left) == 10
    assert fleet.events == [(5.0, "end_accepting")]
    assert not fleet.loop.timers


def test_hurrying_during_grace() -> None:
    fleet = Fleet(100)
    drain = fleet.start(grace=5, spread=30, timeout=60)
    fleet.loop.advance(1)
    drain.hurry()
    fleet.loop.run_ready()
    assert fleet.events == [(1.0, "end_accepting")]
    assert {when for when, _ in fleet.left} == {1.0}
    assert len(fleet.left) == 100
    drain.hurry()
    fleet.loop.advance(60)
    assert len(fleet.left) == 100
    assert fleet.events[1:] == [(60.0, "give_up")]


def test_hurrying_during_spread() -> None:
    fleet = Fleet(1_000)
    drain = fleet.start(grace=5, spread=30, timeout=60)
    fleet.loop.advance(20)
    assert 450 < len(fleet.left) < 550
    drain.hurry()
    drain.hurry()
    fleet.loop.run_ready()
    assert len(fleet.left) == 1_000
    assert len({member for _, member in fleet.left}) == 1_000


def test_hurried_by_one_that_leaves() -> None:
    fleet = Fleet(1_000)
    leave = fleet._leave

    def leave_and_hurry(member: int, *close: Any) -> None:
        leave(member, *close)
        fleet.drain.hurry()

    fleet._leave = leave_and_hurry  # type: ignore[method-assign]
    fleet.start(grace=0, spread=30, timeout=60)
    fleet.loop.advance(30)
    assert sorted(member for _, member in fleet.left) == list(range(1_000))


def test_stopped() -> None:
    fleet = Fleet(1_000)
    drain = fleet.start(grace=0, spread=30, timeout=60)
    fleet.loop.advance(15)
    left = len(fleet.left)
    drain.stop()
    drain.hurry()
    fleet.loop.advance(60)
    assert len(fleet.left) == left
    assert not fleet.loop.timers


def test_stopped_by_the_last_one_that_leaves() -> None:
    fleet = Fleet(100)
    leave = fleet._leave

    def leave_and_stop(member: int, *close: Any) -> None:
        leave(member, *close)
        fleet.drain.stop()

    fleet._leave = leave_and_stop  # type: ignore[method-assign]
    fleet.start(grace=0, spread=0, timeout=60)
    fleet.loop.advance(60)
    assert len(fleet.left) == 1


def test_one_that_cannot_be_closed() -> None:
    fleet = Fleet(100)
    leave = fleet._leave

    def fail(member: int, *close: Any) -> None:
        leave(member, *close)
        if member == 50:
            raise OSError("no")

    fleet._leave = fail  # type: ignore[method-assign]
    fleet.start(grace=0, spread=0, timeout=60)
    fleet.loop.run_ready()
    assert len(fleet.left) == 100


def test_connections_that_open_meanwhile() -> None:
    """They leave at their own time, or at once if that has passed; before grace ends, nobody."""
    fleet = Fleet(100)
    fleet.half_open = {0, 1}
    drain = fleet.start(grace=5, spread=30, timeout=60)
    drain.opened(0)
    drain.opened(200)
    fleet.loop.advance(5)
    assert fleet.left == []
    drain.opened(1)
    drain.opened(300)  # it was none of the members
    assert [member for _, member in fleet.left] == [300]
    fleet.loop.advance(30)
    assert {member for _, member in fleet.left} == {*range(100), 300}
    left = len(fleet.left)
    drain.opened(1)
    assert [member for _, member in fleet.left[left:]] == [1]


# Plans


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"grace": -1}, "grace must be at least 0 and finite, not -1"),
        ({"spread": float("nan")}, "spread must be at least 0"),
        ({"timeout": float("inf")}, "timeout must be at least 0 and finite"),
        ({"timeout": 10**400}, "timeout must be at least 0 and finite"),  # beyond a float
        ({"grace": 31}, r"31 \+ 30 seconds are more than 60"),
        ({"timeout": 34.5}, r"grace and spread must end within timeout.* more than 34.5"),
        ({"prefix": "drain_", "timeout": 34.5}, "drain_grace and drain_spread must end within"),
        ({"prefix": "drain_", "grace": -1}, "drain_grace must be"),
    ],
)
def test_wrong_times(arguments: Any, text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=text):
        DrainPlan(**arguments)


@pytest.mark.parametrize("name", ["grace", "spread", "timeout"])
@pytest.mark.parametrize("value", ["5", True, b""])
def test_times_that_are_no_numbers(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds, not"):
        DrainPlan(**{name: value})


def test_times_that_just_fit() -> None:
    DrainPlan(30, 30, 60)
    DrainPlan(0, 0, 0)
    DrainPlan(1e6, 1e6, None)
    DrainPlan(0.1, 0.2, 0.3)
    with pytest.raises(WSInvalidOptionError):
        DrainPlan(0.1, 0.2, 0.299999)
