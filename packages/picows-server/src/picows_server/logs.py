"""The logger that a caller names."""

from __future__ import annotations

import logging
from typing import Any, Union

__all__ = ["Logger", "resolve_logger"]

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
