"""picows_server.asgi.lifespan: startup and shutdown of an application."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, List

import pytest

from picows_server.asgi.lifespan import Lifespan, LifespanError
from tests.support.asgi import Recorder
from tests.support.servers import quiet_logger


class App:
    """Knows the protocol; answers with the given messages."""

    def __init__(self, *answers: Any) -> None:
        self.answers: List[Any] = list(answers)
        self.events: List[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        scope["state"]["seen"] = True
        for answer in self.answers:
            self.events.append(await receive())
            if isinstance(answer, Exception):
                raise answer
            await send(answer)


COMPLETE = {"type": "lifespan.startup.complete"}
FAILED = {"type": "lifespan.startup.failed", "message": "no database"}


async def test_startup_and_shutdown() -> None:
    app = App(COMPLETE, {"type": "lifespan.shutdown.complete"})
    state: Any = {}
    lifespan = Lifespan(app, "on", state, quiet_logger())
    await lifespan.startup()
    assert state == {"seen": True}
    await lifespan.shutdown()
    assert app.events == [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_failed_startup(mode: str) -> None:
    lifespan = Lifespan(App(FAILED), mode, {}, quiet_logger())
    with pytest.raises(LifespanError, match="no database"):
        await lifespan.startup()


async def test_nothing_is_left_of_a_failed_startup() -> None:
    tasks = asyncio.all_tasks()
    waits_on: Any = App(FAILED, None)
    with pytest.raises(LifespanError):
        await Lifespan(waits_on, "on", {}, quiet_logger()).startup()
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_failed_startup_is_told_once(mode: str) -> None:
    cause = ValueError("no database")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "Traceback ..."})
        raise cause

    recorder = Recorder()
    logger = logging.Logger("picows.test")
    logger.addHandler(recorder)
    with pytest.raises(LifespanError, match="no database") as caught:
        await Lifespan(app, mode, {}, logger).startup()
    assert caught.value.__cause__ is cause
    assert recorder.lines == ["the application's startup has failed: ValueError('no database')"]
    assert recorder.errors[0].endswith("''")  # no second traceback


async def test_an_application_that_does_not_know_the_protocol() -> None:
    lifespan = Lifespan(App(AssertionError("websocket?")), "auto", {}, quiet_logger())
    await lifespan.startup()
    await lifespan.shutdown()
    lifespan = Lifespan(App(AssertionError("websocket?")), "on", {}, quiet_logger())
    with pytest.raises(LifespanError, match="websocket"):
        await lifespan.startup()


async def test_off() -> None:
    app = App(COMPLETE)
    lifespan = Lifespan(app, "off", {}, quiet_logger())
    await lifespan.startup()
    await lifespan.shutdown()
    assert app.events == []


async def test_an_application_that_returns_early() -> None:
    lifespan = Lifespan(App(COMPLETE), "on", {}, quiet_logger())
    await lifespan.startup()
    await lifespan.shutdown()


@pytest.mark.parametrize(
    "answer", [{"type": "lifespan.shutdown.failed", "message": "late"}, ValueError("late")]
)
async def test_a_failed_shutdown_is_logged(answer: Any) -> None:
    recorder = Recorder()
    logger = logging.Logger("picows.test")
    logger.addHandler(recorder)
    lifespan = Lifespan(App(COMPLETE, answer), "on", {}, logger)
    await lifespan.startup()
    await lifespan.shutdown()
    assert any("late" in error for error in recorder.errors)


async def test_messages_out_of_order() -> None:
    lifespan = Lifespan(App(COMPLETE, COMPLETE), "on", {}, quiet_logger())
    await lifespan.startup()
    await lifespan.shutdown()  # the application has raised
