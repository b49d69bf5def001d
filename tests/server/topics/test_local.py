"""Topics of one process: what is kept for whom, limits, rules that change."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, List

import pytest

from picows_codec import WSMsgType, WSPreparedMessage
from picows_server.topics import Position, Subscribed, Topics, WSTopicError
from tests.support.connection import Connection


def texts(connection: Connection) -> List[str]:
    return [frame.payload.decode() for frame in connection.sent()]


def subscribe_from(
    topics: Topics, connection: Connection, *args: Any, **options: Any
) -> Subscribed:
    return asyncio.run(topics.subscribe_from(connection.ws, *args, **options))


# Retained


def test_retained_messages_come_first() -> None:
    topics = Topics()
    topics.configure("kept.", retain=True)
    for number in range(3):
        topics.publish("kept.a", f"x{number}", key="x")
        topics.publish("kept.a", f"none{number}")
    topics.publish("kept.b", "another topic's")
    topics.publish("other", "not kept")
    connection = Connection("server")
    before = len(connection.transport.writes)
    assert topics.subscribe(connection.ws, "kept.a")
    assert len(connection.transport.writes) == before + 1
    topics.subscribe(connection.ws, "other")
    topics.publish("kept.a", "live")
    assert texts(connection) == ["x2", "none2", "live"]
    assert topics.forget("kept.a", key="x")
    assert not topics.forget("kept.a", key="x")
    assert not topics.forget("unknown")
    assert topics.stats().retained == 2


def test_retained_messages_for_one_who_is_spared() -> None:
    topics = Topics()
    topics.configure("drop", retain=True, when_slow="drop")
    topics.configure("latest", retain=True, when_slow="latest")
    for topic in ("drop", "latest"):
        topics.publish(topic, topic)
    connection = Connection("server", room=0, write_high_watermark=10, coalesce_writes=False)
    connection.ws.send(WSMsgType.TEXT, "x" * 20)
    for topic in ("drop", "latest"):
        assert topics.subscribe(connection.ws, topic)
    assert topics.stats_of(connection.ws).dropped == 1
    connection.transport.drain()
    assert texts(connection) == ["x" * 20, "latest"]


# History


def test_history() -> None:
    topics = Topics()
    topics.configure("h", history=3, envelope=lambda topic, payload, position: f"{position}")
    for number in range(5):
        assert topics.publish("h", str(number)) == 0
    first = Connection("server")
    found = subscribe_from(topics, first, "h")
    assert (found.position.offset, found.recovered) == (5, False)
    assert texts(first) == []
    topics.publish("h", "x")
    assert texts(first) == [str(Position(6, found.position.epoch))]
    for since, expected in ((3, [4, 5, 6]), (6, []), (2, None), (7, None)):
        other = Connection("server")
        position = Position(since, found.position.epoch)
        result = subscribe_from(topics, other, "h", position)
        assert result == (Position(6, position.epoch), expected is not None)
        assert len(texts(other)) == len(expected or [])
    other = Connection("server")
    assert not subscribe_from(topics, other, "h", (5, "another")).recovered
    other = Connection("server")
    assert not subscribe_from(topics, other, "h", last=2).recovered
    assert [text[:17] for text in texts(other)] == ["Position(offset=5", "Position(offset=6"]


def test_history_and_retained() -> None:
    """Who cannot be given what was missed gets what is retained."""
    topics = Topics()
    topics.configure("h", history=3, retain=True)
    for number in range(9):
        topics.publish("h", str(number), key=str(number % 4))
    found = []
    for options in ({}, {"last": 2}):
        connection = Connection("server")
        subscribe_from(topics, connection, "h", **options)
        found.append(texts(connection))
    assert found == [["5", "6", "7", "8"], ["7", "8"]]


def test_the_position_is_that_of_what_was_sent_first() -> None:
    """A live message that is dropped at once is a gap when the client comes back."""
    topics = Topics()
    topics.configure("h", history=9, when_slow="drop")
    topics.publish("h", "x" * 100)
    connection = Connection("server", room=0, write_high_watermark=10, coalesce_writes=False)
    connection.listener.act("pause_writing", lambda transport: topics.publish("h", "live"))
    found = subscribe_from(topics, connection, "h", last=1)
    assert texts(connection) == ["x" * 100]
    assert (found.position.offset, topics.stats_of(connection.ws).dropped) == (1, 1)
    connection.transport.drain()
    topics.unsubscribe(connection.ws, "h")
    assert subscribe_from(topics, connection, "h", found.position).recovered
    assert texts(connection) == ["live"]


def test_history_is_not_there_twice() -> None:
    topics = Topics()
    topics.configure("h", history=3)
    connection = Connection("server")
    subscribe_from(topics, connection, "h")
    with pytest.raises(WSTopicError, match="subscribed to 'h' already: unsubscribe it first"):
        subscribe_from(topics, connection, "h")
    with pytest.raises(WSTopicError, match=r"'x' has no history: .*configure\('x', history=1000\)"):
        subscribe_from(topics, connection, "x")
    connection.lose()
    connection.loop.run_ready()
    assert not subscribe_from(topics, connection, "h").recovered
    assert not subscribe_from(topics, connection, "h.unknown").recovered


def test_an_envelope_that_raises() -> None:
    """Nothing has happened then, and no offset is missing."""
    topics = Topics()
    wrong = [True]

    def envelope(topic: str, payload: bytes, position: Any) -> str:
        assert payload == b"x"
        if wrong[0]:
            raise ValueError("as asked for")
        return f"{topic} {position.offset}"

    topics.configure("h", history=3, envelope=envelope)
    topics.configure("kept", retain=True, envelope=envelope)
    connection = Connection("server")
    topics.subscribe(connection.ws, "h")
    for topic in ("h", "kept"):
        with pytest.raises(ValueError, match="as asked for"):
            topics.publish(topic, "x")
        assert topics.stats().rules[topic].published == 0
    assert topics.stats().topics == 1
    wrong[0] = False
    assert topics.publish("h", "x") == 1
    assert texts(connection) == ["h 1"]


def test_an_envelope_that_publishes_to_no_topic() -> None:
    """It is told at once, as everybody is."""
    topics = Topics()

    def envelope(topic: str, payload: bytes, position: Any) -> str:
        with pytest.raises(WSTopicError, match="topic must not be empty"):
            topics.publish("", payload)
        return "told"

    topics.configure("a", envelope=envelope)
    connection = Connection("server")
    topics.subscribe(connection.ws, "a")
    assert topics.publish("a", "x") == 1
    assert texts(connection) == ["told"]


def test_an_envelope_that_publishes() -> None:
    """That follows, and has a position of its own."""
    topics = Topics()
    counts: List[int] = []

    def envelope(topic: str, payload: bytes, position: Any) -> str:
        if payload == b"outer":
            counts.append(topics.publish("h", "inner"))
        return f"{position.offset} {payload.decode()}"

    topics.configure("h", history=3, envelope=envelope)
    connection, late = Connection("server"), Connection("server")
    topics.subscribe(connection.ws, "h")
    assert topics.publish("h", "outer") == 1
    assert counts == [0]
    assert texts(connection) == ["1 outer", "2 inner"]
    assert subscribe_from(topics, late, "h", last=3).position.offset == 2
    assert texts(late) == ["1 outer", "2 inner"]


def test_an_envelope_that_ends_its_topic() -> None:
    """Nothing is kept then, because nothing could drop it any more."""
    topics = Topics()
    connection = Connection("server")

    def leave(topic: str, payload: bytes, position: Any) -> bytes:
        topics.unsubscribe(connection.ws, topic)
        return payload

    def end_history(topic: str, payload: bytes, position: Any) -> bytes:
        topics.configure("h")
        return payload

    topics.configure("kept", retain=True, envelope=leave)
    topics.configure("h", history=3, envelope=end_history)
    for topic in ("kept", "h"):
        topics.subscribe(connection.ws, topic)
    assert [topics.publish(topic, "x") for topic in ("kept", "h")] == [0, 1]
    stats = topics.stats()
    assert (stats.topics, stats.retained, stats.history, stats.history_bytes) == (1, 0, 0, 0)
    assert (stats.rules["h"].published, stats.rules["h"].delivered) == (1, 1)


def test_what_follows_a_publish_and_cannot_be_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody waits for it any more: the one before it and those after it are published."""
    topics = Topics()

    def envelope(topic: str, payload: bytes, position: Any) -> bytes:
        if payload == b"wrong":
            raise ValueError("as asked for")
        return payload

    def publish_more(topic: str, payload: bytes, position: Any) -> bytes:
        for text in ("wrong", "right"):
            topics.publish("b", text)
        return payload

    topics.configure("a", envelope=publish_more)
    topics.configure("b", envelope=envelope)
    connection = Connection("server")
    for topic in ("a", "b"):
        topics.subscribe(connection.ws, topic)
    assert topics.publish("a", "first") == 1
    assert texts(connection) == ["first", "right"]
    assert "topic 'b': a message cannot be delivered" in caplog.text


def test_an_envelope_is_called_once() -> None:
    topics = Topics()
    calls: List[Any] = []

    def envelope(topic: str, payload: bytes, position: Any) -> bytes:
        calls.append(position)
        return payload

    topics.configure("", retain=True, envelope=envelope)
    for _ in range(3):
        topics.subscribe(Connection("server").ws, "a")
    topics.publish("a", "x")
    topics.subscribe(Connection("server").ws, "a")
    assert calls == [None]


def test_many_messages_that_follow_a_publish(caplog: pytest.LogCaptureFixture) -> None:
    """They are published one after the other, not each within the one before it."""
    topics = Topics()
    expected = [str(number) for number in range(2 * sys.getrecursionlimit())]

    def envelope(topic: str, payload: bytes, position: Any) -> bytes:
        for text in expected:
            topics.publish("b", text)
        return payload

    topics.configure("a", envelope=envelope)
    connection = Connection("server")
    for topic in ("a", "b"):
        topics.subscribe(connection.ws, topic)
    for _ in range(2):  # where the stack ends is another place then
        assert topics.publish("a", "first") == 1
        assert texts(connection) == ["first", *expected]
    assert not caplog.text


# Limits


def test_topics_of_a_connection() -> None:
    topics = Topics(max_topics_per_connection=2)
    connection = Connection("server")
    for topic in ("a", "b", "a"):
        assert topics.subscribe(connection.ws, topic)
    with pytest.raises(WSTopicError, match="subscribed to 2 topics, and max_topics_per_connection"):
        topics.subscribe(connection.ws, "c")
    topics.unsubscribe(connection.ws, "a")
    assert topics.subscribe(connection.ws, "c")
    assert topics.of(connection.ws) == ["b", "c"]


def test_number_of_topics() -> None:
    topics = Topics(max_topics=2)
    topics.configure("h", history=3)
    topics.publish("h1", "x")
    topics.publish("h2", "x")
    topics.publish("h1", "x")
    connection = Connection("server")
    found = subscribe_from(topics, connection, "h2")
    assert found.position.offset == 1
    topics.unsubscribe(connection.ws, "h2")
    topics.subscribe(connection.ws, "a")  # h1 makes room, which was published before h2 was left
    assert topics.subscribe(connection.ws, "b")  # and h2
    assert topics.stats().topics_evicted == 2
    assert (topics.stats().history, topics.stats().topics) == (0, 2)
    with pytest.raises(WSTopicError, match="2 topics with subscribers, and max_topics is 2"):
        topics.subscribe(connection.ws, "c")
    topics.publish("h3", "lost")
    assert topics.stats().topics_evicted == 3
    topics.unsubscribe(connection.ws, "a")
    again = subscribe_from(topics, connection, "h2", found.position)
    assert not again.recovered
    assert again.position.epoch != found.position.epoch


def test_topics_without_anything_are_dropped() -> None:
    topics = Topics()
    connection = Connection("server")
    topics.subscribe(connection.ws, "a")
    topics.publish("b", "nobody")
    assert topics.stats().topics == 1
    topics.unsubscribe(connection.ws, "a")
    assert not topics.unsubscribe(connection.ws, "a")
    assert topics.stats().topics == 0
    assert topics.stats().rules[""].published == 1


def test_topics_of_which_nothing_is_retained_any_more_are_dropped() -> None:
    topics = Topics(max_retained_bytes=1000)
    topics.configure("", retain=True)
    for number in range(10):
        topics.publish(f"order.{number}", "x")
    assert (topics.stats().topics, topics.stats().retained) == (2, 2)
    topics.publish("large", "x" * 1000)
    connection = Connection("server")
    topics.subscribe(connection.ws, "order.9")
    assert topics.forget("order.8")
    assert topics.forget("order.9")
    assert (topics.stats().topics, topics.stats().retained) == (1, 0)
    assert topics.publish("order.9", "y") == 1
    topics.unsubscribe(connection.ws, "order.9")
    assert (topics.stats().topics, topics.stats().retained) == (1, 1)


# Rules that change


def test_a_rule_for_topics_that_are_there() -> None:
    topics = Topics()
    topics.configure("a", history=3, retain=True)
    connection = Connection("server")
    topics.subscribe(connection.ws, "a1")
    for topic in ("a1", "a2"):
        topics.publish(topic, "x")
    assert (topics.stats().history, topics.stats().retained) == (2, 2)
    topics.configure("a", when_slow="drop")
    assert (topics.stats().history, topics.stats().retained) == (0, 0)
    assert topics.stats().topics == 1
    topics.configure("a", history=2)
    topics.publish("a1", "y")
    topics.configure("unrelated", history=2)
    assert topics.stats().history == 1
    assert topics.stats().rules["a"].published == 3


def test_a_shorter_history_for_topics_that_are_there() -> None:
    topics = Topics()
    topics.configure("h", history=3)
    for number in range(3):
        topics.publish("h", str(number))
    topics.configure("h", history=2)
    connection, other = Connection("server"), Connection("server")
    assert subscribe_from(topics, connection, "h", last=9).position.offset == 3
    assert texts(connection) == ["1", "2"]
    topics.configure("h", history=2, history_seconds=1e-9)
    subscribe_from(topics, other, "h", last=9)
    assert texts(other) == []


# In the middle of a publish


def test_what_happens_in_the_middle_of_a_publish() -> None:
    """Taps, finalizers and signal handlers run there: here, a finalizer during a write."""
    topics = Topics()
    topics.configure("", retain=True)
    links = [Connection("server", coalesce_writes=False) for _ in range(3)]
    newcomer = Connection("server")
    for link in links:
        topics.subscribe(link.ws, "a")
    counts: List[int] = []

    class Garbage:
        def __del__(self) -> None:
            counts.append(topics.publish("a", "2"))
            topics.unsubscribe(links[2].ws, "a")
            assert topics.subscribe(newcomer.ws, "a")

    links[0].transport.writes = Collecting(Garbage())
    assert topics.publish("a", WSPreparedMessage(WSMsgType.TEXT, "1")) == 2
    assert counts == [0]
    assert list(links[0].transport.writes)[-2:] == [b"\x81\x011", b"\x81\x012"]
    assert [texts(link) for link in links[1:]] == [["1", "2"], []]
    assert texts(newcomer) == ["1", "2"]


@pytest.mark.parametrize("way", ["subscribe", "subscribe_from"])
def test_what_happens_in_the_middle_of_a_subscription(way: str) -> None:
    """What is retained is sent then. The topic does not end, nor is it another one."""
    topics = Topics(max_topics=2)
    topics.configure("", retain=True, history=3)
    topics.publish("a", "1")
    topics.publish("b", "1")
    connection, other = (Connection("server", coalesce_writes=False) for _ in range(2))

    class Garbage:
        def __del__(self) -> None:
            topics.forget("a")
            topics.configure("")
            topics.subscribe(other.ws, "c")

    connection.transport.writes = Collecting(Garbage())
    if way == "subscribe":
        topics.subscribe(connection.ws, "a")
    else:
        subscribe_from(topics, connection, "a", last=1)
    assert topics.publish("a", "2") == 1
    assert topics.unsubscribe(connection.ws, "a")
    assert topics.stats().topics == 1


def test_unsubscribed_in_the_middle_of_a_publish_that_it_would_have_waited_for() -> None:
    topics = Topics()
    links = [Connection("server", coalesce_writes=False) for _ in range(2)]
    for link in links:
        topics.subscribe(link.ws, "a")
    links[0].ws.send(WSMsgType.TEXT, "1", fin=False)

    class Garbage:
        def __del__(self) -> None:
            topics.unsubscribe(links[0].ws, "a")

    links[1].transport.writes = Collecting(Garbage())
    assert topics.publish("a", "late") == 1
    links[0].ws.send(WSMsgType.CONTINUATION, "2")
    assert texts(links[0]) == ["1", "2"]


class Collecting(List[bytes]):
    """The writes of a transport, the first of which frees an object."""

    def __init__(self, garbage: object) -> None:
        self.garbage: Any = garbage

    def append(self, data: bytes) -> None:
        super().append(data)
        self.garbage = None


def test_a_prefix_that_looks_like_a_wildcard(caplog: pytest.LogCaptureFixture) -> None:
    topics = Topics()
    topics.configure("book.", retain=True)
    assert not caplog.records
    topics.configure("book.*", retain=True)
    (record,) = caplog.records
    assert record.message == (
        "configure('book.*'): this is a prefix, and its * no wildcard: write 'book.' for all topics"
        " that begin so"
    )
