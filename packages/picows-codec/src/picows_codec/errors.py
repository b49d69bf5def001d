"""Everything that picows raises or reports, in one tree.

::

    WSError
    ├── WSUsageError                  the caller's mistake, raised at the call
    │   ├── WSInvalidURL              (also ValueError)
    │   ├── WSInvalidOptionError      (also ValueError)
    │   ├── WSInvalidCloseError       (also ValueError)
    │   ├── WSInvalidFrameError       (also ValueError)
    │   ├── WSStateError              (also RuntimeError)
    │   └── WSThreadError             (also RuntimeError)
    ├── WSHandshakeError              the opening handshake failed
    │   ├── WSInvalidMessageError     not HTTP, or over a limit
    │   ├── WSInvalidStatusError      a status other than 101
    │   ├── WSInvalidHeaderError      a header is missing, repeated or wrong
    │   │   └── WSInvalidUpgradeError Upgrade or Connection
    │   └── WSHandshakeTimeout        (also TimeoutError)
    ├── WSProtocolError               the peer broke RFC 6455; carries the close code
    └── WSConnectionError             (also ConnectionError) the connection ended
        ├── WSConnectionClosed        what a WSConnection raises then, with code and reason
        ├── WSPingTimeout
        ├── WSDataTimeout
        ├── WSCloseTimeout
        ├── WSSlowConsumer            the write queue passed its hard cap, or stood still
        └── WSProxyError              a proxy refused the connection

An argument of a wrong type raises a plain :class:`TypeError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple, Type

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from picows_codec.disconnect import WSCloseInfo, WSDisconnectCause
    from picows_codec.http.upgrade import WSUpgradeResponse

__all__ = [
    "WSCloseTimeout",
    "WSConnectionClosed",
    "WSConnectionError",
    "WSDataTimeout",
    "WSError",
    "WSHandshakeError",
    "WSHandshakeTimeout",
    "WSInvalidCloseError",
    "WSInvalidFrameError",
    "WSInvalidHeaderError",
    "WSInvalidMessageError",
    "WSInvalidOptionError",
    "WSInvalidStatusError",
    "WSInvalidURL",
    "WSInvalidUpgradeError",
    "WSPingTimeout",
    "WSProtocolError",
    "WSProxyError",
    "WSSlowConsumer",
    "WSStateError",
    "WSThreadError",
    "WSUsageError",
]


class WSError(Exception):
    """Root of the tree. Errors can be pickled and copied, without traceback and ``__cause__``."""

    def __reduce__(self) -> Tuple[Any, ...]:
        # That of BaseException would call the class with what is in args.
        return _restored, (type(self), self.args, self.__dict__.copy())


def _restored(kind: Type[WSError], args: Tuple[Any, ...], fields: Dict[str, Any]) -> WSError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class WSUsageError(WSError):
    """The caller asked for something that cannot be done; nothing was sent."""


class WSInvalidURL(WSUsageError, ValueError):
    """A URL that is not a valid ``ws://`` or ``wss://`` URL (RFC 6455, 3)."""

    def __init__(self, url: object, message: str) -> None:
        super().__init__(f"{url!r} is not a valid WebSocket URL: {message}")
        self.url = url


class WSInvalidOptionError(WSUsageError, ValueError):
    """An option outside its range."""


class WSInvalidCloseError(WSUsageError, ValueError):
    """A close code or reason that may not be sent (RFC 6455, 7.4)."""


class WSInvalidFrameError(WSUsageError, ValueError):
    """A frame that RFC 6455 does not allow at all, or not at this point of the stream."""


class WSStateError(WSUsageError, RuntimeError):
    """The connection is not in a state in which the call makes sense."""


class WSThreadError(WSUsageError, RuntimeError):
    """A transport was used from another thread than its event loop's."""


class WSHandshakeError(WSError):
    """The opening handshake failed (RFC 6455, 4).

    ``raw_header`` and ``raw_body`` hold what had arrived of the peer's message (bytes or None),
    ``response`` the parsed response if there was one. ``status`` is the HTTP status that goes
    with the error: on a server, that of its response; on a client, that of the server's, or None.
    """

    status: Optional[int] = 400

    def __init__(
        self,
        message: str,
        raw_header: Optional[bytes] = None,
        raw_body: Optional[bytes] = None,
        response: Optional[WSUpgradeResponse] = None,
        status: Optional[int] = None,
    ) -> None:
        super().__init__(message)
        self.raw_header = raw_header
        self.raw_body = raw_body
        self.response = response
        if status is not None:
            self.status = status


class WSInvalidMessageError(WSHandshakeError):
    """The peer's handshake is not HTTP/1.1 as RFC 6455 requires, or passes a limit."""


class WSInvalidStatusError(WSHandshakeError):
    """The server sent a status other than 101; see ``status`` and ``response``."""

    status: int


class WSInvalidHeaderError(WSHandshakeError):
    """A header of the handshake is missing, repeated or has a wrong value."""

    def __init__(
        self,
        message: str,
        name: str,
        value: Optional[str] = None,
        raw_header: Optional[bytes] = None,
        raw_body: Optional[bytes] = None,
        response: Optional[WSUpgradeResponse] = None,
        status: Optional[int] = None,
    ) -> None:
        super().__init__(message, raw_header, raw_body, response, status)
        self.name = name
        self.value = value


class WSInvalidUpgradeError(WSInvalidHeaderError):
    """The Upgrade or Connection header does not ask for, or agree to, WebSocket."""

    status = 426


class WSHandshakeTimeout(WSHandshakeError, TimeoutError):
    """The opening handshake did not finish within ``websocket_handshake_timeout``."""

    status = 408


class WSProtocolError(WSError):
    """The peer broke RFC 6455; ``code`` is the close code for that.

    ``frames`` has the frames that :meth:`WSFrameParser.feed` had completed before; from elsewhere
    it is empty.
    """

    frames: Sequence[Tuple[int, bool, bytes]] = ()

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class WSConnectionError(WSError, ConnectionError):
    """The connection ended without a closing handshake."""


class WSConnectionClosed(WSConnectionError):
    """The connection of a :class:`WSConnection` is closed, or is being closed.

    ``code`` and ``reason``: those of the CLOSE frame that the peer sent, else of the one that this
    side sent, else 1006 (ABNORMAL_CLOSURE) and "". ``received``, ``sent``: both frames as
    :class:`WSCloseInfo`, None for one that there was not. ``cause``: the
    :class:`WSDisconnectCause`, whose exception, if there is one, is ``__cause__``.
    """

    def __init__(
        self,
        code: int,
        reason: str = "",
        cause: Optional[WSDisconnectCause] = None,
        received: Optional[WSCloseInfo] = None,
        sent: Optional[WSCloseInfo] = None,
    ) -> None:
        super().__init__()
        self.args = (code, reason)  # OSError would take two arguments for errno and strerror
        self.code = code
        self.reason = reason
        self.cause = cause
        self.received = received
        self.sent = sent

    def __str__(self) -> str:
        """Who or what ended the connection, with codes and reasons."""
        if self.cause is not None:
            return str(self.cause)
        return f"the connection is closed: {int(self.code)} {self.reason}".rstrip()


class WSPingTimeout(WSConnectionError):
    """No pong within ``auto_ping_reply_timeout``."""


class WSDataTimeout(WSConnectionError):
    """No data frame within ``data_timeout``."""


class WSCloseTimeout(WSConnectionError):
    """The peer did not finish the closing handshake within ``close_timeout``."""


class WSSlowConsumer(WSConnectionError):
    """The peer reads too slowly.

    The write queue passed ``max_write_queue_size``, or stood still for ``stall_timeout``.
    """


class WSProxyError(WSConnectionError):
    """The proxy refused or could not reach the server.

    If an HTTP proxy refused, ``status``, ``headers`` (a case-insensitive multidict of str) and
    ``body`` (bytes, at most 64 KiB, what came within a second) are set; otherwise they are None.
    """

    def __init__(
        self,
        message: str,
        status: Optional[int] = None,
        headers: Optional[CIMultiDict[str]] = None,
        body: Optional[bytes] = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = body
