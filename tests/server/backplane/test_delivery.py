from __future__ import annotations

from typing import List, Optional, Tuple

import pytest

from picows_server.backplane import History, HistoryRule, Position, Publication
from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.delivery import Delivery, Feed
from picows_server.backplane.envelope import PRODUCER_SIZE, encode_published, plain_envelope
from tests.support.receivers import Remembering

ME, OTHER = bytes(PRODUCER_SIZE), b"o" * PRODUCER_SIZE


def made(
    history: Optional[HistoryRule] = None, last: Optional[int] = None
) -> Tuple[Delivery, Feed, Remembering, List[Feed]]:
    """Return what has one topic.

    :param last: its offset when it was subscribed to; None: not known yet.
    """
    receiver, fetched = Remembering(), []  # type: Remembering, List[Feed]
    delivery = Delivery(receiver, ME, EngineCounts(), fetched.append)
    feed = delivery.feeds["a"] = Feed("a", history)
    feed.last = None if last is None else Position(last, "e")
    return delivery, feed, receiver, fetched


def plain(sequence: int, previous: int, producer: bytes = OTHER) -> bytes:
    record = encode_published(sequence, previous, 5, 1, None, b"%d" % sequence)
    return plain_envelope(producer, [record])


def positioned(*offsets: int, epoch: bytes = b"e") -> bytes:
    records = [encode_published(offset, 0, None, 1, None, b"%d" % offset) for offset in offsets]
    return b"\x02%b %d\n%b%b" % (epoch, offsets[0], OTHER, b"".join(records))


def test_sequences() -> None:
    delivery, feed, receiver, _ = made()
    for data in (plain(7, 3), plain(9, 7), plain(9, 7), plain(7, 3), plain(1, 0, ME)):
        delivery.arrived(feed, data)
    assert receiver.payloads() == [b"7", b"9", b"1"]
    assert [each.token for each in receiver.publications] == [None, None, 5]
    assert not receiver.gaps
    delivery.arrived(feed, plain(12, 10))
    assert receiver.gaps[0][0] == ["a"]
    assert receiver.payloads()[-1] == b"12"
    # Its publisher no longer knew what was before it.
    delivery.arrived(feed, plain(20, 0))
    assert len(receiver.gaps) == 1
    assert delivery._counts.duplicates == 2


def test_processes_that_are_not_known_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picows_server.backplane.delivery._PRODUCERS_KNOWN", 2)
    delivery, feed, receiver, _ = made()
    for number in range(5):
        delivery.arrived(feed, plain(1, 0, bytes([number]) * PRODUCER_SIZE))
    assert len(feed.producers) <= 2
    assert len(receiver.publications) == 5


def test_not_ours() -> None:
    delivery, feed, receiver, _ = made()
    delivery.arrived(feed, b"hello")
    assert not receiver.publications
    assert delivery._counts.malformed == 1


def test_hole_is_filled_before_what_follows() -> None:
    delivery, feed, receiver, fetched = made(HistoryRule(5), 2)
    delivery.arrived(feed, positioned(3, 4))
    delivery.arrived(feed, positioned(4))
    delivery.arrived(feed, positioned(7))
    delivery.arrived(feed, positioned(8))
    assert receiver.payloads() == [b"3", b"4"]
    assert fetched == [feed]
    found = [Publication("a", b"%d" % n, 1, None, Position(n, "e")) for n in (5, 6, 7)]
    delivery.filled(feed, History(found, Position(7, "e"), recovered=True))
    assert receiver.payloads() == [b"3", b"4", b"5", b"6", b"7", b"8"]
    assert not receiver.gaps
    assert delivery._counts.duplicates == 2


def test_what_comes_too_early_is_left_to_the_history() -> None:
    """A topic was unsubscribed from and subscribed to again, and messages were on their way."""
    delivery, feed, receiver, fetched = made(HistoryRule(5))
    delivery.arrived(feed, positioned(3))
    delivery.refill(feed)
    assert not receiver.publications + fetched
    feed.last = Position(2, "e")
    delivery.arrived(feed, positioned(4))
    assert fetched == [feed]


def test_history_that_only_others_keep() -> None:
    """Nothing can be fetched; a hole is told, and the topic goes on."""
    delivery, feed, receiver, fetched = made()
    for data in (positioned(3, 4), positioned(4), positioned(6), positioned(1, epoch=b"f")):
        delivery.arrived(feed, data)
    assert receiver.payloads() == [b"3", b"4", b"6", b"1"]
    assert [topics for topics, _ in receiver.gaps] == [["a"], ["a"]]
    assert not fetched


def test_what_cannot_be_filled_is_told() -> None:
    delivery, feed, receiver, _ = made(HistoryRule(5), 2)
    delivery.arrived(feed, positioned(3))
    delivery.arrived(feed, positioned(1, epoch=b"f"))
    assert not receiver.gaps
    delivery.filled(feed, History([], Position(1, "f"), recovered=False))
    assert [topics for topics, _ in receiver.gaps] == [["a"]]
    delivery.arrived(feed, positioned(2, epoch=b"f"))
    assert receiver.payloads() == [b"3", b"2"]


@pytest.mark.parametrize("bound", ["_WAITING", "_WAITING_BYTES"])
def test_many_that_wait_are_read_again(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Payloads have one byte here."""
    monkeypatch.setattr(f"picows_server.backplane.delivery.{bound}", 2)
    delivery, feed, receiver, fetched = made(HistoryRule(5), 0)
    delivery.arrived(feed, positioned(1))
    for offset in (3, 4, 5, 6):
        delivery.arrived(feed, positioned(offset))
    found = [Publication("a", b"2", 1, None, Position(2, "e"))]
    delivery.filled(feed, History(found, Position(2, "e"), recovered=True))
    # 3 and 4 are gone: 5 shows the hole.
    assert receiver.payloads() == [b"1", b"2"]
    assert len(fetched) == 2
    delivery.arrived(feed, positioned(7))
    found = [Publication("a", b"%d" % n, 1, None, Position(n, "e")) for n in (3, 4, 5, 6)]
    delivery.filled(feed, History(found, Position(6, "e"), recovered=True))
    assert receiver.payloads() == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    assert not receiver.gaps


def test_bytes_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted anew whenever nothing waits any more; one message always may."""
    monkeypatch.setattr("picows_server.backplane.delivery._WAITING_BYTES", 3)
    delivery, feed, receiver, fetched = made(HistoryRule(5), 0)
    for first in (1, 4, 7):
        delivery.arrived(feed, positioned(first))
        for offset in (first + 1, first + 2):
            delivery.arrived(feed, positioned(offset))
        assert (len(feed.waiting), feed.waiting_bytes) == (0, 0)
    delivery.arrived(feed, positioned(11, 12, 13))
    assert feed.waiting_bytes == 2  # 11 and 12 had to go
    found = [Publication("a", b"%d" % n, 1, None, Position(n, "e")) for n in (10, 11, 12)]
    delivery.filled(feed, History(found, Position(12, "e"), recovered=True))
    assert receiver.payloads()[-1] == b"13"
    assert (len(feed.waiting), feed.waiting_bytes, fetched) == (0, 0, [feed])
    delivery.arrived(feed, positioned(100000))
    assert (len(feed.waiting), feed.waiting_bytes) == (1, 6)
    delivery.refill(feed)
    assert feed.waiting_bytes == 0


@pytest.mark.parametrize("bound", ["_WAITING_OF_ALL", "_WAITING_BYTES_OF_ALL"])
def test_many_topics_that_wait(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Together they are bounded, too, apart from one message each. Payloads have one byte here."""
    monkeypatch.setattr(f"picows_server.backplane.delivery.{bound}", 3)
    delivery, first, _, _ = made(HistoryRule(5), 0)
    feeds = [first]
    for topic in "bcd":
        feeds.append(Feed(topic, HistoryRule(5)))
        feeds[-1].last = Position(0, "e")
        delivery.feeds[topic] = feeds[-1]
    for offset in (2, 3, 4):
        for feed in feeds:
            delivery.arrived(feed, positioned(offset))
    assert [len(feed.waiting) for feed in feeds] == [1, 1, 1, 1]
    assert [feed.waiting[0].position.offset for feed in feeds] == [4, 4, 4, 4]
    for topic in "bcd":
        delivery.forget(topic)
    delivery.arrived(first, positioned(5, 6))
    assert len(first.waiting) == 3


class Leaving(Remembering):
    """Unsubscribes with the first message, and subscribes anew."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__()
        self._delivery = delivery

    def received(self, publication: Publication) -> None:
        super().received(publication)
        topic = publication.topic
        self._delivery.forget(topic)
        self._delivery.feeds[topic] = Feed(topic, None)


def test_unsubscribed_from_in_a_callback() -> None:
    """The rest was for the former subscription, of an envelope and of a history."""
    delivery, feed, _, _ = made()
    records = [encode_published(number, 0, None, 1, None, b"%d" % number) for number in (1, 2)]
    leaving = delivery._receiver = Leaving(delivery)
    delivery.arrived(feed, plain_envelope(OTHER, records))
    assert leaving.payloads() == [b"1"]

    delivery, feed, _, _ = made(HistoryRule(5), 0)
    leaving = delivery._receiver = Leaving(delivery)
    delivery.arrived(feed, positioned(3))
    found = [Publication("a", b"%d" % offset, 1, None, None) for offset in (1, 2)]
    delivery.filled(feed, History(found, Position(3, "e"), recovered=True))
    assert leaving.payloads() == [b"1"]


def test_unsubscribed_meanwhile() -> None:
    delivery, feed, receiver, _ = made(HistoryRule(5), 0)
    delivery.arrived(feed, positioned(1))
    assert delivery.forget("a") is feed
    assert delivery.forget("a") is None
    delivery.arrived(feed, positioned(2))
    delivery.filled(feed, History([], Position(2, "e"), recovered=False))
    assert receiver.payloads() == [b"1"]
    assert not receiver.gaps


def test_more_is_missing_than_what_is_being_fetched() -> None:
    delivery, feed, receiver, fetched = made(HistoryRule(10), 1)
    nothing = plain_envelope(OTHER, [])  # says that there is more
    delivery.arrived(feed, nothing)
    delivery.arrived(feed, nothing)
    assert fetched == [feed]
    delivery.filled(feed, History([], Position(1, "e"), recovered=True))
    assert fetched == [feed, feed]
    delivery.filled(feed, History([], Position(1, "e"), recovered=True))
    delivery.arrived(feed, positioned(2))
    assert receiver.payloads() == [b"2"]
    assert fetched == [feed, feed]
    delivery, feed, _, fetched = made()
    delivery.arrived(feed, nothing)
    assert not fetched


@pytest.mark.parametrize(("offset", "epoch"), [(9, b"earlier"), (10**12, b"e")])
def test_what_the_history_will_never_have_is_not_asked_for_again(offset: int, epoch: bytes) -> None:
    """It is of an engine that lost it meanwhile: of a primary that was replaced, for example."""
    delivery, feed, receiver, fetched = made(HistoryRule(10), 0)
    delivery.arrived(feed, positioned(1))
    delivery.arrived(feed, positioned(offset, epoch=epoch))
    delivery.arrived(feed, positioned(2))
    delivery.filled(feed, History([], Position(1, "e"), recovered=True))
    assert receiver.payloads() == [b"1", b"2"]
    assert [topics for topics, _ in receiver.gaps] == [["a"]]
    assert fetched == [feed]
    assert not feed.is_filling


def test_what_came_after_the_history_was_asked_for_may_need_it_again() -> None:
    delivery, feed, receiver, fetched = made(HistoryRule(10), 0)
    delivery.arrived(feed, positioned(1))
    delivery.arrived(feed, positioned(3))
    for offset in (5, 6):
        delivery.arrived(feed, positioned(offset))
    found = [Publication("a", b"%d" % n, 1, None, Position(n, "e")) for n in (2, 3)]
    delivery.filled(feed, History(found, Position(3, "e"), recovered=True))
    assert fetched == [feed, feed]
    delivery.arrived(feed, positioned(7))
    found = [Publication("a", b"%d" % n, 1, None, Position(n, "e")) for n in (4, 5, 6)]
    delivery.filled(feed, History(found, Position(6, "e"), recovered=True))
    assert receiver.payloads() == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    assert not receiver.gaps
