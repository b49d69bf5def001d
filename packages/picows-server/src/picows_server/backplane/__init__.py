"""Engines that carry what is published from process to process.

::

    from picows_server.backplane import RedisBackplane

    topics = Topics(backplane=RedisBackplane("redis://10.0.0.5:6379"))

An engine is used through its own client library, which is an extra of picows-server (``redis``,
``nats``) and imported when a backplane is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from picows_codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from picows_server.backplane.interface import (
        Backplane,
        BackplaneError,
        BackplaneFull,
        BackplaneReceiver,
        BackplaneStats,
        History,
        HistoryRule,
        Position,
        Publication,
    )
    from picows_server.backplane.nats_backplane import NatsBackplane
    from picows_server.backplane.redis_backplane import RedisBackplane
    from picows_server.backplane.sharded import ShardedBackplane
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Backplane": "picows_server.backplane.interface",
            "BackplaneError": "picows_server.backplane.interface",
            "BackplaneFull": "picows_server.backplane.interface",
            "BackplaneStats": "picows_server.backplane.interface",
            "History": "picows_server.backplane.interface",
            "HistoryRule": "picows_server.backplane.interface",
            "NatsBackplane": "picows_server.backplane.nats_backplane",
            "RedisBackplane": "picows_server.backplane.redis_backplane",
            "ShardedBackplane": "picows_server.backplane.sharded",
            "Position": "picows_server.backplane.interface",
            "Publication": "picows_server.backplane.interface",
            "BackplaneReceiver": "picows_server.backplane.interface",
        },
    )

__all__ = [
    "Backplane",
    "BackplaneError",
    "BackplaneFull",
    "BackplaneReceiver",
    "BackplaneStats",
    "History",
    "HistoryRule",
    "NatsBackplane",
    "Position",
    "Publication",
    "RedisBackplane",
    "ShardedBackplane",
]
