"""The last messages of each topic, within a number of messages, of seconds and of bytes."""

from __future__ import annotations

import secrets
import time
from collections import deque
from itertools import islice
from typing import Deque, Dict, List, Optional, Tuple

from picows_codec import WSPreparedMessage
from picows_server.backplane.interface import HistoryRule, Position
from picows_server.topics.retention import kept_size

__all__ = ["Histories", "Kept", "TopicHistory"]


class Kept:
    """A message of a history."""

    __slots__ = ("history", "is_dropped", "key", "message", "offset", "queue", "size", "time")

    def __init__(
        self,
        history: TopicHistory,
        offset: int,
        key: Optional[str],
        message: WSPreparedMessage,
        now: float,
        queue: _Queue,
    ) -> None:
        self.history = history
        self.is_dropped = False
        self.queue = queue
        self.offset = offset
        self.key = key
        self.message = message
        self.time = now
        #: Bytes that it counts. Asked once, because a str takes more when its UTF-8 is cached.
        self.size = kept_size(message, key)


class TopicHistory:
    """What is kept of one topic: messages without a gap between their offsets."""

    __slots__ = ("epoch", "kept", "offset")

    def __init__(self, epoch: str, offset: int = 0) -> None:
        self.epoch = epoch
        self.offset = offset
        self.kept: Deque[Kept] = deque()

    @property
    def position(self) -> Position:
        """Where the topic is."""
        return Position(self.offset, self.epoch)

    def since(self, position: Position) -> Optional[List[Kept]]:
        """What came after a position; None if that cannot be said completely."""
        if position.epoch != self.epoch or not 0 <= position.offset <= self.offset:
            return None
        missed = self.offset - position.offset
        return self.last(missed) if missed <= len(self.kept) else None

    def last(self, count: int) -> List[Kept]:
        """The last messages, at most so many."""
        # From the end, because a deque walks to an index.
        found = list(islice(reversed(self.kept), min(count, len(self.kept))))
        found.reverse()
        return found


class _Queue:
    """The messages of all topics with the same :class:`HistoryRule`, oldest first.

    Those that were dropped before it was their turn stay until they come first, or are too many.
    """

    __slots__ = ("entries", "live")

    def __init__(self) -> None:
        self.entries: Deque[Kept] = deque()
        self.live = 0

    def oldest(self) -> Optional[Kept]:
        return self.entries[0] if self.entries else None

    def add(self, kept: Kept) -> None:
        self.entries.append(kept)
        self.live += 1

    def drop(self, kept: Kept) -> None:
        kept.is_dropped = True
        self.live -= 1
        entries = self.entries
        while entries and entries[0].is_dropped:
            entries.popleft()
        if len(entries) > 2 * self.live + 64:
            self.entries = deque(entry for entry in entries if not entry.is_dropped)


class Histories:
    """Bounds what all histories keep: the message that was published first goes first.

    :param limit: bytes; None for any number.
    """

    def __init__(self, limit: Optional[int]) -> None:
        self._limit = limit
        self._queues: Dict[HistoryRule, _Queue] = {}
        self._base = ""
        self._lives = 0
        self.clock = time.monotonic
        self.size = 0
        self.evicted = 0

    def __len__(self) -> int:
        return sum(queue.live for queue in list(self._queues.values()))  # on any thread

    def new(self) -> TopicHistory:
        """The history of a topic that has none. No earlier one of the topic has the same epoch."""
        if not self._base:
            # Not before, because processes that were forked must not have the same epochs.
            self._base = secrets.token_hex(8)
        return TopicHistory(f"{self._base}-{self._lives}")

    def keep(
        self,
        history: TopicHistory,
        rule: HistoryRule,
        key: Optional[str],
        message: WSPreparedMessage,
    ) -> None:
        """Keep the message at ``history.offset``, which comes after those that are kept."""
        now = self.clock()
        queue = self._queues.get(rule)
        if queue is None:
            queue = self._queues[rule] = _Queue()
        kept = Kept(history, history.offset, key, message, now, queue)
        if self._limit is not None and kept.size > self._limit:
            # All others would go for it, and then it would, too.
            self.clear(history)
            self.evicted += 1
            return
        history.kept.append(kept)
        queue.add(kept)
        self.size += kept.size
        while len(history.kept) > rule.size:
            self._drop_first(history)
        self._expire(rule, queue, now)
        while self._limit is not None and self.size > self._limit:
            self._evict()

    def expire(self, history: TopicHistory, rule: HistoryRule) -> None:
        """Drop what is too old or too much of a topic, also if it had another rule before."""
        while len(history.kept) > rule.size:
            self._drop_first(history)
        if rule.seconds is not None:
            last_time = self.clock() - rule.seconds
            while history.kept and history.kept[0].time <= last_time:
                self._drop_first(history)

    def _expire(self, rule: HistoryRule, queue: _Queue, now: float) -> None:
        if rule.seconds is None:
            return
        oldest = queue.oldest()
        while oldest is not None and oldest.time <= now - rule.seconds:
            self._drop_first(oldest.history)
            oldest = queue.oldest()

    def _evict(self) -> None:
        heads: List[Tuple[float, int, Kept]] = []
        for number, queue in enumerate(self._queues.values()):
            oldest = queue.oldest()
            if oldest is not None:
                heads.append((oldest.time, number, oldest))
        kept = min(heads)[2]
        self._drop_first(kept.history)
        self.evicted += 1

    def _drop_first(self, history: TopicHistory) -> None:
        kept = history.kept.popleft()
        kept.queue.drop(kept)
        self.size -= kept.size

    def clear(self, history: TopicHistory) -> None:
        """Drop all messages of a history, which goes on."""
        while history.kept:
            self._drop_first(history)

    def end(self, history: TopicHistory) -> None:
        """Drop a history: what the topic gets later has another epoch."""
        self.clear(history)
        self._lives += 1
