"""Whether another attempt may succeed, and when the server wants it."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Optional, Union

from picows_codec import (
    WSConnectionError,
    WSDisconnectCause,
    WSDisconnectKind,
    WSHandshakeError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidURL,
    WSProtocolError,
    WSProxyError,
)

__all__ = [
    "Outcome",
    "has_been_logged",
    "is_a_fault",
    "is_transient",
    "looks_like_own_fault",
    "retry_after_of",
]

# What became of an attempt (its exception), or of an open connection (its cause).
Outcome = Union[BaseException, WSDisconnectCause]

# The same request will get the same response (RFC 9110, 15.5).
_LASTING_STATUSES = frozenset({400, 401, 403, 404, 405, 410, 426})
_OVERLOAD_STATUSES = frozenset({429, 503})
# The peer complains of what this side sent (RFC 6455, 7.4.1), or an application does (4000 on).
_FUTURE = "_open"  # of ``Opening``: there the future of an opening is awaited
_LIBRARY = frozenset({"picows_client", "picows_codec"})
_CALLERS = frozenset({_FUTURE, "made_anew"})  # what they raise themselves is a caller's
# What networks and servers do.
_HAPPENS = (
    *(OSError, TimeoutError, asyncio.TimeoutError, EOFError),
    *(WSHandshakeError, WSConnectionError, WSProtocolError),
)
_COMPLAINTS = frozenset({1002, 1003, 1007, 1008, 1009, 1010, *range(4000, 5000)})


def is_transient(outcome: Outcome) -> bool:
    """Tell whether to connect again: the default of ``retry``.

    False for a wrong URL or option (:class:`WSInvalidURL`, :class:`WSInvalidOptionError` and
    :class:`TypeError` of the library's check), for a certificate of the server or of an
    ``https://`` proxy that does not verify, and for the statuses 400, 401, 403, 404, 405, 410 and
    426 of the server. True for everything else: exceptions of the functions and callbacks that a
    caller passes, and whatever way an open connection ended.

    :param outcome: the exception of an attempt, or the :class:`WSDisconnectCause` of a connection.
    """
    if isinstance(outcome, WSInvalidStatusError):
        return outcome.status not in _LASTING_STATUSES
    if isinstance(outcome, (TypeError, WSInvalidURL, WSInvalidOptionError)):
        return _is_of_caller(outcome)
    if isinstance(outcome, WSProxyError):
        return not isinstance(outcome.__cause__, ssl.CertificateError)
    return not isinstance(outcome, ssl.CertificateError)


def _is_of_caller(error: BaseException) -> bool:
    """Tell an error in a caller's function or callback from one of the library's checks.

    The library's have its frames only. Those that a callback raises pass a future, without frames.
    """
    traceback = error.__traceback__
    if traceback is None:
        return False
    is_within = False
    name = ""
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if module in _LIBRARY:
            is_within = True
        elif is_within and module != "asyncio":
            return True
        name = traceback.tb_frame.f_code.co_name
        traceback = traceback.tb_next
    return not is_within or name in _CALLERS


def is_a_fault(error: BaseException) -> bool:
    """Tell what a program did wrong from what happens to networks and servers."""
    return not isinstance(error, _HAPPENS)


def has_been_logged(error: BaseException) -> bool:
    """Tell whether it is an exception of the listener's, which was logged with its traceback."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code.co_name == _FUTURE


def looks_like_own_fault(outcome: Outcome) -> bool:
    """Tell whether the peer closed with a code that complains of this side."""
    return (
        isinstance(outcome, WSDisconnectCause)
        and outcome.kind is WSDisconnectKind.PEER_CLOSE
        and outcome.close is not None
        and outcome.close.code in _COMPLAINTS
    )


def retry_after_of(outcome: Outcome) -> Optional[float]:
    """Return the seconds that a server which refused by 429 or 503 wants to be left alone."""
    if not isinstance(outcome, WSInvalidStatusError) or outcome.response is None:
        return None
    if outcome.status not in _OVERLOAD_STATUSES:
        return None
    value = outcome.response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:18])
    try:
        moment = parsedate_to_datetime(value)
    except Exception:  # noqa: BLE001 - it has raised five kinds, and the value is the server's
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
