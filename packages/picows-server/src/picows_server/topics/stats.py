"""What topics have done so far, and what they have now."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Dict, Mapping, Optional

from picows_server.backplane.interface import BackplaneStats

__all__ = ["RuleStats", "SubscriberStats", "TopicsStats"]

# What a process has now, and has no more when it has ended.
_GAUGES = (
    *("topics", "connections", "subscriptions", "retained", "retained_bytes"),
    *("history", "history_bytes", "backplane_down"),
)
_BACKPLANE_GAUGES = ("pending", "pending_bytes", "subscriptions", "servers", "servers_connected")


@dataclass(frozen=True)
class RuleStats:
    """Running totals of the topics of one rule."""

    #: Messages that were published, also to topics without subscribers. With a backplane, those
    #: that have come back from it.
    published: int = 0
    #: Deliveries: each message counts once for each connection that has taken it.
    delivered: int = 0
    #: Deliveries that were left out, because the connection was beyond its watermark (``"drop"``).
    dropped: int = 0
    #: Messages that waited for a connection and were replaced by a newer one (``"latest"``).
    replaced: int = 0
    #: Connections that ended, because more waited for them than ``max_write_queue_size``.
    disconnected: int = 0

    def __add__(self, other: object) -> RuleStats:
        if not isinstance(other, RuleStats):
            return NotImplemented
        return RuleStats(
            **{
                each.name: getattr(self, each.name) + getattr(other, each.name)
                for each in fields(self)
            }
        )


@dataclass(frozen=True)
class SubscriberStats:
    """What one connection has of topics."""

    #: Topics that it is subscribed to.
    topics: int = 0
    #: Messages of topics that wait until it may send, and the bytes of their payloads. What its
    #: write queue has is not among them.
    waiting: int = 0
    waiting_bytes: int = 0
    #: Running totals: see :class:`RuleStats`.
    dropped: int = 0
    replaced: int = 0


@dataclass(frozen=True)
class TopicsStats:
    """Running totals of a :class:`Topics` since it was made, and what it has now.

    ``stats + stats`` adds up those of several processes; so does ``sum``. Objects can be pickled.
    """

    #: Topics that have subscribers, a history, or messages that are kept.
    topics: int = 0
    #: Connections that have subscribed to something, or tried to, since they are open.
    connections: int = 0
    #: Pairs of a connection and a topic.
    subscriptions: int = 0
    #: Messages that ``retain`` keeps, their bytes (see ``max_retained_bytes``), and how many were
    #: dropped for the limit.
    retained: int = 0
    retained_bytes: int = 0
    retained_evicted: int = 0
    #: The same of ``history`` (see ``max_history_bytes``). Those that ``history`` and
    #: ``history_seconds`` drop are not counted.
    history: int = 0
    history_bytes: int = 0
    history_evicted: int = 0
    #: Topics without subscribers that were dropped, with what they kept, for ``max_topics``.
    topics_evicted: int = 0
    #: By the prefix of the rule; ``""`` is that of all other topics.
    rules: Mapping[str, RuleStats] = field(default_factory=dict)
    #: Messages that came from the backplane, and those, also of its histories, that could not be
    #: delivered: an envelope raised, or another program has sent TEXT that is not UTF-8.
    received: int = 0
    invalid: int = 0
    #: Gaps: one for each topic with subscribers of which messages were lost, or may have been.
    gaps: int = 0
    #: 1 while the backplane cannot be reached, between ``start`` and ``close``; else 0.
    backplane_down: int = 0
    #: What the backplane counts; None without one.
    backplane: Optional[BackplaneStats] = None

    def __add__(self, other: object) -> TopicsStats:
        if not isinstance(other, TopicsStats):
            return NotImplemented
        values: Dict[str, Any] = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
            if each.name not in {"rules", "backplane"}
        }
        rules = dict(self.rules)
        for prefix, stats in other.rules.items():
            rules[prefix] = rules.get(prefix, RuleStats()) + stats
        engines = [each for each in (self.backplane, other.backplane) if each is not None]
        backplane = sum(engines, BackplaneStats()) if engines else None
        return TopicsStats(**values, rules=rules, backplane=backplane)

    def __radd__(self, other: object) -> TopicsStats:
        # sum() begins with 0.
        return self if other == 0 else NotImplemented

    def of_ended(self) -> TopicsStats:
        """The totals of a process that has ended: the same, and 0 for all that it has no more."""
        backplane = self.backplane
        if backplane is not None:
            backplane = replace(backplane, **dict.fromkeys(_BACKPLANE_GAUGES, 0))
        gone: Dict[str, Any] = dict.fromkeys(_GAUGES, 0)
        return replace(self, **gone, backplane=backplane)
