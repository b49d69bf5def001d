"""The lifespan protocol of ASGI 2.0: an application's startup and shutdown."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, Optional

from picows_server.logs import Logger

__all__ = ["Lifespan", "LifespanError"]


class LifespanError(RuntimeError):
    """An application could not start, or has failed while it started.

    Its ``__cause__`` is what the application has raised, if anything.
    """


class Lifespan:
    """One application's lifespan.

    :param mode: ``"auto"``: an application that does not know the protocol, and raises, is served
        without; ``"on"``: it must know it; ``"off"``: it is not asked.
    :param state: given to the application to fill; connections get copies.
    """

    def __init__(
        self, app: Callable[..., Any], mode: str, state: Dict[str, Any], logger: Logger
    ) -> None:
        self._app = app
        self._mode = mode
        self._state = state
        self._logger = logger
        self._events: asyncio.Queue[Dict[str, Any]] = asyncio.Queue()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._failure: Optional[str] = None
        self._cause: Optional[Exception] = None
        self._is_supported = True
        self._task: Optional[asyncio.Task[None]] = None

    async def startup(self) -> None:
        """Wait until the application is ready; raise :class:`LifespanError` if it cannot be."""
        if self._mode == "off":
            return
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.set_name("lifespan")
        self._events.put_nowait({"type": "lifespan.startup"})
        try:
            await self._started.wait()
        except BaseException:
            self._task.cancel()
            raise
        if self._failure is not None:
            self._task.cancel()
            self._logger.error("%s", self._failure)
            raise LifespanError(self._failure) from self._cause

    async def shutdown(self) -> None:
        """Tell the application that the server is closed, and wait for it."""
        if self._task is None or not self._is_supported or self._task.done():
            return
        self._events.put_nowait({"type": "lifespan.shutdown"})
        await self._stopped.wait()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        try:
            await self._app(scope, self._events.get, self._send)
        except Exception as error:
            self._is_supported = False
            if self._failure is not None:  # the application has said so, and raises as well
                self._fail(error)
            elif self._started.is_set():
                self._logger.exception("Exception in 'lifespan' protocol\n")
            elif self._mode == "on":
                self._fail(error)
            else:
                self._logger.info("ASGI 'lifespan' protocol appears unsupported.")
        finally:
            self._started.set()
            self._stopped.set()

    def _fail(self, error: Exception) -> None:
        self._cause = error
        self._failure = f"the application's startup has failed: {error!r}"

    async def _send(self, message: Dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and not self._started.is_set():
            self._started.set()
        elif kind == "lifespan.startup.failed" and not self._started.is_set():
            self._failure = f"the application's startup has failed: {message.get('message', '')}"
            self._started.set()
        elif kind == "lifespan.shutdown.complete" and self._started.is_set():
            self._stopped.set()
        elif kind == "lifespan.shutdown.failed" and self._started.is_set():
            text = message.get("message", "")
            self._logger.error("the application's shutdown has failed: %s", text)
            self._stopped.set()
        else:
            raise RuntimeError(f"Unexpected ASGI message '{kind}' of the lifespan protocol.")
