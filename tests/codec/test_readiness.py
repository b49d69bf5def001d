"""picows_codec.readiness: which loops report readiness."""

from __future__ import annotations

import asyncio
import sys
from asyncio import proactor_events
from typing import Any

import pytest

from picows_codec.readiness import has_readers
from picows_codec.testing.clock import FakeLoop


class CompletionLoop(asyncio.AbstractEventLoop):
    """What a proactor's loop inherits."""


class ReadinessLoop(CompletionLoop):
    def add_reader(self, *arguments: Any) -> None:
        raise NotImplementedError


def test_selector_loop() -> None:
    loop = asyncio.SelectorEventLoop()
    try:
        assert has_readers(loop)
    finally:
        loop.close()


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    try:
        assert has_readers(loop)
    finally:
        loop.close()


@pytest.mark.skipif(sys.platform != "win32", reason="Windows has a proactor")
def test_proactor_loop() -> None:
    loop = getattr(asyncio, "ProactorEventLoop")()  # noqa: B009  not everywhere
    try:
        assert not has_readers(loop)
    finally:
        loop.close()


def test_loops_of_others() -> None:
    assert not has_readers(CompletionLoop())
    assert has_readers(ReadinessLoop())
    assert not has_readers(object())
    assert has_readers(FakeLoop()) == ("add_reader" in vars(FakeLoop))


def test_what_a_proactor_inherits() -> None:
    inherited = proactor_events.BaseProactorEventLoop.add_reader
    assert inherited is asyncio.AbstractEventLoop.add_reader
