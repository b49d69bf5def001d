"""What comes from an engine, handed on once and in order; what is missing is fetched, or told."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional

from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.envelope import PublishedRecord, decode_envelope
from picows_server.backplane.interface import (
    BackplaneReceiver,
    History,
    HistoryRule,
    Position,
    Publication,
)
from picows_server.backplane.numbering import LastNumbers

__all__ = ["Delivery", "Feed"]

# Makes a named tuple without its own constructor, which is Python and takes longer.
_new = tuple.__new__
# Processes whose last sequence number is known, of one topic.
_PRODUCERS_KNOWN = 1000
# Messages that wait for those before them, and bytes of their payloads, of one topic and of all;
# more are read from the history again. One of each topic always may wait.
_WAITING = 10_000
_WAITING_BYTES = 16_777_216
_WAITING_OF_ALL = 100_000
_WAITING_BYTES_OF_ALL = 67_108_864
_DROPPED = "the engine has dropped messages on their way"


class _Positioned(NamedTuple):
    position: Position
    producer: bytes
    record: PublishedRecord


class Feed:
    """What has come of one topic."""

    __slots__ = (
        "early",
        "has_more",
        "history",
        "is_confirmed",
        "is_filling",
        "last",
        "producers",
        "topic",
        "waiting",
        "waiting_bytes",
    )

    def __init__(self, topic: str, history: Optional[HistoryRule]) -> None:
        self.topic = topic
        self.history = history
        #: Where the topic was when the receiver had its last message; None: not known yet.
        self.last: Optional[Position] = None
        #: Whether messages wait until those before them have been fetched.
        self.is_filling = False
        self.waiting: List[_Positioned] = []
        #: Of their payloads.
        self.waiting_bytes = 0
        #: How many of them, the first ones, had arrived before the history was asked for.
        self.early = 0
        #: Whether more may be missing than what is being fetched.
        self.has_more = False
        #: The last sequence number of each process.
        self.producers: LastNumbers[bytes] = LastNumbers(_PRODUCERS_KNOWN)
        #: Whether the engine has confirmed the subscription, on the connection of now.
        self.is_confirmed = False

    @property
    def is_located(self) -> bool:
        """Whether it is known where the topic is, if it has history."""
        return self.history is None or self.last is not None


class Delivery:
    """From one engine's messages to the receiver.

    :param producer: how this process calls itself.
    :param fetch: called when a feed needs what came after its ``last``; :meth:`filled` follows, or
        the connection breaks and :meth:`refill` is called later.
    """

    def __init__(
        self,
        receiver: BackplaneReceiver,
        producer: bytes,
        counts: EngineCounts,
        fetch: Callable[[Feed], None],
    ) -> None:
        self._receiver = receiver
        self._producer = producer
        self._counts = counts
        self._fetch = fetch
        self.feeds: Dict[str, Feed] = {}
        # Of all feeds.
        self._waiting = 0
        self._waiting_bytes = 0

    def forget(self, topic: str) -> Optional[Feed]:
        """Deliver no more of a topic; return its feed, if there was one."""
        feed = self.feeds.pop(topic, None)
        if feed is not None:
            self._take_waiting(feed)
        return feed

    def arrived(self, feed: Feed, data: bytes) -> None:
        """Take an envelope from a subscription.

        Called per message of the engine; watched by the bench of backplanes.
        """
        try:
            position, producer, records = decode_envelope(data)
        except ValueError:
            self._counts.malformed += 1
            return
        if position is None:
            if not records:
                self.look(feed)
            else:
                self._take_plain(feed, producer, records)
            return
        first, epoch = position
        for index, record in enumerate(records):
            self._take_positioned(
                feed, _Positioned(Position(first + index, epoch), producer, record)
            )

    def refill(self, feed: Feed) -> None:
        """Fetch what may have been missed while there was no connection."""
        if feed.last is not None:
            feed.is_filling = True
            feed.has_more = False
            self._take_waiting(feed)
            feed.early = 0
            self._fetch(feed)

    def look(self, feed: Feed) -> None:
        """Fetch what may have been missed, also after what is being fetched already."""
        if feed.is_filling:
            feed.has_more = True
        elif feed.history is not None:
            self.refill(feed)

    def filled(self, feed: Feed, history: History) -> None:
        """Take what was fetched for a feed, and what has waited for it."""
        if self.feeds.get(feed.topic) is not feed:
            return
        if not history.recovered:
            self.gap([feed.topic], "the engine does not have them any more")
        self.filled_in_part(feed, history)
        feed.is_filling = False
        waiting = self._take_waiting(feed)
        early, feed.early = feed.early, 0
        self._drop(feed, history, waiting[:early])
        for each in waiting[early:]:
            self._take_positioned(feed, each)
        if feed.is_filling:
            feed.early = len(feed.waiting)
        elif feed.has_more:
            self.refill(feed)

    def _drop(self, feed: Feed, history: History, early: List[_Positioned]) -> None:
        """Drop what had arrived before a history was read.

        The history has it, or it was lost with an earlier life of the topic: it would be asked for
        without end.
        """
        offset, epoch = history.position
        lost = [
            each for each in early if each.position.epoch != epoch or each.position.offset > offset
        ]
        self._counts.duplicates += len(early) - len(lost)
        if lost and history.recovered:  # or it was told
            self.gap([feed.topic], "the engine does not have them any more")

    def filled_in_part(self, feed: Feed, history: History) -> None:
        """Take a part of what is missing, complete up to its position."""
        feed.last = history.position
        for publication in history.publications:
            if self.feeds.get(feed.topic) is not feed:
                return  # a callback has unsubscribed
            self._counts.recovered += 1
            self._hand_over(publication)

    def gap(self, topics: Optional[List[str]], cause: str) -> None:
        """Tell the receiver, and count."""
        self._counts.gaps += 1
        self._receiver.gap(topics, cause)

    def _take_plain(self, feed: Feed, producer: bytes, records: List[PublishedRecord]) -> None:
        known, counts, received = feed.producers, self._counts, self._receiver.received
        is_own = producer == self._producer
        last = known.get(producer)
        if last is None:
            last = known.recall(producer)
        for sequence, previous, token, opcode, key, payload in records:
            if self.feeds.get(feed.topic) is not feed:
                return  # it is not subscribed to any more, perhaps because of a callback
            if last is not None and sequence <= last:
                known[producer] = last
                counts.duplicates += 1
                continue
            is_hole = last is not None and previous > last
            known[producer] = last = sequence
            if is_hole:
                self.gap([feed.topic], _DROPPED)
                if self.feeds.get(feed.topic) is not feed:
                    return
            counts.received += 1
            counts.received_bytes += len(payload)
            found = (feed.topic, payload, opcode, key, None, token if is_own else None)
            received(_new(Publication, found))

    def _take_positioned(self, feed: Feed, each: _Positioned) -> None:
        if self.feeds.get(feed.topic) is not feed:
            return  # a callback has unsubscribed
        if feed.is_filling:
            self._wait(feed, each)
            return
        last, position = feed.last, each.position
        if not feed.is_located:
            # It is of an earlier subscription to the topic, and fetched if it belongs to this one.
            return
        if last is not None:
            if position.epoch == last.epoch and position.offset <= last.offset:
                self._counts.duplicates += 1
                return
            is_next = position.epoch == last.epoch and position.offset == last.offset + 1
            if not is_next and feed.history is None:
                # Other processes keep the topic's history, and this one does not.
                self.gap([feed.topic], _DROPPED)
                if self.feeds.get(feed.topic) is not feed:
                    return
            elif not is_next:
                feed.is_filling = True
                self._wait(feed, each)
                feed.early = 1
                self._fetch(feed)
                return
        feed.last = position
        self._hand_over(self.publication(feed.topic, each.producer, each.record, position))

    def _wait(self, feed: Feed, each: _Positioned) -> None:
        """Let a message wait; if they are too many, those of the topic before it are dropped."""
        *_, payload = each.record
        size = len(payload)
        if (
            len(feed.waiting) >= _WAITING
            or feed.waiting_bytes + size > _WAITING_BYTES
            or self._waiting >= _WAITING_OF_ALL
            or self._waiting_bytes + size > _WAITING_BYTES_OF_ALL
        ):
            # All of them are in the history: this one shows the hole.
            self._take_waiting(feed)
            feed.early = 0
        feed.waiting.append(each)
        feed.waiting_bytes += size
        self._waiting += 1
        self._waiting_bytes += size

    def _take_waiting(self, feed: Feed) -> List[_Positioned]:
        """Return the messages of a feed that wait, which do so no more."""
        waiting, feed.waiting = feed.waiting, []
        self._waiting -= len(waiting)
        self._waiting_bytes -= feed.waiting_bytes
        feed.waiting_bytes = 0
        return waiting

    def publication(
        self, topic: str, producer: bytes, record: PublishedRecord, position: Optional[Position]
    ) -> Publication:
        """Return a record as the receiver sees it."""
        _, _, token, opcode, key, payload = record
        is_own = producer == self._producer
        return Publication(topic, payload, opcode, key, position, token if is_own else None)

    def _hand_over(self, publication: Publication) -> None:
        self._counts.received += 1
        self._counts.received_bytes += len(publication.payload)
        self._receiver.received(publication)
