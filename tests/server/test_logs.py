"""picows_server.logs: the forms of ``logger_name``."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from picows_server.logs import resolve_logger


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gateway", "picows.gateway"), ("", "picows."), (None, "picows.server")],
)
def test_name(name: Any, expected: str) -> None:
    assert resolve_logger(name) is logging.getLogger(expected)


def test_loggers_are_taken_as_they_are() -> None:
    logger = logging.getLogger("my.own")
    assert resolve_logger(logger) is logger
    adapter = logging.LoggerAdapter(logger, {})
    assert resolve_logger(adapter) is adapter


@pytest.mark.parametrize("name", [7, b"server", logging])
def test_what_is_no_logger(name: Any) -> None:
    with pytest.raises(TypeError, match="logger_name"):
        resolve_logger(name)
