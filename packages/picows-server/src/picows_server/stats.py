"""``WSServerStats``: what a server has done so far, and what it has now."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, TypeVar

from picows_codec import WSDisconnectKind

if TYPE_CHECKING:
    from picows_server.topics.stats import TopicsStats

__all__ = ["WSServerStats"]

_K = TypeVar("_K")

# Where several servers have a highest value, the highest of them all counts.
_HIGHEST = ("write_queue_bytes_highest", "loop_lag")
# What a server has now, and has no more when it has ended.
_GAUGES = ("connections", "pending_handshakes", "write_queue_bytes", "loop_lag")


@dataclass(frozen=True)
class WSServerStats:
    """Running totals of one server since it was made, and what it has now.

    ``stats + stats`` adds up those of several servers or workers; so does ``sum``. Objects can be
    pickled.

    Every connection that has ended is in one of ``closed``, ``refused`` and ``responses``.
    """

    #: Open connections.
    connections: int = 0
    #: Connections in their opening handshake (TLS, then HTTP), or refused but not ended.
    pending_handshakes: int = 0
    #: Connections whose opening handshake succeeded.
    opened: int = 0
    #: Open connections that have ended, by what ended them. ``HANDSHAKE_FAILURE`` counts those
    #: that ended before a response began: lost, too slow, or without TLS, for example.
    closed: Mapping[WSDisconnectKind, int] = field(default_factory=dict)
    #: Opening handshakes that were refused, by the status of their response: those whose request
    #: has ``Upgrade: websocket``, and what could not be read as a request.
    refused: Mapping[int, int] = field(default_factory=dict)
    #: Responses to all other requests, by their status: health checks, pages, and a 426 for a path
    #: that is for WebSocket, whatever the method. A file counts also if its client leaves in the
    #: middle.
    responses: Mapping[int, int] = field(default_factory=dict)
    #: Messages, each counted with its first frame.
    messages_received: int = 0
    messages_sent: int = 0
    #: Frames, with PING, PONG and CLOSE.
    frames_received: int = 0
    frames_sent: int = 0
    #: Bytes of connections below TLS's encryption and above its decryption: frames with their
    #: headers, as compressed as they are sent, and what is HTTP.
    bytes_received: int = 0
    bytes_sent: int = 0
    #: Automatic pings whose pong did not come within ``auto_ping_reply_timeout``.
    pings_lost: int = 0
    #: Bytes that wait until the kernel takes them. Connections over TLS and others that are not on
    #: backend ``"stream"`` count while they are above ``write_high_watermark``.
    write_queue_bytes: int = 0
    #: The most that ``write_queue_bytes`` has been.
    write_queue_bytes_highest: int = 0
    #: Connections that ended because their peer did not read, files included: see
    #: ``max_write_queue_size`` and ``stall_timeout``.
    slow_consumers: int = 0
    #: What peers did against RFC 6455 or beyond a limit, by kind, such as ``"invalid_utf8"``.
    violations: Mapping[str, int] = field(default_factory=dict)
    #: Seconds by which the event loop called back late, the worst of the last 15 to 30 seconds. 0
    #: until the second after the first call of :meth:`WSServer.stats`, which starts to measure.
    loop_lag: float = 0.0
    #: What ``server.topics`` counts; None without.
    topics: Optional[TopicsStats] = None

    def __add__(self, other: object) -> WSServerStats:
        if not isinstance(other, WSServerStats):
            return NotImplemented
        values: Dict[str, Any] = {}
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Mapping):
                values[each.name] = _sum_of(mine, its)
            elif mine is None or its is None:
                values[each.name] = its if mine is None else mine
            else:
                values[each.name] = max(mine, its) if each.name in _HIGHEST else mine + its
        return WSServerStats(**values)

    def __radd__(self, other: object) -> WSServerStats:
        # sum() begins with 0.
        return self if other == 0 else NotImplemented

    def of_ended(self) -> WSServerStats:
        """The totals of a server that has ended: the same, and 0 for all that it has no more."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in _GAUGES:
            values[name] = type(values[name])(0)
        if self.topics is not None:
            values["topics"] = self.topics.of_ended()
        return WSServerStats(**values)


def _sum_of(mine: Mapping[_K, int], its: Mapping[_K, int]) -> Dict[_K, int]:
    total = dict(mine)
    for key, count in its.items():
        total[key] = total.get(key, 0) + count
    return total
