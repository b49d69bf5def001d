"""The wheel against a model of it, and what it costs: in steps, not in time."""

from __future__ import annotations

import gc
import random
from typing import Dict, List, Set
from weakref import ref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from picows_codec.timer_wheel import TimerWheel, WheelMember

BUCKETS = 4096  # ticks that the wheel reaches ahead
DAY = 86400 * 200  # ticks of 5 ms

MEMBERS = st.integers(0, 11)
AHEAD = st.one_of(
    st.integers(-3, 10),
    st.integers(0, 300),
    st.integers(BUCKETS - 70, BUCKETS + 70),
    st.integers(0, 3 * DAY),
)


class Model(RuleBasedStateMachine):
    """Who is due when, in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.members = [WheelMember() for _ in range(12)]
        self.now = 1000
        self.wheel = TimerWheel(self.now)
        self.ticks: Dict[WheelMember, int] = {}
        self.due: Set[WheelMember] = set()
        self.far: Set[WheelMember] = set()  # further away than the wheel reaches, when set

    @rule(index=MEMBERS, ahead=AHEAD)
    def set(self, index: int, ahead: int) -> None:
        member = self.members[index]
        self.wheel.set(member, self.now + ahead)
        self.ticks[member] = max(self.now + ahead, self.now + 1)
        self.due.discard(member)
        self.far.discard(member)
        if ahead >= BUCKETS:
            self.far.add(member)

    @rule(index=MEMBERS)
    def remove(self, index: int) -> None:
        member = self.members[index]
        self.wheel.remove(member)
        self.ticks.pop(member, None)
        self.due.discard(member)

    def collect(self, tick: int) -> None:
        self.due |= {member for member, when in self.ticks.items() if when <= tick}

    @rule(ahead=AHEAD)
    def advance(self, ahead: int) -> None:
        self.wheel.advance(self.now + ahead)
        self.now = max(self.now, self.now + ahead)
        self.collect(self.now)

    @rule()
    def advance_to_the_next(self) -> None:
        self.advance(self.wheel.earliest() - self.now)

    @rule(ahead=AHEAD, grace=st.integers(0, 1000))
    def postpone(self, ahead: int, grace: int) -> None:
        self.now = max(self.now, self.now + ahead)
        self.wheel.postpone(self.now, self.now + grace)
        self.collect(self.now + grace)
        for member in self.due:
            self.ticks[member] = self.now + max(grace, 1)
        self.due.clear()

    @rule(most=st.integers(1, 20))
    def take(self, most: int) -> None:
        for _ in range(most):
            member = self.wheel.take()
            if member is not None:
                self.due.remove(member)
                del self.ticks[member]

    @rule()
    def take_all(self) -> None:
        while self.wheel.has_due():
            self.take(1)
        assert not self.due

    @invariant()
    def has_what_the_model_has(self) -> None:
        assert len(self.wheel) == len(self.ticks)
        assert self.wheel.is_empty() == (not self.ticks)
        assert self.wheel.now == self.now
        assert self.wheel.has_due() or not self.due

    @invariant()
    def never_sleeps_too_long(self) -> None:
        waiting = [when for member, when in self.ticks.items() if member not in self.due]
        earliest = self.wheel.earliest()
        assert self.now <= earliest < self.now + BUCKETS
        if waiting and not self.wheel.has_due():
            assert self.now < earliest <= min(waiting)
        if self.far.isdisjoint(self.ticks):
            assert earliest == min(waiting, default=self.now)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=200, stateful_step_count=60)


def drain(wheel: TimerWheel) -> List[WheelMember]:
    """Take whoever is due."""
    taken = []
    while wheel.has_due():
        member = wheel.take()
        if member is not None:
            taken.append(member)
    return taken


def test_order() -> None:
    wheel = TimerWheel()
    members = [WheelMember() for _ in range(1000)]
    draw = random.Random(1)
    ticks = [draw.randrange(1, 50) for _ in members]
    for member, tick in zip(members, ticks):
        wheel.set(member, tick)
    # By tick, then in the order in which they were set.
    expected = [member for _, member in sorted(zip(ticks, members), key=lambda pair: pair[0])]
    wheel.advance(49)
    assert drain(wheel) == expected


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_sweep_looks_at_those_who_are_due(size: int) -> None:
    """Each call of ``take`` looks at one member, and there is no other look at any."""
    wheel = TimerWheel()
    members = [WheelMember() for _ in range(size)]
    for index, member in enumerate(members):
        wheel.set(member, 1 + index * 1000 // size)
    looks = 0
    for tick in range(1, 1001):
        wheel.advance(tick)
        while wheel.has_due():
            assert wheel.take() is not None
            looks += 1
    assert looks == size


def test_who_is_far_away_is_looked_at_once_in_a_turn() -> None:
    wheel = TimerWheel()
    member = WheelMember()
    wheel.set(member, DAY)
    looks = 0
    while len(wheel):
        assert wheel.now < wheel.earliest() <= DAY
        wheel.advance(wheel.earliest())
        assert (wheel.take() is member) == (wheel.now == DAY)
        looks += 1
    assert looks <= DAY // (BUCKETS - 1) + 1


def test_a_deadline_that_moves_with_each_message() -> None:
    wheel = TimerWheel()
    moving, other = WheelMember(), WheelMember()
    wheel.set(other, 3000)
    for tick in range(2000):
        wheel.advance(tick)
        wheel.set(moving, tick + 1000)
        assert len(wheel) == 2
    # Nothing is left in the buckets that it has passed.
    assert wheel.earliest() == 2999
    wheel.remove(moving)
    assert wheel.earliest() == 3000


def test_changes_among_those_who_are_due() -> None:
    wheel = TimerWheel()
    members = [WheelMember() for _ in range(5)]
    for member in members:
        wheel.set(member, 1)
    wheel.advance(1)
    assert wheel.take() is members[0]
    wheel.remove(members[1])
    wheel.set(members[2], 1)
    wheel.set(members[0], 0)
    assert drain(wheel) == members[3:]
    wheel.advance(2)
    assert drain(wheel) == [members[2], members[0]]
    assert wheel.is_empty()


def test_late_ones_wait_and_new_ones_do_not() -> None:
    wheel = TimerWheel()
    late, soon, later, new = (WheelMember() for _ in range(4))
    wheel.set(late, 10)
    wheel.set(soon, 150)
    wheel.set(later, 300)
    wheel.postpone(100, 200)
    wheel.set(new, 120)
    for tick, member in ((120, new), (200, late), (200, soon), (300, later)):
        if not wheel.has_due():
            assert wheel.earliest() == tick
            wheel.advance(tick)
        assert wheel.take() is member
    assert wheel.is_empty()


def test_members_are_kept_while_they_wait() -> None:
    wheel = TimerWheel()
    member = Weak()
    seen = ref(member)
    wheel.set(member, 5)
    del member
    assert seen() is not None
    wheel.advance(5)
    wheel.take()
    assert seen() is None
    # A cycle through the wheel is garbage.
    owner = Owner()
    owner.wheel = wheel
    wheel.set(owner, 9)
    seen_owner = ref(owner)
    del owner, wheel
    gc.collect()
    assert seen_owner() is None


class Weak(WheelMember):
    pass


class Owner(WheelMember):
    wheel: TimerWheel


def test_misuse() -> None:
    wheel, other = TimerWheel(), TimerWheel()
    member = WheelMember()
    wheel.set(member, 5)
    with pytest.raises(ValueError, match="in another wheel"):
        other.set(member, 5)
    other.remove(member)
    assert len(wheel) == 1
    with pytest.raises(TypeError):
        wheel.set(None, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        wheel.remove(None)  # type: ignore[arg-type]
