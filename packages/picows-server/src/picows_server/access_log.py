"""``AccessLog``: one line of a log for each connection, when it has ended."""

from __future__ import annotations

import logging
from typing import Any, Dict, Optional, Union

from picows_codec import WSUpgradeRequest
from picows_server.logs import Logger, resolve_logger
from picows_server.protocol import ServerProtocol

__all__ = ["AccessLog", "make_access_log"]

# Characters of a value of the peer; a URL or a browser's name is hardly longer.
_MOST = 500
_SAFE = frozenset(map(chr, range(0x20, 0x7F))) - {'"', "\\"}


def make_access_log(value: Union[bool, str, Logger]) -> AccessLog:
    """Take the option ``access_log``: True for ``picows.access``, a name, or a logger."""
    if value is True:
        logger = resolve_logger("access")
    elif isinstance(value, (str, logging.Logger, logging.LoggerAdapter)):
        logger = resolve_logger(value)
    else:
        raise TypeError(
            f"access_log must be True, False, a str or a logger, not {type(value).__name__}"
        )
    if not logger.isEnabledFor(logging.INFO):
        logger.warning(
            "the access log writes nothing as long as its logger is not enabled for the level INFO"
        )
    return AccessLog(logger)


class AccessLog:
    r"""Writes ``key=value`` pairs in a fixed order, in ASCII; ``-`` where there is no value.

    What the peer wrote (path, agent) is in quotes, and cut if it is long. In it ``"``, ``\``,
    control characters and what is not ASCII are escaped as in Python, so a peer can neither begin a
    line nor add a pair.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def write(self, protocol: ServerProtocol) -> None:
        """Write the line of a connection that has ended, of which a record was kept."""
        if not self._logger.isEnabledFor(logging.INFO):
            return
        request, status = protocol.outcome()
        counts = protocol.counts()
        fields: Dict[str, Any] = {
            **protocol.log_fields(),
            "method": None if request is None else request.method,
            "status": status,
            "messages_received": counts.messages_received,
            "messages_sent": counts.messages_sent,
            "agent": _agent_of(request),
        }
        if status != 101:
            if status is not None and fields["cause"] == "handshake_failure":
                fields["cause"] = None  # the response is complete
            fields["code"] = None
        self._logger.info(
            "peer=%s id=%s method=%s path=%s status=%s cause=%s code=%s seconds=%.3f"
            " received=%d sent=%d messages_received=%d messages_sent=%d agent=%s",
            _quoted_if_needed(fields["peer"]),
            fields["connection_id"],
            _quoted_if_needed(fields["method"]),
            _quoted(fields["path"]),
            _or_dash(status),
            _or_dash(fields["cause"]),
            _or_dash(fields["code"]),
            counts.age,
            fields["bytes_received"],
            fields["bytes_sent"],
            counts.messages_received,
            counts.messages_sent,
            _quoted(fields["agent"]),
            extra=fields,
        )


def _agent_of(request: Optional[WSUpgradeRequest]) -> Optional[str]:
    if request is None:
        return None
    agents = request.headers.getall("User-Agent", ())
    return agents[0] if agents else None


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _quoted(value: Optional[str]) -> str:
    if value is None:
        return "-"
    escaped = "".join(c if c in _SAFE else _escaped(c) for c in value[:_MOST])
    return f'"{escaped}"' if len(value) <= _MOST else f'"{escaped}..."'


def _quoted_if_needed(value: Optional[str]) -> str:
    # The name of a Unix socket may have any character.
    if value is None:
        return "-"
    return value if all(c in _SAFE and c not in " =" for c in value) else _quoted(value)


def _escaped(character: str) -> str:
    return f"\\{character}" if character in '"\\' else ascii(character)[1:-1]
