"""ASGI applications for tests, and the two ways to serve them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Callable, Dict, List, Optional
from unittest import mock

import pytest

from picows_server import ws_create_server
from picows_server.asgi import UvicornProtocol, asgi_listener
from tests.support.servers import ANY_PORT, sockname

__all__ = [
    "FRONTS",
    "MockTransport",
    "Recorder",
    "Served",
    "accept",
    "echo_app",
    "fronts",
    "served",
    "uvicorn_config",
]

FRONTS = ["uvicorn", "own"]
fronts = pytest.mark.parametrize("front", FRONTS)

App = Callable[..., Any]


class Served:
    """An application that is being served."""

    def __init__(self, name: Any, server: Any) -> None:
        self.sockname = name
        self.server = server

    @property
    def url(self) -> str:
        return f"ws://{self.sockname[0]}:{self.sockname[1]}"

    @property
    def protocols(self) -> List[Any]:
        """uvicorn's connections that are ours."""
        connections = self.server.server_state.connections
        return [each for each in connections if isinstance(each, UvicornProtocol)]


class Recorder(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__(0)
        self.lines: List[str] = []
        self.errors: List[str] = []
        self.levels: Dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.levels[record.getMessage()] = record.levelno
        if record.levelno >= logging.ERROR:
            detail = record.exc_info[1] if record.exc_info else ""
            self.errors.append(f"{record.getMessage().strip()} {detail!r}")


def uvicorn_config(app: App, **options: Any) -> Any:
    uvicorn = pytest.importorskip("uvicorn")
    options = {
        "ws": UvicornProtocol,
        "http": "h11",
        "lifespan": "off",
        "log_config": None,
        "loop": "asyncio",
        **options,
    }
    for name in set(options) - set(inspect.signature(uvicorn.Config).parameters):
        if options.pop(name) is not None:
            pytest.skip(f"this release of uvicorn has no option {name}")
    return uvicorn.Config(app, **options)


class _HastyAsyncio:
    """asyncio for uvicorn's server, which sleeps for 0.1 seconds whenever it waits."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


@asynccontextmanager
async def served(
    front: str,
    app: App,
    recorder: Optional[Recorder] = None,
    lifespan: str = "off",
    root_path: str = "",
    **options: Any,
) -> AsyncIterator[Served]:
    """Serve an application by one of the two front ends. ``options`` are the front end's."""
    if front == "own":
        logger = logging.Logger("picows.test")
        logger.addHandler(recorder or logging.NullHandler())
        async with ws_create_server(
            ANY_PORT, asgi_listener(app, root_path, lifespan), logger, **options
        ) as own:
            yield Served(sockname(own), own)
        return
    uvicorn = pytest.importorskip("uvicorn.server")
    config = uvicorn_config(app, lifespan=lifespan, root_path=root_path, **options)
    logger = logging.getLogger("uvicorn.error")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if recorder is not None:
        logger.addHandler(recorder)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    name = sock.getsockname()
    server = uvicorn.Server(config)
    hasty = mock.patch.object(uvicorn, "asyncio", _HastyAsyncio())
    hasty.start()
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.001)
        yield Served(name, server)
    finally:
        server.should_exit = True
        try:
            await task
        finally:
            hasty.stop()
            sock.close()
            if recorder is not None:
                logger.removeHandler(recorder)
            logger.setLevel(level)
            logger.propagate = propagate


async def accept(receive: Any, send: Any, **message: Any) -> None:
    """What an application does first."""
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **message})


async def echo_app(scope: Dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    await accept(receive, send)
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        await send({**event, "type": "websocket.send"})


class MockTransport:
    """No more than what a transport must have."""

    def __init__(self, *, is_secure: bool = False) -> None:
        self.written = bytearray()
        self.calls: List[str] = []
        self._closing = False
        self._extra = {
            "peername": ("192.0.2.1", 4711),
            "sockname": ("192.0.2.2", 80),
            "sslcontext": object() if is_secure else None,
        }

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra.get(name, default)

    def write(self, data: Any) -> None:
        assert not self._closing
        self.written += data

    def close(self) -> None:
        self.calls.append("close")
        self._closing = True

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def take(self) -> bytes:
        data = bytes(self.written)
        self.written.clear()
        return data
