"""picows_server.running.loops: which loop, and what is left of it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, AsyncIterator, Dict, List

import pytest

from picows_server import WSInvalidOptionError
from picows_server.running.loops import check_loop, new_loop, run_loop
from tests.support.loops import LOOP_KINDS
from tests.support.loops import new_loop as loop_of_kind


def test_names() -> None:
    loop = new_loop("asyncio")
    assert type(loop).__module__.startswith("asyncio")
    loop.close()


def test_uvloop_where_it_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop")
    for name in ("auto", "uvloop"):
        loop = new_loop(name)
        assert isinstance(loop, uvloop.Loop)
        loop.close()


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_loop("auto")
    assert type(loop).__module__.startswith("asyncio")
    loop.close()
    with pytest.raises(WSInvalidOptionError, match=r"pip install picows-server\[uvloop\]"):
        new_loop("uvloop")


def test_wrong_loops() -> None:
    with pytest.raises(WSInvalidOptionError, match="loop must be 'auto', 'uvloop' or 'asyncio'"):
        check_loop("trio")
    with pytest.raises(TypeError, match="loop must be a name or a function"):
        check_loop(5)


@pytest.mark.parametrize("kind", LOOP_KINDS)
def test_what_is_left_is_cancelled(kind: str) -> None:
    events: List[str] = []
    reports: List[Dict[str, Any]] = []
    loops: List[asyncio.AbstractEventLoop] = []

    async def stay() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            events.append("cancelled")

    async def fail() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("while it was cancelled")

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            events.append("generator closed")

    async def main() -> int:
        loop = asyncio.get_running_loop()
        loops.append(loop)
        loop.set_exception_handler(lambda _, report: reports.append(report))
        kept.extend([loop.create_task(stay()), loop.create_task(fail())])
        generator = numbers()
        kept.append(generator)
        await generator.__anext__()
        await loop.run_in_executor(None, events.append, "thread")
        return 5

    kept: List[Any] = []
    assert run_loop(main, lambda: loop_of_kind(kind)) == 5
    assert sorted(events) == ["cancelled", "generator closed", "thread"]
    assert [str(report["exception"]) for report in reports] == ["while it was cancelled"]
    assert loops[0].is_closed()


def test_an_error_passes_through() -> None:
    async def main() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_loop(main, "asyncio")
