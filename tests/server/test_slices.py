"""picows_server.slices: a walk that lets the loop go on."""

from __future__ import annotations

from typing import Any, List, Set

import pytest

from picows_codec.testing.clock import FakeLoop
from picows_server.slices import SLICE, in_slices


class CountingLoop(FakeLoop):
    """Notes how many items each iteration of the loop has added."""

    def __init__(self, done: List[int]) -> None:
        super().__init__()
        self.slices: List[int] = []
        self._done = done

    def note(self) -> None:
        self.slices.append(len(self._done) - sum(self.slices))

    def _run(self, handle: Any) -> None:
        super()._run(handle)
        self.note()


@pytest.mark.parametrize("count", [0, 1, SLICE, SLICE + 1, 1000])
def test_slices(count: int) -> None:
    done: List[int] = []
    loop: Any = CountingLoop(done)
    in_slices(loop, range(count), done.append)
    loop.note()
    loop.run_ready()
    assert done == list(range(count))
    full, rest = divmod(count, SLICE)
    assert loop.slices == ([SLICE] * full + [rest] * bool(rest) or [0])


def test_items_that_change_meanwhile() -> None:
    loop: Any = FakeLoop()
    items = set(range(3 * SLICE))
    done: Set[int] = set()

    def replace(item: int) -> None:
        done.add(item)
        items.discard(item)
        items.add(-item)

    in_slices(loop, items, replace)
    loop.run_ready()
    assert done == set(range(3 * SLICE))


def test_an_exception_does_not_end_the_walk() -> None:
    loop: Any = FakeLoop()
    done: List[int] = []

    def fail(item: int) -> None:
        done.append(item)
        if item % 2:
            raise LookupError(item)

    with pytest.raises(LookupError):
        in_slices(loop, range(10), fail)
    raised = 1
    while len(done) < 10:
        try:
            loop.run_ready()
        except LookupError:
            raised += 1
    assert done == list(range(10))
    assert raised == 5
