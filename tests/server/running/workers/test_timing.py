"""picows_server.running.workers.timing: patience in ticks, pauses before restarts."""

from __future__ import annotations

import pytest

from picows_server.running.workers.timing import Patience, RestartBackoff, Timing


def test_patience_is_counted_in_ticks() -> None:
    patience = Patience(3.0, 1.0)
    assert [patience.tick() for _ in range(5)] == [False, False, False, False, True]


def test_hearing_something_begins_it_again() -> None:
    patience = Patience(2.0, 0.5)
    for _ in range(20):
        assert not patience.tick()
        assert not patience.tick()
        patience.heard()
    assert [patience.tick() for _ in range(6)] == [False] * 5 + [True]


def test_endless_patience() -> None:
    patience = Patience(None, 1.0)
    assert not any(patience.tick() for _ in range(1000))


@pytest.mark.parametrize(("timeout", "tick"), [(30.0, 1.0), (4.0, 1.0), (1.0, 0.25)])
def test_ticks_are_shorter_than_the_patience(timeout: float, tick: float) -> None:
    assert Timing(worker_timeout=timeout).tick == tick


def _longest(_: float, highest: float) -> float:
    return highest


def test_pauses_grow_up_to_a_limit() -> None:
    backoff = RestartBackoff(Timing(first_pause=0.5, longest_pause=6.0), _longest)
    assert [backoff.died(1.0) for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0]
    assert [backoff.died(None) for _ in range(2000)] == [6.0] * 2000


def test_a_healthy_worker_is_replaced_at_once() -> None:
    backoff = RestartBackoff(Timing(healthy_after=60.0), _longest)
    for _ in range(5):
        backoff.died(None)
    assert backoff.died(60.0) == 0.0
    assert backoff.died(59.0) == 0.5


def test_pauses_are_random() -> None:
    drawn = [RestartBackoff(Timing(first_pause=2.0)).died(None) for _ in range(100)]
    assert all(1.0 <= pause <= 2.0 for pause in drawn)
    assert len(set(drawn)) > 10
