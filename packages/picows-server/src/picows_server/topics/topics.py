"""``Topics``: messages for all connections that have subscribed to a name."""

from __future__ import annotations

import dataclasses
import inspect
import math
from types import TracebackType
from typing import TYPE_CHECKING, Any, List, Optional, Protocol, Sequence, Tuple, Type, Union

from picows_codec import (
    WSInvalidOptionError,
    WSMessage,
    WSMsgType,
    WSPreparedMessage,
    WSTransport,
)
from picows_server.backplane.interface import Backplane, Position
from picows_server.logs import Logger, resolve_logger
from picows_server.topics.local import Limits, LocalTopics, Subscribed
from picows_server.topics.membership import Key
from picows_server.topics.names import (
    checked_count,
    checked_key,
    checked_name,
    checked_position,
)
from picows_server.topics.relay import OnGap, Relay
from picows_server.topics.rules import Envelope, checked_rule
from picows_server.topics.stats import SubscriberStats, TopicsStats

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

__all__ = ["Topics"]


class _HasTransport(Protocol):
    @property
    def transport(self) -> Optional[WSTransport]: ...


_Connection = Union[WSTransport, _HasTransport]
_Payload = Union[WSPreparedMessage, str, "Buffer", WSMessage, None]


class Topics:
    """Messages for all connections that have subscribed to a name.

    ::

        topics = Topics()
        topics.configure("book.", when_slow="latest", retain=True)
        topics.subscribe(transport, "book.BTC")
        topics.publish("book.BTC", payload)

    One object serves the connections of one event loop, of any number of its servers. It belongs to
    the thread that uses it first; on another one every method but :meth:`stats` and
    :meth:`stats_of` raises :class:`WSThreadError`. :meth:`configure` may be called on any thread as
    long as there are no topics. Where a connection is wanted, it takes a
    :class:`WSTransport`, or what has one as ``transport``, as a :class:`WSConnection` and a
    :class:`WSListener` have. Something else, None for example, raises :class:`TypeError`; a
    connection that is not open, or a ``transport`` that is None, is no error.

    Topics, keys, positions and numbers of messages may come from peers as they are: what cannot be
    one, whatever its type, raises :class:`WSTopicError`, as a limit does that is reached.

    A connection gets everything in the order in which it was published and sent, across topics and
    with ``transport.send``. What ``"latest"`` holds back goes when the connection may be sent to
    again.

    :param backplane: carries messages to other processes; a list of them shares the topics out.
        :meth:`start` connects it. None: topics are of this process.
    :param local_echo: with a backplane, connections of this process get what it publishes at once,
        and not in the order in which others get it. Topics with history are never echoed.
    :param on_gap: called with a list of topics of which messages were lost, or may have been; the
        application should send or publish what is true now. Not a coroutine function.
    :param unsubscribe_grace: seconds for which the engine goes on sending a topic after its last
        subscriber here has gone.
    :param max_topic_length: characters of a topic, and of a key.
    :param max_topics: topics with subscribers, a history, or messages that are kept. One without
        subscribers makes room; if there is none, ``subscribe`` raises :class:`WSTopicError`.
    :param max_topics_per_connection: beyond it ``subscribe`` raises :class:`WSTopicError`.
    :param max_retained_bytes: of all topics: payloads, keys, and 400 bytes for each message. The
        message that was published first makes room.
    :param max_history_bytes: the same for histories.
    :param logger_name: a name, or a ``logging.Logger`` or the like.
    :raises WSInvalidOptionError: a limit that is less than 1.
    :raises TypeError: an option of another type.
    """

    def __init__(
        self,
        backplane: Union[Backplane, Sequence[Backplane], None] = None,
        *,
        local_echo: bool = False,
        on_gap: Optional[OnGap] = None,
        unsubscribe_grace: float = 5.0,
        max_topic_length: Optional[int] = 255,
        max_topics: Optional[int] = 1_000_000,
        max_topics_per_connection: Optional[int] = 1000,
        max_retained_bytes: Optional[int] = 67_108_864,
        max_history_bytes: Optional[int] = 268_435_456,
        logger_name: Union[str, Logger, None] = "server",
    ) -> None:
        limits = Limits(
            _checked("max_topic_length", "characters", max_topic_length),
            _checked("max_topics", "topics", max_topics),
            _checked("max_topics_per_connection", "topics", max_topics_per_connection),
            _checked("max_retained_bytes", "bytes", max_retained_bytes),
            _checked("max_history_bytes", "bytes", max_history_bytes),
        )
        if not isinstance(local_echo, bool):
            raise TypeError(f"local_echo must be True or False, not {local_echo!r}")
        _check_function("on_gap", on_gap)
        logger = resolve_logger(logger_name)
        self._local = LocalTopics(limits, logger)
        self._relay: Optional[Relay] = None
        if backplane is not None:
            self._relay = Relay(
                self._local,
                _one_backplane(backplane),
                local_echo=local_echo,
                on_gap=on_gap,
                grace=_checked_grace(unsubscribe_grace),
                logger=logger,
            )
            self._local.engine = self._relay

    async def start(self) -> None:
        """Connect to the engine; without a backplane, do nothing.

        :raises BackplaneError: the engine cannot be used, or could not at an earlier start; make a
            new backplane then.
        :raises WSStateError: it was started before.
        """
        self._local.fan_out.is_under_way()
        if self._relay is not None:
            await self._relay.start()

    async def close(self) -> None:
        """Disconnect from the engine when it has what was published; it waits a bounded time."""
        if self._relay is not None:
            await self._relay.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    @property
    def is_connected(self) -> bool:
        """Whether the engine can be reached; True without a backplane. For ``ready_checks``."""
        return self._relay is None or self._relay.backplane.is_connected

    def configure(
        self,
        prefix: str,
        *,
        when_slow: str = "disconnect",
        retain: bool = False,
        history: int = 0,
        history_seconds: Optional[float] = None,
        envelope: Optional[Envelope] = None,
    ) -> None:
        """Set the rule of all topics whose names begin with ``prefix``, also of those that exist.

        The longest prefix counts, and its rule alone: what this call does not say has the
        default, whatever shorter prefixes say. ``""`` is the prefix of all topics. A second call
        for a prefix replaces the rule. With a backplane all processes must have the same
        ``history``, those that only publish, too.

        :param when_slow: what is done for connections that do not read. ``"disconnect"``: they end
            when ``max_write_queue_size`` is reached. ``"drop"``: beyond ``write_high_watermark``
            they miss messages. ``"latest"``: beyond it the last message for each topic and key
            waits for them, up to ``max_write_queue_size``.
        :param retain: keep the last message of each topic and key, and send these to new
            subscribers first.
        :param history: keep so many messages, which :meth:`subscribe_from` sends to those who come
            back. Not with ``"latest"``.
        :param history_seconds: not for longer than that.
        :param envelope: called once per message with topic, payload (bytes) and
            :class:`Position` (None without history); returns the payload that subscribers get, as
            str or bytes. What it raises, :meth:`publish` raises; with a backplane, where it is
            called for what comes from the engine, it is logged and the message is left out.
        :raises WSInvalidOptionError: a value out of range, or two that exclude each other.
        """
        rule = checked_rule(prefix, when_slow, retain, history, history_seconds, envelope)
        if rule.history is not None and self._relay is not None:
            backplane = self._relay.backplane
            if not backplane.supports_history:
                raise WSInvalidOptionError(
                    f"history={history}: {type(backplane).__name__} keeps no history (NATS has"
                    " none, Redis has); use an engine that does, or on_gap="
                )
        self._local.configure(rule)

    # Subscribing

    def subscribe(self, transport: _Connection, topic: str) -> bool:
        """Subscribe a connection to a topic, after sending it what the topic retains.

        It is unsubscribed when it ends, after its ``on_ws_disconnected``.

        :returns: whether the connection is subscribed now: False if it is not open, because it is
            being closed, for example. A second subscription changes nothing.
        :raises WSTopicError: the name cannot be a topic's, or a limit is reached.
        :raises WSStateError: there is a backplane, and it is not started, or closed.
        """
        found = transport if type(transport) is WSTransport else _transport_of(transport)
        if self._relay is not None:
            self._relay.check_is_running()
        return found is not None and self._local.subscribe(found, topic)

    async def subscribe_from(
        self,
        transport: _Connection,
        topic: str,
        since: Optional[Tuple[int, str]] = None,
        *,
        last: int = 0,
    ) -> Subscribed:
        """Subscribe a connection to a topic with history, beginning after a position.

        Messages after ``since`` are sent, then live ones, each once and in order. If they are not
        all there any more, or ``since`` is None, the last ``last`` messages are sent instead, or if
        that is 0, what the topic retains; and ``recovered`` is False.

        :param since: a :class:`Position`, as a pair of offset and epoch: that of the last message
            that the client has. None if it has none.
        :raises WSTopicError: as :meth:`subscribe`; or ``since`` or ``last`` is something else, the
            topic has no history, or the connection is subscribed to it already.
        :raises WSStateError: as :meth:`subscribe`.
        :raises BackplaneError: the engine has not confirmed the topic within 10 seconds, its
            history cannot be read, or more than 16 MiB of live messages have arrived meanwhile. The
            connection is not subscribed.
        """
        position, last = checked_position(since), checked_count(last)
        found = _transport_of(transport)
        if found is None:
            return Subscribed(position or Position(0, ""), False)
        if self._relay is not None:
            return await self._relay.subscribe_from(found, topic, position, last)
        return self._local.subscribe_since(found, topic, position, last)

    def unsubscribe(self, transport: _Connection, topic: str) -> bool:
        """Unsubscribe a connection: it gets nothing of the topic from now on.

        A :meth:`subscribe_from` that has not returned yet does not subscribe it any more.

        :returns: whether it was subscribed, or about to be.
        :raises WSTopicError: the name cannot be a topic's.
        """
        found = _transport_of(transport)
        if found is None:
            return False
        was_subscribed = self._local.unsubscribe(found, topic)
        return (self._relay is not None and self._relay.give_up(found, topic)) or was_subscribed

    async def confirmed(self, topic: str) -> None:
        """Return when the engine sends this process what is published to a topic from now on.

        Await it after :meth:`subscribe` and before you make a snapshot, so that no message is
        lost between the two. Without a backplane it returns at once; :meth:`subscribe_from` has
        awaited it.

        :raises WSTopicError: the name cannot be a topic's.
        :raises BackplaneError: the engine has not confirmed the topic within 10 seconds, or no
            connection of this process is subscribed to it.
        :raises WSStateError: there is a backplane, and it is not started, or closed.
        """
        checked_name(topic, self._local.limits.topic_length)
        if self._relay is not None:
            await self._relay.confirmed(topic)

    # Publishing

    def publish(
        self,
        topic: str,
        payload: _Payload,
        opcode: WSMsgType = WSMsgType.TEXT,
        *,
        key: Key = None,
        exclude: Optional[_Connection] = None,
    ) -> int:
        """Send a message to all subscribers of a topic.

        Called per message; watched by the topics bench.

        :param payload: str; bytes or another contiguous buffer, which must be UTF-8 for TEXT; or a
            :class:`WSPreparedMessage`, which has its own opcode.
        :param opcode: TEXT or BINARY.
        :param key: what of the topic the message is about, for ``"latest"`` and ``retain``: a str
            of at most ``max_topic_length`` characters.
        :param exclude: a connection that does not get it, often the one that it came from.
        :returns: how many connections have taken it now. Those for which it waits and those that
            are spared are not counted. 0 if it returns through an engine, or if it is published
            by code that runs in the middle of another publish (an envelope, a tap, a finalizer):
            then it follows that one, and what an envelope raises for it is logged.
        :raises WSInvalidFrameError: another opcode, or TEXT that is not UTF-8.
        :raises WSTopicError: the name cannot be a topic's, or the key cannot be one.
        :raises WSStateError: there is a backplane, and it is not started, or closed.
        :raises BackplaneFull: the engine has not acknowledged what was published before.
        :raises BackplaneError: the message is over the engine's limit.
        """
        if type(topic) is not str:
            checked_name(topic, self._local.limits.topic_length)
        if key is not None:
            checked_key(key, self._local.limits.topic_length)
        message = (
            payload if type(payload) is WSPreparedMessage else WSPreparedMessage(opcode, payload)
        )
        excluded = None if exclude is None else _transport_of(exclude)
        if self._relay is not None:
            return self._relay.publish(topic, message, key, excluded)
        return self._local.publish(topic, message, key, excluded)

    def batch(self) -> Batch:
        """Return a context manager: what is published inside leaves when its block ends.

        Each subscriber gets it in one write if it has at most 128 KiB; so does what is sent to it
        meanwhile. Await nothing inside, because others would wait, too.
        """
        return Batch(self._local)

    def forget(self, topic: str, *, key: Key = None) -> bool:
        """Drop the retained message of a topic and key; return whether there was one.

        With a backplane, those of this process.

        :raises WSTopicError: the name cannot be a topic's, or the key cannot be one.
        """
        return self._local.forget(topic, checked_key(key, self._local.limits.topic_length))

    # Who and what there is

    def subscribers(self, topic: str) -> List[WSTransport]:
        """The connections of this process that are subscribed to a topic.

        :raises WSTopicError: the name cannot be a topic's.
        """
        return self._local.transports(topic)

    async def count_everywhere(self, topic: str) -> int:
        """How many connections of all processes are subscribed to a topic.

        Those of this process are counted now, those of others as they were up to a second ago.

        :raises WSTopicError: the name cannot be a topic's.
        :raises BackplaneError: the engine cannot be reached, or cannot count.
        :raises WSStateError: there is a backplane, and it is not started, or closed.
        """
        count = len(self._local.transports(topic))
        if self._relay is None:
            return count
        self._relay.check_is_running()
        return await self._relay.backplane.count(topic)

    def of(self, transport: _Connection) -> List[str]:
        """The topics that a connection is subscribed to, also in its ``on_ws_disconnected``."""
        found = _transport_of(transport)
        return [] if found is None else self._local.names(found)

    def stats_of(self, transport: _Connection) -> SubscriberStats:
        """What a connection has of topics, and what it was spared."""
        found = _transport_of(transport)
        return SubscriberStats() if found is None else self._local.stats_of(found)

    def stats(self) -> TopicsStats:
        """Running totals, and what there is now. Callable on any thread."""
        stats = self._local.stats()
        relay = self._relay
        if relay is None:
            return stats
        return dataclasses.replace(
            stats,
            received=relay.received_count,
            invalid=relay.invalid,
            gaps=relay.gaps,
            backplane_down=int(relay.is_running and not relay.backplane.is_connected),
            backplane=relay.backplane.stats(),
        )


class Batch:
    """The context manager of :meth:`Topics.batch`."""

    def __init__(self, local: LocalTopics) -> None:
        self._local = local

    def __enter__(self) -> None:
        self._local.fan_out.begin_batch()

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._local.fan_out.end_batch()
        self._local.publish_later_ones()


def _checked(name: str, unit: str, value: Optional[int]) -> Optional[int]:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{name} must be a number of {unit}, or None for no limit, not {value!r}")
    if value is not None and value < 1:
        raise WSInvalidOptionError(
            f"{name}={value} is out of range: a number of {unit} from 1 is wanted, or None for no"
            " limit"
        )
    return value


def _checked_grace(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"unsubscribe_grace must be a number of seconds, not {seconds!r}")
    if not 0 <= seconds < math.inf:
        raise WSInvalidOptionError(
            f"unsubscribe_grace={seconds} is out of range: a finite number of seconds from 0 is"
            " wanted"
        )
    return float(seconds)


def _check_function(name: str, function: Any) -> None:
    if function is not None and (not callable(function) or inspect.iscoroutinefunction(function)):
        raise TypeError(f"{name} must be a function, and no coroutine function, not {function!r}")


def _one_backplane(backplane: Any) -> Backplane:
    if isinstance(backplane, (list, tuple)):
        from picows_server.backplane.sharded import ShardedBackplane  # noqa: PLC0415 - a layer

        return ShardedBackplane(backplane)
    if isinstance(backplane, type) or not hasattr(backplane, "publish"):
        raise TypeError(
            f"backplane must be a Backplane, such as RedisBackplane(url), not {backplane!r}"
        )
    single: Backplane = backplane
    return single


def _transport_of(owner: Any) -> Optional[WSTransport]:
    if isinstance(owner, WSTransport):
        return owner
    found = getattr(owner, "transport", owner)
    if isinstance(found, WSTransport) or (found is None and owner is not None):
        return found
    raise TypeError(
        "a WSTransport is wanted, or what has one as transport, as a WSConnection and a WSListener"
        f" have, not {type(owner).__name__}"
    )
