"""Histories: what is missed since a position, and what makes room for what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List, Optional

import pytest

from picows_codec import WSMsgType, WSPreparedMessage
from picows_server.backplane.interface import HistoryRule, Position
from picows_server.topics.history import Histories, Kept, TopicHistory
from picows_server.topics.retention import KEPT_OVERHEAD
from tests.support.forks import in_child


def publish(histories: Histories, history: TopicHistory, rule: HistoryRule, count: int = 1) -> None:
    for _ in range(count):
        history.offset += 1
        message = WSPreparedMessage(WSMsgType.BINARY, bytes(10))
        histories.keep(history, rule, None, message)


def offsets(kept: Optional[List[Kept]]) -> Optional[List[int]]:
    return None if kept is None else [each.offset for each in kept]


def test_what_was_missed() -> None:
    histories, rule = Histories(None), HistoryRule(3)
    history = histories.new()
    epoch = history.epoch
    assert offsets(history.since(Position(0, epoch))) == []
    publish(histories, history, rule, 5)
    assert history.position == Position(5, epoch)
    found = [offsets(history.since(Position(offset, epoch))) for offset in range(-1, 7)]
    assert found == [None, None, None, [3, 4, 5], [4, 5], [5], [], None]
    assert history.since(Position(4, "another")) is None
    assert offsets(history.last(2)) == [4, 5]
    assert offsets(history.last(9)) == [3, 4, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_forked_processes_have_other_epochs(tmp_path: Path) -> None:
    histories, found = Histories(None), tmp_path / "epochs"

    def write() -> None:
        with found.open("a") as file:
            file.write(f"{histories.new().epoch}\n")

    for _ in range(2):
        assert in_child(write) == 0
    assert len(set(found.read_text().split())) == 2


def test_a_message_that_never_finds_room() -> None:
    """It is missing from its own history only."""
    histories, rule = Histories(4 * (KEPT_OVERHEAD + 10)), HistoryRule(5)
    first, second = histories.new(), histories.new()
    publish(histories, first, rule, 2)
    publish(histories, second, rule)
    first.offset += 1
    histories.keep(first, rule, None, WSPreparedMessage(WSMsgType.BINARY, bytes(5000)))
    publish(histories, first, rule)
    assert offsets(first.since(Position(3, first.epoch))) == [4]
    assert first.since(Position(2, first.epoch)) is None
    assert offsets(second.since(Position(0, second.epoch))) == [1]
    assert (len(histories), histories.evicted) == (2, 1)


def test_a_new_life_has_another_epoch() -> None:
    histories = Histories(None)
    first = histories.new()
    assert histories.new().epoch == first.epoch
    publish(histories, first, HistoryRule(3), 2)
    histories.end(first)
    assert histories.new().epoch != first.epoch
    assert (len(histories), histories.size) == (0, 0)
    assert Histories(None).new().epoch != first.epoch


def test_age() -> None:
    histories, rule, other = Histories(None), HistoryRule(10, 5.0), HistoryRule(10)
    now = [100.0]
    histories.clock = lambda: now[0]
    old, new, ageless = histories.new(), histories.new(), histories.new()
    publish(histories, ageless, other, 2)
    publish(histories, old, rule, 2)
    now[0] += 4.9
    publish(histories, new, rule)
    assert len(histories) == 5
    now[0] += 0.2
    publish(histories, new, rule)
    assert [len(each.kept) for each in (old, new, ageless)] == [0, 2, 2]
    assert histories.evicted == 0
    now[0] += 100
    for each, expected in ((new, rule), (ageless, other)):
        histories.expire(each, expected)
    assert [len(each.kept) for each in (old, new, ageless)] == [0, 0, 2]


def test_bytes() -> None:
    """The oldest of all rules makes room."""
    histories = Histories(4 * (KEPT_OVERHEAD + 10))
    now = [100.0]
    histories.clock = lambda: now[0]
    rules = [HistoryRule(10), HistoryRule(20)]
    topics = [histories.new(), histories.new()]
    for number in range(6):
        now[0] += 1
        publish(histories, topics[number % 2], rules[number % 2])
    assert [offsets(history.last(9)) for history in topics] == [[2, 3], [2, 3]]
    assert (len(histories), histories.evicted) == (4, 2)


def test_keys_that_grow() -> None:
    """CPython keeps the UTF-8 of a str that something in C has asked for."""
    histories, history = Histories(None), TopicHistory("e")
    key = "\u00e9" * 10
    histories.keep(history, HistoryRule(1), key, WSPreparedMessage(WSMsgType.TEXT, "x"))
    type(key, (), {})  # asks for the UTF-8 of its name
    histories.end(history)
    assert histories.size == 0


def test_what_is_dropped_early_does_not_gather() -> None:
    """One topic that is quiet keeps its message for ever, while others go on."""
    histories, rule = Histories(None), HistoryRule(2)
    quiet, busy = histories.new(), histories.new()
    publish(histories, quiet, rule)
    publish(histories, busy, rule, 10_000)
    (queue,) = histories._queues.values()
    assert len(queue.entries) < 200
    assert len(histories) == 3


def test_what_is_dropped_stays_in_no_memory() -> None:
    histories, history = Histories(None), TopicHistory("e")
    publish(histories, history, HistoryRule(60), 60)
    histories.end(history)
    assert histories.size == 0
    assert not any(queue.entries for queue in histories._queues.values())


def test_what_a_rule_kept_that_counts_no_more_does_not_stay() -> None:
    histories, former = Histories(None), HistoryRule(1000)
    history = histories.new()
    publish(histories, history, former, 1000)
    publish(histories, history, HistoryRule(10))
    assert len(histories._queues[former].entries) < 100
    publish(histories, history, HistoryRule(10), 100)
    histories.end(history)
    assert sum(len(queue.entries) for queue in histories._queues.values()) < 200


def test_a_rule_that_changes() -> None:
    histories = Histories(None)
    history = histories.new()
    publish(histories, history, HistoryRule(5), 5)
    publish(histories, history, HistoryRule(2), 1)
    assert offsets(history.last(9)) == [5, 6]
    assert len(histories) == 2


def test_a_rule_that_becomes_stricter() -> None:
    """It counts for what was kept before, too."""
    histories = Histories(None)
    now = [100.0]
    histories.clock = lambda: now[0]
    history = histories.new()
    publish(histories, history, HistoryRule(5), 5)
    histories.expire(history, HistoryRule(3))
    assert offsets(history.last(9)) == [3, 4, 5]
    now[0] += 10
    publish(histories, history, HistoryRule(3), 1)
    histories.expire(history, HistoryRule(3, 5.0))
    assert offsets(history.last(9)) == [6]
    assert len(histories) == 1
