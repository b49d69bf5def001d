"""What is published until the engine has acknowledged it: bounded, in order, sent again if need be.

Messages of one topic that follow each other before they are sent make one batch: a command of the
engine, and one message to its subscribers.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, List, Optional, Sequence, Set

from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.envelope import encode_published, sequence_of
from picows_server.backplane.interface import BackplaneFull, HistoryRule
from picows_server.backplane.numbering import LastNumbers

__all__ = ["Batch", "Outbox", "OutboxBounds"]

# A batch takes no more than this, unless one message is larger.
_BATCH_BYTES = 65536
_BATCH_RECORDS = 256
# Topics whose last sequence number is known. Of others no hole can be seen.
_TOPICS_KNOWN = 100_000


class Batch:
    """Messages of one topic that are sent, acknowledged and sent again together."""

    __slots__ = ("history", "is_sent", "last", "records", "size", "topic")

    def __init__(
        self, topic: str, history: Optional[HistoryRule], record: bytes, sequence: int
    ) -> None:
        self.topic = topic
        self.history = history
        self.records = [record]
        #: Bytes of all records.
        self.size = len(record)
        #: Sequence number of the last record.
        self.last = sequence
        #: Whether it was sent before, perhaps on another connection.
        self.is_sent = False

    def split(self, size: int) -> List[Batch]:
        """Return batches of its records, in order: of at most ``size`` bytes, or one record."""
        batches: List[Batch] = []
        for record in self.records:
            sequence = sequence_of(record)
            last = batches[-1] if batches else None
            if last is not None and last.size + len(record) <= size:
                last.records.append(record)
                last.size += len(record)
                last.last = sequence
                continue
            batches.append(Batch(self.topic, self.history, record, sequence))
            batches[-1].is_sent = self.is_sent
        return batches


class OutboxBounds:
    """What the outboxes of one process have in common: how much they hold, and the numbering."""

    __slots__ = ("bytes", "max_bytes", "max_messages", "messages", "previous", "sequence")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        #: Not acknowledged, and their bytes.
        self.messages = 0
        self.bytes = 0
        #: Of the last message.
        self.sequence = 0
        #: By topic: the sequence number of its last message.
        self.previous: LastNumbers[str] = LastNumbers(_TOPICS_KNOWN)


class Outbox:
    """Batches of one process for one server of an engine."""

    def __init__(self, counts: EngineCounts, bounds: OutboxBounds) -> None:
        self._counts = counts
        self.bounds = bounds
        #: Batches that are to be sent.
        self.waiting: Deque[Batch] = deque()
        # Insertion order is the order in which they were sent.
        self._sent: Dict[int, Batch] = {}
        #: Bytes that are sent and not acknowledged.
        self.bytes_in_flight = 0
        self._batch_bytes = _BATCH_BYTES

    def limit(self, size: int) -> None:
        """Send no more bytes of records at once than this, unless one record is larger.

        What waits is divided, if need be; nothing may be sent and not acknowledged.
        """
        former, self._batch_bytes = self._batch_bytes, min(size, _BATCH_BYTES)
        if self._batch_bytes >= former:
            return
        waiting, self.waiting = self.waiting, deque()
        for batch in waiting:
            if batch.size > self._batch_bytes:
                self.waiting.extend(batch.split(self._batch_bytes))
            else:
                self.waiting.append(batch)

    def add(
        self,
        topic: str,
        payload: bytes,
        opcode: int,
        key: Optional[str],
        history: Optional[HistoryRule],
        token: Optional[int],
    ) -> None:
        """Take a message.

        Called per publish; watched by the bench of backplanes.

        :raises BackplaneFull: there is no room.
        """
        bounds, counts = self.bounds, self._counts
        # One message always finds room, however large.
        if bounds.messages and (
            bounds.messages >= bounds.max_messages or bounds.bytes + len(payload) > bounds.max_bytes
        ):
            counts.refused += 1
            raise BackplaneFull(
                f"{bounds.messages} messages of {bounds.bytes} bytes are not acknowledged by the"
                f" engine; max_pending_messages={bounds.max_messages} and"
                f" max_pending_bytes={bounds.max_bytes} allow no more"
            )
        bounds.sequence = sequence = bounds.sequence + 1
        previous = 0
        if history is None:
            known = bounds.previous
            previous = known.get(topic) or known.recall(topic) or 0
            known[topic] = sequence
        record = encode_published(sequence, previous, token, opcode, key, payload)
        size = len(record)
        batch = self.waiting[-1] if self.waiting else None
        if (
            batch is not None
            and batch.topic == topic
            and not batch.is_sent
            and batch.history == history
            and batch.size + size <= self._batch_bytes
            and len(batch.records) < _BATCH_RECORDS
        ):
            batch.records.append(record)
            batch.last = sequence
            batch.size += size
        else:
            self.waiting.append(Batch(topic, history, record, sequence))
        bounds.messages += 1
        bounds.bytes += size
        counts.published += 1
        counts.published_bytes += len(payload)

    @property
    def in_flight(self) -> int:
        """Batches that are sent and not acknowledged."""
        return len(self._sent)

    def sent(self) -> List[Batch]:
        """Return them, in the order in which they were sent."""
        return list(self._sent.values())

    def take(self) -> Batch:
        """Return the next batch to be sent, which must be there."""
        batch = self.waiting.popleft()
        self._sent[batch.last] = batch
        self.bytes_in_flight += batch.size
        if batch.is_sent:
            self._counts.resent += len(batch.records)
        batch.is_sent = True
        return batch

    def acknowledge(self, *batches: Batch) -> None:
        """The engine has them. Batches that were acknowledged before change nothing."""
        self._counts.acknowledged += self._remove(batches)

    def fail(self, batch: Batch) -> None:
        """The engine does not want it."""
        self._counts.failed += self._remove((batch,))

    def rewind(self) -> None:
        """The connection is lost: all that is not acknowledged is to be sent again, in order."""
        self.waiting.extendleft(reversed(list(self._sent.values())))
        self._sent.clear()
        self.bytes_in_flight = 0

    def clear(self) -> None:
        """Give up; what is not acknowledged has failed."""
        for batch in (*self._sent.values(), *self.waiting):
            self._counts.failed += len(batch.records)
            self.bounds.bytes -= batch.size
            self.bounds.messages -= len(batch.records)
        self.waiting.clear()
        self._sent.clear()
        self.bytes_in_flight = 0

    def _remove(self, batches: Sequence[Batch]) -> int:
        """Forget batches that were sent; return how many messages are gone."""
        sent, size, count = self._sent, 0, 0
        for batch in batches:
            if sent.pop(batch.last, None) is not None:
                size += batch.size
                count += len(batch.records)
        self.bytes_in_flight -= size
        self.bounds.bytes -= size
        self.bounds.messages -= count
        return count

    # From one server to another

    def topics(self) -> Set[str]:
        """Return those of all batches."""
        return {batch.topic for batch in (*self._sent.values(), *self.waiting)}

    def has_sent(self, topic: str) -> bool:
        """Whether batches of a topic are sent and not acknowledged."""
        return any(batch.topic == topic for batch in self._sent.values())

    def withdraw(self, batch: Batch) -> bool:
        """Take a batch out that was sent; return whether it was there."""
        if self._sent.pop(batch.last, None) is None:
            return False
        self.bytes_in_flight -= batch.size
        return True

    def take_topic(self, topic: str) -> List[Batch]:
        """Take all batches of a topic out that are not sent, in order."""
        found = [batch for batch in self.waiting if batch.topic == topic]
        if found:
            self.waiting = deque(batch for batch in self.waiting if batch.topic != topic)
        return found

    def put(self, batches: List[Batch]) -> None:
        """Take batches of a topic, in order, that come after what waits here of it."""
        self.waiting.extend(batches)
