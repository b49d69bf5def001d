"""The logger that a caller names."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any, Union

__all__ = ["Logger", "resolve_logger"]

Logger = Union[logging.Logger, "logging.LoggerAdapter[Any]"]


def resolve_logger(name: Union[str, Logger, None]) -> Logger:
    """Take a logger as it is, a string as a name below ``picows.``, None as ``"client"``."""
    if name is None:
        name = "client"
    if isinstance(name, str):
        return _logger_below_ours(name)
    if isinstance(name, (logging.Logger, logging.LoggerAdapter)):
        return name
    raise TypeError(f"logger_name must be a str, a logger or None, not {type(name).__name__}")


@lru_cache(maxsize=128)
def _logger_below_ours(name: str) -> logging.Logger:
    return logging.getLogger(f"picows.{name}")
