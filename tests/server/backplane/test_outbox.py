from __future__ import annotations

from typing import List

import pytest

from picows_server.backplane import BackplaneFull, HistoryRule
from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.envelope import decode_records
from picows_server.backplane.outbox import Batch, Outbox, OutboxBounds

RULE = HistoryRule(5)


def made(max_messages: int = 1000, max_bytes: int = 1_000_000) -> Outbox:
    return Outbox(EngineCounts(), OutboxBounds(max_messages, max_bytes))


def add(outbox: Outbox, topic: str, *payloads: bytes, history: object = None) -> None:
    for payload in payloads:
        outbox.add(topic, payload, 1, None, history, None)  # type: ignore[arg-type]


def payloads(batch: Batch) -> List[bytes]:
    return [payload for raw in batch.records for *_, payload in decode_records(raw, 0)]


def taken(outbox: Outbox) -> List[Batch]:
    batches = []
    while outbox.waiting:
        batches.append(outbox.take())
    return batches


def test_messages_of_a_topic_make_a_batch() -> None:
    outbox = made()
    add(outbox, "a", b"1", b"2")
    add(outbox, "b", b"3")
    add(outbox, "a", b"4")
    add(outbox, "a", b"5", history=RULE)
    batches = taken(outbox)
    assert [(batch.topic, payloads(batch)) for batch in batches] == [
        ("a", [b"1", b"2"]),
        ("b", [b"3"]),
        ("a", [b"4"]),
        ("a", [b"5"]),
    ]
    records = [decode_records(raw, 0)[0] for batch in batches for raw in batch.records]
    assert [(sequence, previous) for sequence, previous, *_ in records] == [
        (1, 0),
        (2, 1),
        (3, 0),
        (4, 2),
        (5, 0),
    ]


def test_batches_are_bounded() -> None:
    outbox = made()
    add(outbox, "a", *[b"x"] * 257, bytes(65_000), bytes(65_000))
    assert [len(batch.records) for batch in taken(outbox)] == [256, 2, 1]


def test_a_server_that_takes_less_at_once() -> None:
    outbox = made()
    add(outbox, "a", *[bytes([number]) * 1000 for number in range(10)])
    add(outbox, "b", b"1", b"2")
    (first, _), bounds = taken(outbox), outbox.bounds
    add(outbox, "c", bytes(1000), bytes(5000), bytes(1000), bytes(1000))
    outbox.rewind()
    messages, size = bounds.messages, bounds.bytes
    outbox.limit(4000)
    batches = taken(outbox)
    found = [(batch.topic, [len(each) for each in payloads(batch)]) for batch in batches]
    assert found == [
        ("a", [1000] * 3),
        ("a", [1000] * 3),
        ("a", [1000] * 3),
        ("a", [1000]),
        ("b", [1, 1]),
        ("c", [1000]),
        ("c", [5000]),
        ("c", [1000] * 2),
    ]
    assert [each[0] for batch in batches[:4] for each in payloads(batch)] == list(range(10))
    assert outbox._counts.resent == 12
    assert [batch.last for batch in batches[:4]] == [3, 6, 9, first.last]
    assert (bounds.messages, bounds.bytes, outbox.bytes_in_flight) == (messages, size, size)
    # From now on, too; and a larger one that follows takes more again.
    add(outbox, "d", *[bytes(1000)] * 5)
    outbox.limit(1_000_000)
    add(outbox, "e", *[bytes(1000)] * 70)
    batches = taken(outbox)
    assert [len(batch.records) for batch in batches] == [3, 2, 63, 7]
    for batch in outbox.sent():
        outbox.acknowledge(batch)
    assert bounds.messages == bounds.bytes == outbox.bytes_in_flight == 0


def test_all_is_sent_again_in_order() -> None:
    outbox = made()
    add(outbox, "a", b"1")
    add(outbox, "b", b"2")
    first, second = taken(outbox)
    add(outbox, "c", b"3")
    assert outbox.sent() == [first, second]
    outbox.acknowledge(first)
    outbox.acknowledge(first)
    outbox.rewind()
    assert outbox.bytes_in_flight == outbox.in_flight == 0
    # What was sent takes no more: the engine may have it.
    add(outbox, "c", b"4")
    again = taken(outbox)
    assert again[0] is second
    assert [payloads(batch) for batch in again] == [[b"2"], [b"3", b"4"]]
    outbox.fail(second)
    outbox.acknowledge(again[1])
    assert outbox.bounds.messages == outbox.bounds.bytes == outbox.bytes_in_flight == 0
    stats = outbox._counts.stats()
    assert (stats.published, stats.acknowledged, stats.failed, stats.resent) == (4, 3, 1, 1)


def test_a_batch_that_was_sent_takes_no_more() -> None:
    outbox = made()
    add(outbox, "a", b"1")
    (batch,) = taken(outbox)
    outbox.rewind()
    add(outbox, "a", b"2")
    assert [payloads(each) for each in taken(outbox)] == [[b"1"], [b"2"]]
    assert batch.is_sent


def test_bounds() -> None:
    outbox = made(max_messages=2)
    add(outbox, "a", b"1", b"2")
    with pytest.raises(BackplaneFull, match="2 messages"):
        add(outbox, "a", b"3")
    outbox = made(max_bytes=100)
    add(outbox, "a", bytes(1000))  # the first one always finds room
    with pytest.raises(BackplaneFull, match="max_pending_bytes=100"):
        add(outbox, "a", b"3")
    assert outbox._counts.refused == 1
    outbox.clear()
    assert (outbox.bounds.messages, outbox.bounds.bytes, outbox._counts.failed) == (0, 0, 1)


def test_topics_that_are_not_known_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picows_server.backplane.outbox._TOPICS_KNOWN", 2)
    outbox = made()
    for topic in "abcdea":
        add(outbox, topic, b"")
    last = taken(outbox)[-1]
    _, previous, *_ = decode_records(last.records[0], 0)[0]
    assert previous == 0


def test_batches_go_to_another_server() -> None:
    outbox = made(max_messages=6)
    other = Outbox(outbox._counts, outbox.bounds)
    add(outbox, "a", b"1")
    add(outbox, "b", b"2")
    first, second = taken(outbox)
    add(outbox, "a", b"3")
    add(outbox, "b", b"4")
    add(outbox, "a", b"5")
    assert outbox.topics() == {"a", "b"}
    assert outbox.has_sent("a")
    assert outbox.withdraw(first)
    assert not outbox.withdraw(first)
    assert not outbox.has_sent("a")
    assert outbox.take_topic("c") == []
    other.put([first, *outbox.take_topic("a")])
    assert (outbox.topics(), other.topics()) == ({"b"}, {"a"})
    assert outbox.bytes_in_flight == second.size
    # The numbering goes on, and the bounds are of both.
    add(other, "a", b"6")
    with pytest.raises(BackplaneFull, match="6 messages"):
        add(other, "a", b"7")
    batches = taken(other)
    assert [each for batch in batches for each in payloads(batch)] == [b"1", b"3", b"5", b"6"]
    records = [decode_records(raw, 0)[0] for batch in batches for raw in batch.records]
    assert [previous for _, previous, *_ in records] == [0, 1, 3, 5]
    for batch in batches:
        other.acknowledge(batch)
    outbox.clear()
    assert outbox.bounds.messages == outbox.bounds.bytes == 0
    stats = outbox._counts.stats()
    assert (stats.published, stats.acknowledged, stats.failed, stats.resent) == (6, 4, 2, 1)
