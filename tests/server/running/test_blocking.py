"""picows_server.running.blocking: ``run`` in this process; ``test_main.py`` has others."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import threading
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, List

import pytest

from picows_server import (
    WSInvalidCloseError,
    WSInvalidOptionError,
    WSListener,
    WSServer,
    WSStateError,
    WSThreadError,
    run,
)
from picows_server.running.run_options import WSRunOptions
from tests.support.loops import LOOP_KINDS, new_loop

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process")

URL = "ws://127.0.0.1:0"
NOW: Any = {"drain_grace": 0, "drain_spread": 0}


class Chat(WSListener):
    pass


def killing(*numbers: int) -> Any:
    """A lifespan, at whose begin this process begins to send itself signals while it serves."""

    @asynccontextmanager
    async def lifespan(server: WSServer) -> AsyncIterator[None]:
        async def kill() -> None:
            while not server.is_serving():
                await asyncio.sleep(0)
            for number in numbers:
                os.kill(os.getpid(), number)
                while not server.is_draining:
                    await asyncio.sleep(0.001)

        task = asyncio.ensure_future(kill())
        yield
        await task

    return lifespan


def test_types_of_options() -> None:
    wrapped: Any = run
    own = inspect.signature(wrapped.__wrapped__, follow_wrapped=False).parameters
    passed_on = set(inspect.signature(run).parameters) - set(own)
    assert set(WSRunOptions.__annotations__) == passed_on


@needs_posix
@pytest.mark.parametrize("kind", LOOP_KINDS)
def test_until_a_signal(kind: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    run(URL, Chat, lifespan=killing(signal.SIGTERM), loop=lambda: new_loop(kind), **NOW)
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    assert after == before


@needs_posix
def test_aborted() -> None:
    lifespan = killing(signal.SIGTERM, signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        run(URL, Chat, lifespan=lifespan, loop="asyncio", drain_grace=30)
    assert caught.value.code == 128 + signal.SIGINT


def test_until_the_program_closes_the_server() -> None:
    servers: List[WSServer] = []

    @asynccontextmanager
    async def lifespan(server: WSServer) -> AsyncIterator[str]:
        servers.append(server)
        asyncio.get_running_loop().call_soon(server.close)
        yield "state"

    run(URL, Chat, lifespan=lifespan, loop="asyncio", max_connections=5)
    assert servers[0].state == "state"
    assert not servers[0].is_serving()


def test_errors_pass_through() -> None:
    def lifespan() -> Any:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(URL, Chat, lifespan=lifespan, loop="asyncio")
    with pytest.raises(WSInvalidOptionError, match="max_connections must be at least 1"):
        run(URL, Chat, max_connections=0)
    with pytest.raises(TypeError, match="listener_factory must be"):
        run(URL, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"workers": 0}, WSInvalidOptionError, "workers must be at least 1"),
        ({"workers": "2"}, TypeError, "workers must be an int"),
        ({"workers": True}, TypeError, "workers must be an int"),
        (
            {"workers": 2, "factory_or_routes": lambda: None},
            WSInvalidOptionError,
            "several workers",
        ),
        ({"drain_timeout": 1}, WSInvalidOptionError, "drain_grace and drain_spread must end"),
        ({"drain_code": 1006}, WSInvalidCloseError, "1006"),
        ({"max_conections": 1}, TypeError, "did you mean 'max_connections'"),
        ({"start_serving": False}, TypeError, "lifespan="),
        ({"host": "a"}, TypeError, "it is a part of the URL"),
    ],
)
def test_wrong_arguments(arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        run(**{"url": URL, "factory_or_routes": Chat, **arguments})


async def test_within_a_loop() -> None:
    with pytest.raises(WSStateError, match="an event loop of its own, and one is running here"):
        run(URL, Chat)


def test_in_another_thread() -> None:
    errors: List[BaseException] = []

    def call() -> None:
        try:
            run(URL, Chat)
        except WSThreadError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "which only the main thread can" in str(errors[0])
