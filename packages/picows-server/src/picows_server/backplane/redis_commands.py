"""What ``RedisBackplane`` says to Redis, byte for byte."""

from __future__ import annotations

from binascii import crc_hqx
from typing import Any, List, Optional

from picows_server.backplane.envelope import plain_envelope
from picows_server.backplane.interface import BackplaneError, HistoryRule, Position
from picows_server.backplane.outbox import Batch
from picows_server.backplane.redis_dialing import encode_command
from picows_server.backplane.redis_scripts import ANNOUNCE, COUNT, HISTORY, PUBLISH, RedisScript

__all__ = ["SLOTS", "RedisCommands", "slot_of"]

#: Of a cluster.
SLOTS = 16384

# What EXPIRE takes in every version.
_MOST_SECONDS = 10**9
# Entries and bytes of a history after which a reply ends: what the loop takes in one go.
_PAGE = 1000
_PAGE_BYTES = 1_048_576


class RedisCommands:
    """Commands of one process.

    :param producer: how the process calls itself.
    :param prefix: of all keys and channels.
    :param topic_ttl: of a topic to which nobody publishes; all in seconds.
    :param producer_ttl: of what is known of a process.
    :param presence_ttl: of what a process has announced.
    """

    def __init__(
        self,
        producer: bytes,
        prefix: bytes,
        topic_ttl: float,
        producer_ttl: float,
        presence_ttl: Optional[float],
    ) -> None:
        self._producer = producer
        self._process = producer.hex().encode("ascii")
        self.prefix = prefix
        self._topic_ttl = _seconds(topic_ttl)
        self._producer_ttl = _seconds(producer_ttl)
        self._presence_ttl = 0 if presence_ttl is None else _seconds(presence_ttl)
        self.is_sharded = False
        self._publish, self._subscribe, self._unsubscribe = b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE"
        #: A channel that everybody may subscribe to at every server.
        self.mark = prefix + b"probe:" + self._process + b":all"

    def shard(self) -> None:
        """Publish to the server of each topic only, as a cluster can.

        :raises BackplaneError: the prefix does not allow it.
        """
        if b"{" in self.prefix:
            raise BackplaneError(
                f"prefix={self.prefix.decode('utf-8')!r} has a brace, by which a cluster would have"
                " all topics in one slot; use a prefix without"
            )
        self.is_sharded = True
        self._publish, self._subscribe = b"SPUBLISH", b"SSUBSCRIBE"
        self._unsubscribe = b"SUNSUBSCRIBE"

    # Scripts

    @staticmethod
    def loads() -> List[bytes]:
        """Return what makes the scripts known to a server."""
        return [
            encode_command(b"SCRIPT", b"LOAD", script.text)
            for script in (PUBLISH, HISTORY, COUNT, ANNOUNCE)
        ]

    def publish(self, batch: Batch, before: int, run: bytes) -> bytes:
        """Publish a batch.

        :param before: the sequence number that the engine must have seen before; 0: any.
        :param run: of the server.
        """
        topic, rule = batch.topic, batch.history
        if rule is None:
            envelope = plain_envelope(self._producer, batch.records)
            return encode_command(self._publish, self.channel(topic), envelope)
        kept = self._kept(rule)
        return _call(
            PUBLISH,
            [self._key(topic, b"m"), self._key(topic, b"s")],
            run,
            self._process,
            max(kept, self._topic_ttl),
            batch.last,
            before,
            rule.size,
            _milliseconds(rule),
            kept,
            self.channel(topic),
            self._publish,
            self._producer,
            self._producer_ttl,
            *batch.records,
        )

    def history(
        self,
        topic: str,
        since: Optional[Position],
        rule: HistoryRule,
        run: bytes,
        last: int = 0,
        *,
        is_first: bool = True,
    ) -> bytes:
        """Read what came after a position, or the last messages, see :class:`Backplane`.

        :param is_first: no page was read before it. What was young enough then is not too old.
        """
        return _call(
            HISTORY,
            [self._key(topic, b"m"), self._key(topic, b"s")],
            run,
            self._process,
            max(self._kept(rule), self._topic_ttl),
            b"" if since is None else since.offset,
            b"" if since is None else since.epoch.encode("ascii", "replace"),
            _milliseconds(rule) if is_first else 0,
            last,
            _PAGE,
            _PAGE_BYTES,
        )

    def _kept(self, rule: HistoryRule) -> int:
        """Return the seconds after which a topic's messages expire."""
        return self._topic_ttl if rule.seconds is None else _seconds(rule.seconds)

    def count(self, topic: str) -> bytes:
        """Ask for the subscribers of all processes."""
        return _call(COUNT, [self._key(topic, b"n")])

    def announce(self, topic: str, count: int) -> bytes:
        """Say how many subscribers there are here."""
        return _call(ANNOUNCE, [self._key(topic, b"n")], self._process, count, self._presence_ttl)

    # Channels

    def subscribe(self, channel: bytes) -> bytes:
        """Subscribe to a topic's channel, or to a probe's."""
        return encode_command(self._subscribe, channel)

    def unsubscribe(self, channel: bytes) -> bytes:
        """Subscribe to it no more."""
        return encode_command(self._unsubscribe, channel)

    def subscribe_to_mark(self) -> bytes:
        """Subscribe to what is confirmed after all that was subscribed to before."""
        return encode_command(b"SUBSCRIBE", self.mark)

    def probe(self, channel: bytes) -> bytes:
        """Publish to a channel of one's own."""
        return encode_command(self._publish, channel, b"probe")

    def look(self, topic: str) -> bytes:
        """Tell those who are subscribed at this server that another one has got a message."""
        return encode_command(
            self._publish, self.channel(topic), plain_envelope(self._producer, [])
        )

    # Names

    def probe_channel(self, tag: bytes) -> bytes:
        """Return a channel that nobody else has.

        :param tag: decides in which slot it is.
        """
        return b"%b{%b}:probe:%b" % (self.prefix, tag, self._process)

    def channel(self, topic: str) -> bytes:
        """Return the channel of a topic."""
        return self._key(topic, b"c")

    def _key(self, topic: str, what: bytes) -> bytes:
        return b"%b{%b}:%b" % (self.prefix, _hash_tag(topic), what)


def slot_of(key: bytes) -> int:
    """Return the slot of a key or a channel whose prefix has no brace."""
    tag = key[key.index(b"{") + 1 : key.index(b"}")]
    return crc_hqx(tag, 0) % SLOTS


def _hash_tag(topic: str) -> bytes:
    """Return the part of a topic's keys that decides in which slot they are."""
    # It ends with the first brace, and an empty one is none.
    name = topic.encode("utf-8", "surrogatepass").replace(b"%", b"%25").replace(b"}", b"%7D")
    return name or b"%"


def _call(script: RedisScript, keys: List[bytes], *arguments: Any) -> bytes:
    parts = [each if isinstance(each, bytes) else b"%d" % each for each in arguments]
    return encode_command(b"EVALSHA", script.digest, b"%d" % len(keys), *keys, *parts)


def _seconds(value: float) -> int:
    return min(max(1, int(value + 0.999)), _MOST_SECONDS)


def _milliseconds(rule: HistoryRule) -> int:
    return 0 if rule.seconds is None else max(1, int(rule.seconds * 1000))
