"""picows_server.topics.stats: what topics count, added up."""

from __future__ import annotations

import pickle

import pytest

from picows_server import WSServerStats
from picows_server.backplane import BackplaneStats
from picows_server.topics import RuleStats, TopicsStats


def some(factor: int, *, has_backplane: bool = True) -> TopicsStats:
    return TopicsStats(
        topics=factor,
        subscriptions=2 * factor,
        history_evicted=3 * factor,
        rules={f"{factor}.": RuleStats(published=factor), "": RuleStats(1, 2, 3, 4, factor)},
        gaps=factor,
        backplane_down=1,
        backplane=BackplaneStats(published=factor, servers=factor) if has_backplane else None,
    )


def test_sums() -> None:
    total = some(1) + some(2)
    assert total == sum([some(1), some(2)])
    assert total == TopicsStats(
        topics=3,
        subscriptions=6,
        history_evicted=9,
        rules={
            "1.": RuleStats(published=1),
            "2.": RuleStats(published=2),
            "": RuleStats(2, 4, 6, 8, 3),
        },
        gaps=3,
        backplane_down=2,
        backplane=BackplaneStats(published=3, servers=3),
    )
    assert (some(1) + some(2, has_backplane=False)).backplane == some(1).backplane
    assert sum([some(1, has_backplane=False)] * 2).backplane is None
    assert some(1) == some(1)  # nobody has changed one of them
    for wrong in (1, None):
        with pytest.raises(TypeError):
            some(1) + wrong
        with pytest.raises(TypeError):
            wrong + some(1)
        with pytest.raises(TypeError):
            RuleStats() + wrong


def test_of_a_process_that_has_ended() -> None:
    ended = some(3).of_ended()
    assert ended == TopicsStats(
        history_evicted=9,
        rules=some(3).rules,
        gaps=3,
        backplane=BackplaneStats(published=3),
    )
    assert some(3, has_backplane=False).of_ended().backplane is None


def test_among_those_of_servers() -> None:
    with_topics, without = WSServerStats(opened=1, topics=some(1)), WSServerStats(opened=1)
    assert (with_topics + without).topics == (without + with_topics).topics == some(1)
    assert (with_topics + with_topics).topics == some(1) + some(1)
    assert (without + without).topics is None
    assert with_topics.of_ended().topics == some(1).of_ended()
    assert without.of_ended().topics is None
    assert pickle.loads(pickle.dumps(with_topics)) == with_topics
