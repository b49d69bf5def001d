"""Retained messages: one for each key, in order, within their bytes."""

from __future__ import annotations

from picows_codec import WSMsgType, WSPreparedMessage
from picows_server.topics.retention import KEPT_OVERHEAD, Retained, Retention, kept_size


def message(size: int) -> WSPreparedMessage:
    return WSPreparedMessage(WSMsgType.BINARY, bytes(size))


def test_the_last_one_of_each_key() -> None:
    retention = Retention(None)
    retained = Retained("a")
    first, second, third = message(1), message(2), message(3)
    retention.keep(retained, "a", first)
    retention.keep(retained, None, second)
    retention.keep(retained, "a", third)
    assert list(retained.items()) == [(None, second), ("a", third)]
    assert (len(retention), retention.size) == (2, kept_size(third, "a") + kept_size(second, None))
    assert retention.size > 5 + 2 * KEPT_OVERHEAD  # and the key


def test_the_oldest_one_of_all_topics_makes_room() -> None:
    retention = Retention(3 * kept_size(message(10), "1"))
    topics = [Retained("first"), Retained("second")]
    for number in range(4):
        retention.keep(topics[number % 2], str(number), message(10))
    assert [list(retained) for retained in topics] == [["2"], ["1", "3"]]
    assert (len(retention), retention.evicted) == (3, 1)
    retention.keep(topics[0], "large", message(5000))
    # It would not find room if all others went.
    assert [list(retained) for retained in topics] == [["2"], ["1", "3"]]
    retention.keep(topics[1], "1", message(5000))  # nor does an older one stand in for it
    assert [list(retained) for retained in topics] == [["2"], ["3"]]
    assert (len(retention), retention.evicted) == (2, 3)


def test_topics_without_any() -> None:
    """Whoever keeps a message learns which topics have lost their last one for it."""
    retention = Retention(2 * kept_size(message(10), "a"))
    topics = [Retained("first"), Retained("second"), Retained("third")]
    assert retention.keep(topics[0], "a", message(10)) == []
    assert retention.keep(topics[0], "b", message(10)) == []
    assert retention.keep(topics[1], "a", message(10)) == []
    assert retention.keep(topics[2], "a", message(10)) == ["first"]
    assert retention.keep(topics[2], "b", message(5000)) == []
    assert retention.keep(topics[2], "a", message(5000)) == ["third"]


def test_forgetting() -> None:
    retention = Retention(None)
    retained = Retained("a")
    for key in ("a", "b", "c"):
        retention.keep(retained, key, message(1))
    assert retention.forget(retained, "a")
    assert not retention.forget(retained, "a")
    retention.forget_all(retained)
    assert (retained, len(retention), retention.size, retention.evicted) == ({}, 0, 0, 0)
