"""picows_server.limits: one line when a limit is reached, one when it is over."""

from __future__ import annotations

import asyncio
import logging

import pytest

from picows_server import limits
from picows_server.limits import LimitWatch
from tests.support.leaks import eventually


def _watch(limit: int = 2) -> LimitWatch:
    loop = asyncio.get_running_loop()
    return LimitWatch(loop, logging.getLogger("picows.limits"), "max_connections", limit, "wait")


async def test_coming_and_going_at_the_limit_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = _watch()
    for count in (0, 1, 2, 1, 2, 3, 2, 1, 2):
        watch.look(count)
    assert caplog.messages == ["max_connections=2 is reached: wait"]
    assert caplog.records[0].levelno == logging.WARNING
    watch.stop()


async def test_the_end_is_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_QUIET_TIME", 0.01)
    caplog.set_level(logging.INFO, "picows.limits")
    watch = _watch()
    for count in (2, 1, 0):
        watch.look(count)
    await eventually(lambda: len(caplog.messages) == 2)
    assert caplog.messages[1] == "max_connections=2 is not reached any more"
    watch.look(2)
    assert len(caplog.messages) == 3
    watch.stop()


async def test_no_limit(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    LimitWatch(loop, logging.getLogger("picows.limits"), "max_connections", None, "").look(10**6)
    assert caplog.messages == []
