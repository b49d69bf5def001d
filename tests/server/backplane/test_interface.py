from __future__ import annotations

import pickle

import pytest

from picows_server import WSError
from picows_server.backplane import (
    BackplaneError,
    BackplaneFull,
    BackplaneStats,
    HistoryRule,
    Position,
    Publication,
)


def test_stats_add_up() -> None:
    one = BackplaneStats(published=3, gaps=1)
    other = BackplaneStats(published=4, silences=2)
    assert one + other == BackplaneStats(published=7, gaps=1, silences=2)
    assert sum([one, other]) == one + other
    with pytest.raises(TypeError):
        one + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        1 + one  # type: ignore[operator]
    assert pickle.loads(pickle.dumps(one)) == one


def test_errors_are_in_the_tree() -> None:
    assert issubclass(BackplaneFull, BackplaneError)
    assert issubclass(BackplaneError, WSError)


def test_what_is_left_out() -> None:
    assert HistoryRule(5) == (5, None)
    publication = Publication("a", b"b", 1)
    assert publication.key is None
    assert publication.position is None
    assert publication.token is None
    assert Position(1, "e") < Position(2, "e")
