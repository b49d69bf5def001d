"""Slow subscribers under each rule, and messages that meet a fragmented one."""

from __future__ import annotations

from typing import Any, List

import pytest

from picows_codec import WSDisconnectKind, WSState, WSTransport
from picows_server.topics import SubscriberStats, Topics
from tests.support.connection import Connection, kind_of
from tests.support.deflate import DeflateConnection, inflated
from tests.support.frames import CONTINUATION, PING, TEXT


def slow(**options: Any) -> Connection:
    """A connection whose kernel takes nothing, beyond its watermark after 100 bytes."""
    limits = {"write_high_watermark": 100, "coalesce_writes": False, **options}
    return Connection("server", room=0, **limits)


def texts(connection: Connection) -> List[str]:
    return [frame.payload.decode() for frame in connection.sent()]


def paused(topics: Topics, topic: str, **options: Any) -> Connection:
    """One that has subscribed, and is beyond its watermark."""
    connection = slow(**options)
    assert topics.subscribe(connection.ws, topic)
    connection.ws.send(TEXT, "x" * 100)
    assert texts(connection) == ["x" * 100]
    return connection


def test_disconnect() -> None:
    topics = Topics()
    connection = paused(topics, "a", max_write_queue_size=1000)
    fine = Connection("server")
    topics.subscribe(fine.ws, "a")
    counts = [topics.publish("a", "y" * 400) for _ in range(5)]
    assert counts == [2, 2, 1, 1, 1]
    assert kind_of(connection) is WSDisconnectKind.SLOW_CONSUMER
    assert topics.stats().rules[""].disconnected == 1
    assert topics.stats().rules[""].delivered == 7
    connection.loop.run_ready()
    assert topics.subscribers("a") == [fine.ws]


def test_drop() -> None:
    topics = Topics()
    topics.configure("a", when_slow="drop")
    connection = paused(topics, "a.1")
    assert [topics.publish("a.1", str(number)) for number in range(3)] == [0, 0, 0]
    assert topics.stats_of(connection.ws) == SubscriberStats(topics=1, dropped=3)
    connection.transport.drain()
    assert topics.publish("a.1", "3") == 1
    assert texts(connection) == ["3"]
    assert topics.stats().rules["a"].dropped == 3


def test_latest() -> None:
    topics = Topics()
    topics.configure("a", when_slow="latest")
    connection = paused(topics, "a")
    for number in range(10):
        for key in ("x", "y", None):
            assert topics.publish("a", f"{key}{number}", key=key) == 0
    topics.publish("a", "z", key="z")
    stats = topics.stats_of(connection.ws)
    assert (stats.waiting, stats.replaced) == (4, 27)
    assert texts(connection) == []
    connection.transport.drain()
    assert texts(connection) == ["x9", "y9", "None9", "z"]
    assert topics.stats_of(connection.ws) == SubscriberStats(topics=1, replaced=27)
    assert topics.stats().rules["a"].delivered == 4


def test_latest_stops_at_the_watermark() -> None:
    topics = Topics()
    topics.configure("a", when_slow="latest")
    connection = paused(topics, "a", write_low_watermark=10)
    for key in range(4):
        topics.publish("a", bytes([65 + key]) * 60_000, key=str(key))
    connection.transport.drain()
    assert [text[0] for text in texts(connection)] == ["A"]
    topics.publish("a", "new", key="0")
    found = []
    for waiting in (4, 3, 2):
        assert topics.stats_of(connection.ws).waiting == waiting
        connection.transport.drain()
        found += [text[0] for text in texts(connection)]
    assert found == ["B", "C", "D"]
    connection.transport.drain()
    assert texts(connection) == ["new"]


def test_one_for_whom_nothing_waits_any_more() -> None:
    """The next publish does not look for it, also if what waited was sent in parts."""
    topics = Topics()
    topics.configure("", when_slow="latest")
    connection = paused(topics, "a", write_low_watermark=10)
    topics.subscribe(connection.ws, "b")
    for topic in ("a", "b"):
        topics.publish(topic, topic * 60_000)
    for topic in ("a", "b"):
        connection.transport.drain()
        assert texts(connection) == [topic * 60_000]
    connection.transport.drain()
    for topic in ("a", "b"):
        assert topics.publish(topic, "new") == 1
        found = topics._local.get(topic)
        assert found is not None
        assert found._behind is None


def test_latest_of_a_connection_that_ends() -> None:
    topics = Topics()
    topics.configure("a", when_slow="latest")
    connection = paused(topics, "a")
    topics.publish("a", "1")
    connection.lose()
    assert texts(connection) == []
    assert topics.stats().connections == 0


def test_latest_has_the_cap_of_the_queue() -> None:
    """Memory grows with keys, so too many of them end the connection."""
    topics = Topics()
    topics.configure("a", when_slow="latest")
    connection = paused(topics, "a", max_write_queue_size=10_000)
    count = 0
    while connection.ws.state is WSState.OPEN:
        topics.publish("a", "x" * 100, key=str(count))
        count += 1
    assert 10 < count < 50
    assert kind_of(connection) is WSDisconnectKind.SLOW_CONSUMER
    assert "use fewer keys" in str(connection.cause)
    assert topics.stats().rules["a"].disconnected == 1


def test_unsubscribing_takes_what_waits() -> None:
    topics = Topics()
    topics.configure("", when_slow="latest")
    connection = paused(topics, "a")
    topics.subscribe(connection.ws, "b")
    topics.publish("a", "a")
    topics.publish("b", "b")
    assert topics.unsubscribe(connection.ws, "a")
    connection.transport.drain()
    assert texts(connection) == ["b"]


def test_the_listener_resumes_first() -> None:
    topics = Topics()
    topics.configure("", when_slow="latest")
    connection = paused(topics, "a")
    connection.listener.act("resume_writing", lambda transport: transport.send(TEXT, "first"))
    topics.publish("a", "waiting")
    connection.transport.drain()
    assert texts(connection) == ["first", "waiting"]


def test_publishing_when_writing_is_resumed() -> None:
    """The newer message goes first, so the older one of its key must not follow it."""
    topics = Topics()
    topics.configure("", when_slow="latest")
    links = [paused(topics, "a") for _ in range(2)]
    for key in ("x", "y"):
        topics.publish("a", f"old {key}", key=key)

    def publish(transport: WSTransport) -> None:
        topics.publish("a", "new x", key="x")
        topics.publish("a", "new y", key="y", exclude=transport)

    links[0].listener.act("resume_writing", publish)
    links[0].transport.drain()
    assert texts(links[0]) == ["new x", "old y"]
    stats = topics.stats_of(links[0].ws)
    assert (stats.waiting, stats.waiting_bytes, stats.replaced) == (0, 0, 1)
    links[1].transport.drain()
    assert texts(links[1]) == ["new x", "new y"]
    assert topics.stats().rules[""].replaced == 3


def test_a_rule_that_lets_nobody_wait_any_more() -> None:
    topics = Topics()
    topics.configure("", when_slow="latest")
    connection = paused(topics, "a")
    for key in ("x", "y"):
        topics.publish("a", f"old {key}", key=key)
    topics.configure("", when_slow="disconnect")
    assert topics.publish("a", "new x", key="x") == 1
    connection.transport.drain()
    assert texts(connection) == ["new x", "old y"]


@pytest.mark.parametrize("when_slow", ["latest", "disconnect"])
def test_unsubscribed_while_what_has_waited_is_sent(when_slow: str) -> None:
    """A finalizer during a write does it here. What is not sent yet is not sent any more."""
    topics = Topics()
    topics.configure("", when_slow=when_slow)
    connection = slow(write_low_watermark=10)
    for topic in ("a", "b"):
        topics.subscribe(connection.ws, topic)
    is_latest = when_slow == "latest"
    connection.ws.send(TEXT, "x" * 101, fin=is_latest)
    for topic in ("a", "b"):
        topics.publish(topic, topic * 60_000)

    class Garbage:
        def __del__(self) -> None:
            assert topics.unsubscribe(connection.ws, "b")

    garbage = [Garbage()]

    class Collecting(List[bytes]):
        def append(self, data: bytes) -> None:
            super().append(data)
            if data[-1:] == b"a":
                garbage.clear()

    connection.transport.writes = Collecting(connection.transport.writes)
    if is_latest:
        connection.transport.drain()
    else:
        connection.ws.send(CONTINUATION, "end")
    assert topics.stats_of(connection.ws) == SubscriberStats(topics=1)
    connection.transport.drain()
    expected = ["x", "a"] if is_latest else ["x", "e", "a"]
    assert [text[0] for text in texts(connection)] == expected


# Fragments


@pytest.mark.parametrize("when_slow", ["disconnect", "drop", "latest"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_wait_for_the_last_fragment(when_slow: str, compression: Any) -> None:
    topics = Topics()
    topics.configure("", when_slow=when_slow)
    kind = Connection if compression is None else DeflateConnection
    connection = kind("server", compression=compression, coalesce_writes=False)
    topics.subscribe(connection.ws, "a")
    connection.ws.send(TEXT, "1", fin=False)
    assert topics.publish("a", "3") == 0
    connection.ws.send_ping()
    connection.ws.send(CONTINUATION, "2", fin=False)
    assert topics.publish("a", "4") == 0
    assert topics.stats_of(connection.ws).waiting == (1 if when_slow == "latest" else 2)
    buffer = bytearray(14) + b"x"
    connection.ws.send_reuse_external_bytearray(CONTINUATION, buffer, 14)
    stats = topics.stats_of(connection.ws)
    assert (stats.waiting, stats.waiting_bytes) == (0, 0)
    rest = ["4"] if when_slow == "latest" else ["3", "4"]
    sent = [frame for frame in connection.sent() if frame.opcode <= TEXT]
    if compression is not None:
        assert [frame.fin for frame in sent] == [False, False, True] + [True] * len(rest)
        sent = sent[3:]
        assert [inflated(each.payload) if each.rsv else each.payload for each in sent] == [
            text.encode() for text in rest
        ]
    else:
        assert [frame.payload.decode() for frame in sent] == ["1", "2", "x", *rest]
    assert topics.publish("a", "5") == 1
    assert topics.stats_of(connection.ws).waiting == 0


def test_fragments_that_never_end_have_limits() -> None:
    topics = Topics()
    topics.configure("drop", when_slow="drop")
    connection = slow(max_write_queue_size=5000, write_high_watermark=1000)
    for topic in ("drop", "all"):
        topics.subscribe(connection.ws, topic)
    connection.ws.send(TEXT, "1", fin=False)
    for _ in range(20):
        topics.publish("drop", "x" * 100)
    assert topics.stats_of(connection.ws).waiting == 3
    while connection.ws.state is WSState.OPEN:
        topics.publish("all", "x" * 100)
    assert kind_of(connection) is WSDisconnectKind.SLOW_CONSUMER


def test_nothing_waits_for_one_whose_last_fragment_fills_the_queue() -> None:
    topics = Topics()
    topics.configure("", when_slow="latest")
    connection = slow(max_write_queue_size=4000)
    topics.subscribe(connection.ws, "a")
    connection.ws.send(TEXT, "1", fin=False)
    for key in ("x", "y"):
        topics.publish("a", "x" * 1000, key=key)
    connection.ws.send(CONTINUATION, "x" * 3500)
    assert kind_of(connection) is WSDisconnectKind.SLOW_CONSUMER
    assert topics.stats_of(connection.ws) == SubscriberStats(topics=1)
    assert topics.stats().rules[""].disconnected == 1


def test_retained_messages_that_find_no_room_behind_a_fragment() -> None:
    """They end the connection once, and none waits for it any more."""
    topics = Topics()
    topics.configure("a", retain=True)
    for key in range(10):
        topics.publish("a", "x" * 1000, key=str(key))
    connection = slow(max_write_queue_size=4500)
    connection.ws.send(TEXT, "x" * 4000, fin=False)
    topics.subscribe(connection.ws, "a")
    assert kind_of(connection) is WSDisconnectKind.SLOW_CONSUMER
    assert topics.stats_of(connection.ws) == SubscriberStats(topics=1)
    assert topics.stats().rules["a"].disconnected == 1


def test_fragments_of_one_that_is_slow() -> None:
    """What waited for the last fragment then has to wait for the queue, or is dropped."""
    topics = Topics()
    topics.configure("drop", when_slow="drop")
    topics.configure("latest", when_slow="latest")
    connection = slow()
    for topic in ("drop", "latest", "all"):
        topics.subscribe(connection.ws, topic)
    connection.ws.send(TEXT, "x" * 100, fin=False)
    for topic in ("drop", "latest", "all"):
        topics.publish(topic, topic)
    connection.ws.send(CONTINUATION, "end")
    assert texts(connection) == ["x" * 100, "end", "all"]
    assert topics.stats_of(connection.ws).dropped == 1
    connection.transport.drain()
    assert texts(connection) == ["latest"]


def test_callbacks_come_after_a_publish() -> None:
    """So every connection has the same order, whatever they publish."""
    topics = Topics()
    links = [slow() for _ in range(3)]
    for link in links:
        topics.subscribe(link.ws, "a")

    def publish(transport: WSTransport) -> None:
        if topics.stats().rules[""].published < 4:
            topics.publish("a", "nested")

    links[0].listener.act("pause_writing", publish)
    assert topics.publish("a", "x" * 100) == 3
    assert [texts(link) for link in links] == [["x" * 100, "nested"]] * 3
    assert [link.listener.count("paused") for link in links] == [1, 1, 1]


def test_callbacks_that_unsubscribe_and_subscribe() -> None:
    topics = Topics()
    links = [slow() for _ in range(3)]
    newcomer = Connection("server")
    for link in links:
        topics.subscribe(link.ws, "a")

    def change(transport: WSTransport) -> None:
        topics.unsubscribe(links[2].ws, "a")
        topics.subscribe(newcomer.ws, "a")
        links[1].ws.disconnect(graceful=False)

    links[0].listener.act("pause_writing", change)
    assert topics.publish("a", "x" * 100) == 3
    assert topics.publish("a", "next") == 2
    assert [texts(link) for link in links] == [["x" * 100, "next"], ["x" * 100], ["x" * 100]]
    assert texts(newcomer) == ["next"]


def test_a_ping_in_between() -> None:
    topics = Topics()
    connection = Connection("server", coalesce_writes=False)
    topics.subscribe(connection.ws, "a")
    connection.ws.send(TEXT, "1", fin=False)
    topics.publish("a", "3")
    connection.ws.send_ping(b"p")
    connection.ws.send(CONTINUATION, "2")
    assert [frame.opcode for frame in connection.sent()] == [TEXT, PING, CONTINUATION, TEXT]


def test_resuming_in_the_middle_of_fragments() -> None:
    topics = Topics()
    topics.configure("", when_slow="latest")
    connection = paused(topics, "a")
    topics.publish("a", "waiting")
    connection.ws.send(TEXT, "1", fin=False)
    connection.transport.drain()
    assert texts(connection) == ["1"]
    connection.ws.send(CONTINUATION, "2")
    assert texts(connection) == ["2", "waiting"]
