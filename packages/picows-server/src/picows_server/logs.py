"""The logger that a caller names."""

from __future__ import annotations

import logging
from typing import Any, Dict, Optional, Union

from picows_codec.log_text import one_line

__all__ = ["Logger", "fields_of_failure", "log_fields", "resolve_logger"]

Logger = Union[logging.Logger, "logging.LoggerAdapter[Any]"]


def resolve_logger(name: Union[str, Logger, None]) -> Logger:
    """Take a logger as it is, a string as a name below ``picows.``, None as ``"server"``."""
    if name is None:
        name = "server"
    if isinstance(name, str):
        return logging.getLogger(f"picows.{name}")
    if isinstance(name, (logging.Logger, logging.LoggerAdapter)):
        return name
    raise TypeError(f"logger_name must be a str, a logger or None, not {type(name).__name__}")


def log_fields(peer: str, path: Optional[str] = None) -> Dict[str, Any]:
    """The fields of a record about a connection of which no more is known, for ``extra=``.

    They are those of the codec's records: see :meth:`WSEndpoint.log_fields`.
    """
    return {
        "peer": peer,
        "path": None if path is None else one_line(path),
        "connection_id": None,
        "cause": None,
        "code": None,
        "bytes_received": None,
        "bytes_sent": None,
        "seconds": None,
    }


def fields_of_failure(peer: str, seconds: float) -> Dict[str, Any]:
    """The same of a connection that has ended, after ``seconds``, before its opening handshake."""
    fields = log_fields(peer)
    fields["cause"] = "handshake_failure"
    fields["seconds"] = round(seconds, 6)
    return fields
