"""``WSConnectionStats``: what one connection has done so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

__all__ = ["WSConnectionStats"]


@dataclass(frozen=True)
class WSConnectionStats:
    """What one connection has done so far, see :meth:`WSTransport.stats`.

    Messages count with their first frame, frames with those of PING, PONG and CLOSE. Bytes are
    those above TLS: frames with their headers, as compressed as they are sent, and the opening
    handshake.
    """

    #: Seconds since the connection was there and its opening handshake began, or until it ended.
    age: float
    #: Seconds since bytes came from the peer, or from then until the end.
    last_heard: float
    #: Seconds of the last round trip that was measured, by a ping of the library; None: none was.
    rtt: Optional[float]
    #: Messages, each counted with its first frame.
    messages_received: int
    messages_sent: int
    #: Frames, with PING, PONG and CLOSE.
    frames_received: int
    frames_sent: int
    #: Bytes of frames with their headers, and of the opening handshake.
    bytes_received: int
    bytes_sent: int
