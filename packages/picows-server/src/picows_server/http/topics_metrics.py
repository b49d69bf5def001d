"""What topics and their backplane count, as metrics for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterable, Tuple

if TYPE_CHECKING:
    from picows_server.backplane.interface import BackplaneStats
    from picows_server.stats import WSServerStats
    from picows_server.topics.stats import TopicsStats

__all__ = ["BACKPLANE_METRICS", "TOPICS_METRICS", "Labels", "Row", "Samples"]

Labels = Tuple[str, ...]
Samples = Iterable[Tuple[Labels, float]]
_SamplesOf = Callable[["WSServerStats"], Samples]
#: Name without a counter's "_total", whether it is a counter, help, labels, where its samples are.
Row = Tuple[str, bool, str, Labels, _SamplesOf]

_PLAIN: Labels = ()
_RULE: Labels = ("rule",)


def _topics(samples_of: Callable[[TopicsStats], Samples]) -> _SamplesOf:
    return lambda stats: () if stats.topics is None else samples_of(stats.topics)


def _plain(name: str) -> _SamplesOf:
    return _topics(lambda topics: [(_PLAIN, getattr(topics, name))])


def _rules(name: str) -> _SamplesOf:
    return _topics(
        lambda topics: [
            ((prefix,), getattr(rule, name)) for prefix, rule in sorted(topics.rules.items())
        ]
    )


def _evicted(topics: TopicsStats) -> Samples:
    return [
        (("retained",), topics.retained_evicted),
        (("history",), topics.history_evicted),
        (("topic",), topics.topics_evicted),
    ]


def _backplane(samples_of: Callable[[BackplaneStats], Samples]) -> _SamplesOf:
    return _topics(lambda topics: () if topics.backplane is None else samples_of(topics.backplane))


def _engine(name: str) -> _SamplesOf:
    return _backplane(lambda engine: [(_PLAIN, getattr(engine, name))])


def _engine_by(**names: str) -> _SamplesOf:
    return _backplane(
        lambda engine: [((label,), getattr(engine, name)) for label, name in names.items()]
    )


def _with_backplane(samples_of: Callable[[TopicsStats], float]) -> _SamplesOf:
    return _topics(
        lambda topics: [] if topics.backplane is None else [(_PLAIN, samples_of(topics))]
    )


# A rule's prefix is the operator's. No label comes from a peer.
TOPICS_METRICS: Tuple[Row, ...] = (
    (
        "picows_topics",
        False,
        "Topics that have subscribers, a history, or messages that are kept.",
        _PLAIN,
        _plain("topics"),
    ),
    (
        "picows_topics_connections",
        False,
        "Connections that have subscribed to topics.",
        _PLAIN,
        _plain("connections"),
    ),
    (
        "picows_topics_subscriptions",
        False,
        "Pairs of a connection and a topic.",
        _PLAIN,
        _plain("subscriptions"),
    ),
    (
        "picows_topics_retained_messages",
        False,
        "Last messages of topics and keys that are kept.",
        _PLAIN,
        _plain("retained"),
    ),
    (
        "picows_topics_retained_bytes",
        False,
        "Bytes of the last messages that are kept.",
        _PLAIN,
        _plain("retained_bytes"),
    ),
    (
        "picows_topics_history_messages",
        False,
        "Messages that histories keep in this process.",
        _PLAIN,
        _plain("history"),
    ),
    (
        "picows_topics_history_bytes",
        False,
        "Bytes that histories keep in this process.",
        _PLAIN,
        _plain("history_bytes"),
    ),
    (
        "picows_topics_evicted",
        True,
        "What was dropped for a limit: retained messages, messages of histories, topics.",
        ("kind",),
        _topics(_evicted),
    ),
    (
        "picows_topics_published",
        True,
        "Messages that were published, with a backplane those that came from it.",
        _RULE,
        _rules("published"),
    ),
    (
        "picows_topics_delivered",
        True,
        "Deliveries: each message for each connection that has taken it.",
        _RULE,
        _rules("delivered"),
    ),
    (
        "picows_topics_dropped",
        True,
        "Deliveries that were left out for connections that did not read.",
        _RULE,
        _rules("dropped"),
    ),
    (
        "picows_topics_replaced",
        True,
        "Messages that waited for a connection and were replaced by a newer one.",
        _RULE,
        _rules("replaced"),
    ),
    (
        "picows_topics_disconnected",
        True,
        "Connections that ended because more waited for them than they may have.",
        _RULE,
        _rules("disconnected"),
    ),
)

BACKPLANE_METRICS: Tuple[Row, ...] = (
    (
        "picows_topics_gaps",
        True,
        "Topics with subscribers of which messages were lost, or may have been.",
        _PLAIN,
        _with_backplane(lambda topics: topics.gaps),
    ),
    (
        "picows_topics_invalid",
        True,
        "Messages of the backplane that could not be delivered.",
        _PLAIN,
        _with_backplane(lambda topics: topics.invalid),
    ),
    (
        "picows_topics_backplane_up",
        False,
        "1 if the backplane can be reached, else 0.",
        _PLAIN,
        _with_backplane(lambda topics: int(not topics.backplane_down)),
    ),
    (
        "picows_topics_backplane_servers",
        False,
        "Servers of the backplane that have the topics.",
        _PLAIN,
        _engine("servers"),
    ),
    (
        "picows_topics_backplane_servers_connected",
        False,
        "Servers of the backplane that can be reached.",
        _PLAIN,
        _engine("servers_connected"),
    ),
    (
        "picows_topics_backplane_subscriptions",
        False,
        "Topics that the process is subscribed to at the backplane.",
        _PLAIN,
        _engine("subscriptions"),
    ),
    (
        "picows_topics_backplane_messages",
        True,
        "Messages that the backplane has taken to be sent, and that it has received.",
        ("direction",),
        _engine_by(received="received", sent="published"),
    ),
    (
        "picows_topics_backplane_bytes",
        True,
        "Payloads of these messages.",
        ("direction",),
        _engine_by(received="received_bytes", sent="published_bytes"),
    ),
    (
        "picows_topics_backplane_acknowledged",
        True,
        "Messages that the engine has acknowledged.",
        _PLAIN,
        _engine("acknowledged"),
    ),
    (
        "picows_topics_backplane_pending_messages",
        False,
        "Messages that wait for the engine's acknowledgement.",
        _PLAIN,
        _engine("pending"),
    ),
    (
        "picows_topics_backplane_pending_bytes",
        False,
        "Bytes that wait for the engine's acknowledgement.",
        _PLAIN,
        _engine("pending_bytes"),
    ),
    (
        "picows_topics_backplane_resent",
        True,
        "Messages that were sent again after a connection broke.",
        _PLAIN,
        _engine("resent"),
    ),
    (
        "picows_topics_backplane_lost",
        True,
        "Messages that were not sent: the buffer was full, or the engine has refused them.",
        ("kind",),
        _engine_by(buffer_full="refused", failed="failed"),
    ),
    (
        "picows_topics_backplane_recovered",
        True,
        "Messages that were missing and came from the engine's history.",
        _PLAIN,
        _engine("recovered"),
    ),
    (
        "picows_topics_backplane_ignored",
        True,
        "Messages from the engine that had come before, or are not in the format.",
        ("kind",),
        _engine_by(duplicate="duplicates", malformed="malformed"),
    ),
    (
        "picows_topics_backplane_reconnects",
        True,
        "Connections to the engine after the first one.",
        _PLAIN,
        _engine("reconnects"),
    ),
    (
        "picows_topics_backplane_failed_attempts",
        True,
        "Attempts to connect to the engine that failed.",
        _PLAIN,
        _engine("failed_attempts"),
    ),
    (
        "picows_topics_backplane_moved",
        True,
        "Subscriptions that had to go to another server of a cluster.",
        _PLAIN,
        _engine("moved"),
    ),
    (
        "picows_topics_backplane_silences",
        True,
        "Connections to the engine that were given up because a probe did not come back.",
        _PLAIN,
        _engine("silences"),
    ),
)
