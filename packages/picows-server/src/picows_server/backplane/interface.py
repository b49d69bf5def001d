"""What an engine does for ``Topics``, and what it tells it.

Everything runs on the thread of the event loop in which :meth:`Backplane.start` was awaited.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import List, NamedTuple, Optional, Protocol, Sequence

from picows_codec import WSError

__all__ = [
    "Backplane",
    "BackplaneError",
    "BackplaneFull",
    "BackplaneReceiver",
    "BackplaneStats",
    "History",
    "HistoryRule",
    "Position",
    "Publication",
]


class BackplaneError(WSError):
    """The engine cannot be reached, refuses, or cannot do what was asked."""


class BackplaneFull(BackplaneError):
    """The bounded buffer for what the engine has not acknowledged has no room; it is dropped."""


class Position(NamedTuple):
    """Where a topic with history is."""

    #: Of the last message: 1 is the first, 0 before it.
    offset: int
    #: Names one life of the history. Nothing of another epoch can be recovered.
    epoch: str


class HistoryRule(NamedTuple):
    """How much of a topic is kept."""

    #: Messages.
    size: int
    #: None: as many as ``size``, however old.
    seconds: Optional[float] = None


class Publication(NamedTuple):
    """A message as it comes from an engine."""

    #: As in :meth:`Backplane.publish`.
    topic: str
    payload: bytes
    opcode: int
    key: Optional[str] = None
    #: None: the topic has no history.
    position: Optional[Position] = None
    #: What :meth:`Backplane.publish` was given, if this process published it; else None.
    token: Optional[int] = None


class History(NamedTuple):
    """What :meth:`Backplane.history` has found."""

    #: All after ``since``, in order; if they could not be recovered, the ``last`` ones.
    publications: List[Publication]
    #: Where the topic was when this was read.
    position: Position
    #: Whether nothing after ``since`` is missing; of no meaning without one.
    recovered: bool


@dataclass(frozen=True)
class BackplaneStats:
    """Running totals of one backplane since it was made, and what it has now.

    ``stats + stats`` adds up those of several engines.
    """

    #: Messages that :meth:`Backplane.publish` has taken, and their bytes.
    published: int = 0
    published_bytes: int = 0
    #: Those that the engine has acknowledged.
    acknowledged: int = 0
    #: Refused with :class:`BackplaneFull`.
    refused: int = 0
    #: Sent again because the connection broke before they were acknowledged, or the topic was on
    #: another server.
    resent: int = 0
    #: Those that the engine refused, or that no connection could be found for before the end.
    failed: int = 0
    #: Not acknowledged now: messages, and their bytes.
    pending: int = 0
    pending_bytes: int = 0
    #: Messages that were handed to the receiver, and their bytes.
    received: int = 0
    received_bytes: int = 0
    #: Messages that had been received before, or that are not in our format.
    duplicates: int = 0
    malformed: int = 0
    #: Messages that were missing and came from the history of the engine.
    recovered: int = 0
    #: Calls of :meth:`BackplaneReceiver.gap`.
    gaps: int = 0
    #: Connections to the engine that were made after the first one, and attempts that failed.
    reconnects: int = 0
    failed_attempts: int = 0
    #: Connections that were given up because a probe did not come back.
    silences: int = 0
    #: Topics that the process is subscribed to.
    subscriptions: int = 0
    #: Subscriptions that had to go to another server of a cluster, because the topic was there.
    moved: int = 0
    #: Servers that have the topics, and those of them that can be reached now.
    servers: int = 0
    servers_connected: int = 0

    def __add__(self, other: object) -> BackplaneStats:
        if not isinstance(other, BackplaneStats):
            return NotImplemented
        return BackplaneStats(
            **{
                each.name: getattr(self, each.name) + getattr(other, each.name)
                for each in fields(self)
            }
        )

    def __radd__(self, other: object) -> BackplaneStats:
        # sum() begins with 0.
        return self if other == 0 else NotImplemented


class BackplaneReceiver(Protocol):
    """What a backplane tells: ``Topics``. None of these raises or waits."""

    def received(self, publication: Publication) -> None:
        """Take a message of a topic that this process is subscribed to.

        Those of a topic with history come in order of their offsets, each once, without a hole;
        what cannot be had is told before by :meth:`gap`.
        """

    def gap(self, topics: Optional[Sequence[str]], cause: str) -> None:
        """Learn that messages of these topics are lost, or may be.

        :param topics: None: every topic without history that this process is subscribed to.
        :param cause: for a log.
        """

    def local_count(self, topic: str) -> int:
        """Return how many connections of this process are subscribed, for the count of all."""

    def connected(self, is_connected: bool, cause: str) -> None:
        """Learn that the engine can be reached again, or no more.

        :param cause: for a log.
        """


class Backplane(Protocol):
    """An engine as ``Topics`` uses it."""

    @property
    def supports_history(self) -> bool:
        """Whether topics may have history."""

    @property
    def supports_count(self) -> bool:
        """Whether :meth:`count` works."""

    @property
    def is_connected(self) -> bool:
        """Whether the engine can be reached now; of several engines, all of them."""

    async def start(self, receiver: BackplaneReceiver) -> None:
        """Connect; once.

        :raises BackplaneError: the engine cannot be reached in time, or not be used.
        """

    def subscribe(self, topic: str, history: Optional[HistoryRule]) -> None:
        """Ask for a topic; remembered over reconnects. Asking again changes nothing."""

    def unsubscribe(self, topic: str) -> None:
        """Ask for a topic no more; nothing of it is handed to the receiver from now on."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        opcode: int,
        *,
        key: Optional[str],
        history: Optional[HistoryRule],
        token: Optional[int],
    ) -> None:
        """Send a message to all processes, this one included; never waits.

        :raises BackplaneFull: too much is not acknowledged; the message is dropped and counted.
        :raises BackplaneError: the backplane is closed, or the message over the engine's limit.
        """

    async def history(
        self, topic: str, since: Optional[Position], rule: HistoryRule, last: int = 0
    ) -> History:
        """Read what a topic has had since a position.

        :param last: if that cannot be recovered, or ``since`` is None, read the last messages that
            there still are, this many at most.
        :raises BackplaneError: the engine cannot be reached, or keeps no history.
        """

    async def subscribed(self, topic: str) -> None:
        """Return when the engine has confirmed the subscription; at once if it had.

        :raises BackplaneError: it is not subscribed to, or the backplane closes.
        """

    async def count(self, topic: str) -> int:
        """Return the subscribers of all processes.

        :raises BackplaneError: the engine cannot be reached, or does not count.
        """

    def stats(self) -> BackplaneStats:
        """Return what was counted so far."""

    async def close(self) -> None:
        """Send what is buffered, for a bounded time, and disconnect; can be repeated."""
