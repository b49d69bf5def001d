"""``RedisBackplane``: topics over Redis or Valkey."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any, Mapping, Optional, Sequence, Tuple

from picows_server.backplane.cancellation import finish
from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.envelope import PRODUCER_SIZE
from picows_server.backplane.interface import (
    BackplaneError,
    BackplaneReceiver,
    BackplaneStats,
    History,
    HistoryRule,
    Position,
)
from picows_server.backplane.lifecycle import Lifecycle
from picows_server.backplane.options import (
    check_options,
    checked_addresses,
    checked_library_options,
    checked_prefix,
)
from picows_server.backplane.outbox import OutboxBounds
from picows_server.backplane.redis_commands import RedisCommands
from picows_server.backplane.redis_dialing import RedisDialer
from picows_server.backplane.redis_engine import RedisEngine
from picows_server.backplane.redis_presence import RedisPresence

__all__ = ["RedisBackplane"]


class RedisBackplane:
    """Carries topics over Redis 6 or newer, or Valkey; made in any thread, used in one loop.

    Needs the extra ``redis``. If the server is a node of a cluster (Redis 7 or newer, or Valkey),
    all primaries are used, and topics are spread over them. Reconnects without end. Topics with
    history lose nothing as long as the engine keeps its data and the buffer of publishers lasts;
    other topics are delivered at most once, and every possible loss is reported as a gap.

    :param url: ``redis://user:password@host:port/0``, ``rediss://`` for TLS, ``unix:///path``; with
        ``sentinels`` its host is the name of the service.
    :param prefix: of all keys and channels. Everybody with the same prefix shares topics.
    :param sentinels: ``(host, port)`` of each Sentinel.
    :param startup_nodes: ``(host, port)`` of more servers of a cluster, in case that of the URL
        cannot be reached when the process starts.
    :param connect_timeout: seconds for a connection with its authentication, and for the first
        start.
    :param probe_interval: seconds between messages that the backplane sends to itself; if one has
        not come back by the next, both connections to that server are given up.
    :param max_pending_messages: published and not acknowledged; above it ``publish`` raises
        :class:`BackplaneFull`.
    :param max_pending_bytes: likewise; a little more memory is used per message.
    :param max_payload: bytes of one message.
    :param topic_ttl: seconds after which a topic is forgotten to which nobody publishes, if its
        ``history_seconds`` are not more: a later message begins a new epoch.
    :param producer_ttl: seconds for which the engine remembers what a process has published last; a
        process must not be without the engine for longer, or it may publish twice.
    :param presence_ttl: seconds after which a process that has died is no longer counted; None:
        nothing is counted.
    :param close_timeout: seconds that :meth:`close` waits for acknowledgements.
    :param options: more options of redis-py's ``Connection``, such as ``ssl_ca_certs``.
    :raises WSInvalidOptionError: an option is out of range, or the URL cannot be read.
    :raises TypeError: an option is of another type, or redis-py does not know it.
    :raises ImportError: redis or hiredis is not installed.
    """

    supports_history = True

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "picows:",
        sentinels: Sequence[Tuple[str, int]] = (),
        startup_nodes: Sequence[Tuple[str, int]] = (),
        connect_timeout: float = 5.0,
        probe_interval: float = 5.0,
        max_pending_messages: int = 100_000,
        max_pending_bytes: int = 67_108_864,
        max_payload: int = 8_388_608,
        topic_ttl: float = 86_400.0,
        producer_ttl: float = 86_400.0,
        presence_ttl: Optional[float] = 60.0,
        close_timeout: float = 5.0,
        options: Optional[Mapping[str, Any]] = None,
    ) -> None:
        check_options(
            connect_timeout=connect_timeout,
            probe_interval=probe_interval,
            max_pending_messages=max_pending_messages,
            max_pending_bytes=max_pending_bytes,
            max_payload=max_payload,
            topic_ttl=topic_ttl,
            producer_ttl=producer_ttl,
            presence_ttl=presence_ttl,
            close_timeout=close_timeout,
        )
        dialer = RedisDialer(
            url,
            checked_library_options(options),
            checked_addresses("sentinels", sentinels),
            connect_timeout,
        )
        more = checked_addresses("startup_nodes", startup_nodes)
        self._seeds = [dialer, *(dialer.at(*address) for address in more)]
        self._max_payload = max_payload
        self._probe_interval = probe_interval
        self._presence_ttl = presence_ttl
        self._close_timeout = close_timeout
        self._counts = EngineCounts()
        self._make_commands = partial(
            RedisCommands,
            prefix=checked_prefix(prefix).encode("utf-8"),
            topic_ttl=topic_ttl,
            producer_ttl=producer_ttl,
            presence_ttl=presence_ttl,
        )
        self._bounds = OutboxBounds(max_pending_messages, max_pending_bytes)
        self._engine: Optional[RedisEngine] = None
        self._presence: Optional[RedisPresence] = None
        self._lifecycle = Lifecycle()
        self._was_connected = False
        self._drained: Optional[asyncio.Future[None]] = None

    @property
    def supports_count(self) -> bool:
        return self._presence_ttl is not None

    @property
    def is_connected(self) -> bool:
        return self._engine is not None and self._engine.is_connected

    async def start(self, receiver: BackplaneReceiver) -> None:
        """Connect; once.

        :raises BackplaneError: the engine cannot be reached within ``connect_timeout``, or refuses.
        """
        with self._lifecycle.starting():
            await self._connect(receiver)

    async def _connect(self, receiver: BackplaneReceiver) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        # Not before, because processes that were forked must not have the same name.
        producer = os.urandom(PRODUCER_SIZE)
        self._commands = self._make_commands(producer)
        self._engine = engine = RedisEngine(
            self._seeds,
            self._commands,
            producer,
            self._bounds,
            self._counts,
            receiver,
            self._changed,
            self._replied,
        )
        try:
            await engine.connect()
            self._lifecycle.check_is_open()
        except BaseException:
            await finish(engine.disconnect())
            raise
        if not self.is_connected:
            receiver.connected(False, "some servers of the cluster cannot be reached")
        self._probe_later()
        if self._presence_ttl is not None:
            self._presence = RedisPresence(
                engine, self._commands, receiver.local_count, self._presence_ttl
            )

    def subscribe(self, topic: str, history: Optional[HistoryRule]) -> None:
        self._started.subscribe(topic, history)

    def unsubscribe(self, topic: str) -> None:
        self._started.unsubscribe(topic)
        if self._presence is not None:
            self._presence.left(topic)

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
        if self._lifecycle.is_closed:
            raise BackplaneError("the backplane is closed")
        if len(payload) > self._max_payload:
            raise BackplaneError(
                f"a payload of {len(payload)} bytes; max_payload={self._max_payload} allows no more"
            )
        outbox, node = self._started.publishing(topic)
        outbox.add(topic, payload, opcode, key, history, token)
        if node is not None:
            node.flush_soon()

    async def history(
        self, topic: str, since: Optional[Position], rule: HistoryRule, last: int = 0
    ) -> History:
        return await self._started.history(topic, since, rule, last)

    async def subscribed(self, topic: str) -> None:
        await self._started.subscribed(topic)

    async def count(self, topic: str) -> int:
        if self._presence_ttl is None:
            raise BackplaneError("presence_ttl=None: nothing is counted")
        if self._presence is None:
            raise BackplaneError("the backplane is not started")
        return await self._presence.count(topic)

    def stats(self) -> BackplaneStats:
        engine = self._engine
        nodes = [] if engine is None else engine.nodes
        return self._counts.stats(
            pending=self._bounds.messages,
            pending_bytes=self._bounds.bytes,
            subscriptions=0 if engine is None else len(engine.feeds),
            servers=len(nodes),
            servers_connected=sum(node.is_connected for node in nodes),
            moved=0 if engine is None else engine.moved,
        )

    async def close(self) -> None:
        """Wait for acknowledgements, at most ``close_timeout``, and disconnect."""
        engine = self._engine
        if not await self._lifecycle.closing() or engine is None:
            return
        try:
            if self._bounds.messages:
                self._drained = self._loop.create_future()
                await asyncio.wait([self._drained], timeout=self._close_timeout)
            if self._presence is not None:
                await self._presence.end()
        finally:
            if self._presence is not None:
                self._presence.stop()
            self._probe_timer.cancel()
            await finish(engine.disconnect())

    @property
    def _started(self) -> RedisEngine:
        if self._engine is None:
            raise BackplaneError("the backplane is not started")
        return self._engine

    def _changed(self, cause: str) -> None:
        if self._presence is not None:
            self._presence.tell_again()
        if self.is_connected != self._was_connected:
            self._was_connected = self.is_connected
            self._receiver.connected(self._was_connected, cause)

    def _replied(self) -> None:
        if self._drained is not None and not self._bounds.messages and not self._drained.done():
            self._drained.set_result(None)

    # Probes

    def _probe_later(self) -> None:
        self._probe_due = self._loop.time() + self._probe_interval
        self._probe_timer = self._loop.call_at(self._probe_due, self._probe)

    def _probe(self) -> None:
        # A loop that was blocked has not read what may have come.
        is_late = self._loop.time() - self._probe_due > self._probe_interval / 2
        self._probe_later()
        for node in self._started.nodes:
            node.probe(self._probe_interval, is_late)
