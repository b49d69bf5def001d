"""The states of a connection and how it ended: closing handshake and cause."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Optional

from picows_codec.errors import WSCloseTimeout, WSDataTimeout, WSPingTimeout, WSSlowConsumer
from picows_codec.log_text import one_line

__all__ = ["WSCloseHandshake", "WSCloseInfo", "WSDisconnectCause", "WSDisconnectKind", "WSState"]

_NO_STATUS_RECEIVED = 1005
_ABNORMAL_CLOSURE = 1006
# What they say is what their kinds say, with numbers.
_TELL_ALL = (WSCloseTimeout, WSDataTimeout, WSPingTimeout, WSSlowConsumer)


class WSState(IntEnum):
    """States of a connection (RFC 6455, 4.1 and 7.1); they only ever advance."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class WSDisconnectKind(Enum):
    """Who or what ended a connection."""

    PEER_CLOSE = "the peer closed"
    LOCAL_CLOSE = "this side closed"
    LOCAL_ABORT = "this side dropped the connection without a closing handshake"
    PROTOCOL_ERROR = "the peer broke RFC 6455 or passed a limit"
    PING_TIMEOUT = "the peer did not answer a ping"
    DATA_TIMEOUT = "the peer sent no data within data_timeout"
    CLOSE_TIMEOUT = "the peer did not complete the closing handshake in time"
    SLOW_CONSUMER = "the peer did not read: the write queue passed a limit of size or time"
    CONNECTION_LOST = "the connection broke or ended without a closing handshake"
    HANDSHAKE_FAILURE = "the opening handshake failed"
    LISTENER_EXCEPTION = "a callback of the listener raised an exception"


@dataclass(frozen=True)
class WSCloseInfo:
    """Code and reason of a CLOSE frame (RFC 6455, 5.5.1).

    ``code`` is a :class:`WSCloseCode` where it has a name, ``NO_STATUS_RECEIVED`` for an empty
    frame. ``reason`` is "" if there is none.
    """

    code: int
    reason: str

    def __str__(self) -> str:
        """``1012 (service restart)``, fit for one line of a log."""
        if self.code == _NO_STATUS_RECEIVED:
            return "no code"
        return f"{int(self.code)} ({one_line(self.reason)})" if self.reason else str(int(self.code))


@dataclass(frozen=True)
class WSDisconnectCause:
    """Why a connection ended.

    ``kind`` says who or what ended it. ``exception`` is the error behind it, if there is one.
    ``unsent_bytes`` is how much of what was sent (frames, headers included) had not been handed to
    the operating system; 0 after an orderly close. It is exact on ``picows_codec.stream``. Other
    transports (TLS, an event loop's own) drop their queues before they report a lost connection:
    what they held then is counted only where this side dropped the connection. ``close`` is the
    CLOSE frame that ended it, if one did: the peer's (PEER_CLOSE), else the one that this side
    sent.
    """

    kind: WSDisconnectKind
    exception: Optional[BaseException] = None
    unsent_bytes: int = 0
    close: Optional[WSCloseInfo] = None

    @property
    def code(self) -> int:
        """The code of ``close``, or 1006 (ABNORMAL_CLOSURE) without one."""
        return _ABNORMAL_CLOSURE if self.close is None else self.close.code

    @property
    def reason(self) -> str:
        """The reason of ``close``, or "" without one."""
        return "" if self.close is None else self.close.reason

    def __str__(self) -> str:
        """One line: kind, code and reason or the exception's text, what was not sent."""
        text = self.kind.value
        if isinstance(self.exception, _TELL_ALL):
            text = ""
        closes = self.kind in (WSDisconnectKind.PEER_CLOSE, WSDisconnectKind.LOCAL_CLOSE)
        if self.close is not None and closes:
            text += f": {self.close}"
        if self.exception is not None:
            text += f"{': ' if text else ''}{one_line(self.exception)}"
        if self.close is not None and not closes:
            text += f"; the peer was told {int(self.close.code)}"
        if self.unsent_bytes:
            text += f" ({self.unsent_bytes} bytes were not sent)"
        return text


@dataclass(frozen=True)
class WSCloseHandshake:
    """The CLOSE frames of a connection.

    ``recv`` was received and ``sent`` was sent; None if there was none. ``recv_then_sent``: the
    received one came first.
    """

    recv: Optional[WSCloseInfo]
    sent: Optional[WSCloseInfo]
    recv_then_sent: bool
