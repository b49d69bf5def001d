"""Topics: messages for all connections that have subscribed to a name.

::

    from picows_server.topics import Topics

    topics = Topics()
    topics.subscribe(transport, "book.BTC")
    topics.publish("book.BTC", payload)
"""

from __future__ import annotations

from picows_server.backplane.interface import Position
from picows_server.topics.local import Subscribed
from picows_server.topics.names import WSTopicError
from picows_server.topics.rules import Envelope
from picows_server.topics.stats import RuleStats, SubscriberStats, TopicsStats
from picows_server.topics.topics import Topics

__all__ = [
    "Envelope",
    "Position",
    "RuleStats",
    "Subscribed",
    "SubscriberStats",
    "Topics",
    "TopicsStats",
    "WSTopicError",
]
