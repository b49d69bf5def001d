"""``serve_process``: one server, from the import of its application to the exit status."""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
from collections import abc
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any, AsyncIterator, Dict, List, Optional, Sequence

from picows_server.certificates.files import known_files
from picows_server.create import ws_create_server
from picows_server.listen import given_sockets
from picows_server.running.forked_children import ForkHook, give_up_descriptors
from picows_server.running.settings import RunSettings, options_of, resolve_settings
from picows_server.server import WSServer

__all__ = ["Commands", "Control", "serve_process"]


class Control:
    """Who says when a process ends: its signals, or a supervisor. All calls are in its loop."""

    def bind(self, commands: Commands) -> None:
        """The application is imported. From now on ``commands`` may be called."""

    def started(self, server: WSServer) -> None:
        """The server accepts connections."""

    def draining(self) -> None:
        """The server has begun to drain."""

    def stopped_accepting(self) -> None:
        """The server has closed its listening sockets."""

    def stopped(self) -> None:
        """The end, also after a start that has failed."""


class Commands:
    """What may be asked of a process that serves, in the thread of its loop."""

    def __init__(self, process: _Process) -> None:
        self._process = process

    def drain(
        self, grace: Optional[float] = None, *, leaves_waiting: Optional[bool] = None
    ) -> None:
        """Drain, and end then; a process that starts ends at once.

        ``grace`` (seconds) replaces that of the settings. ``leaves_waiting``: whether connections
        that wait in the queues of the listening sockets are for other processes; by default, if the
        process was given its sockets.
        """
        self._process.drain(grace, leaves_waiting)

    def abort(self, status: int) -> None:
        """Send a CLOSE to everybody, and end without waiting for answers, with this exit status.

        Another call also gives up tasks that do not end when they are cancelled.
        """
        self._process.abort(status)

    def reload_certificates(self) -> None:
        """Look at the files of certificates now."""
        self._process.reload_certificates()


async def serve_process(
    settings: RunSettings,
    *,
    sockets: Optional[Sequence[socket.socket]] = None,
    control: Optional[Control] = None,
) -> int:
    """Serve until ``control`` says stop, or the program closes the server; return the exit status.

    It is 0 after a drain. ``sockets`` are used instead of the address in the settings, and owned.
    Raises what the application, its ``lifespan`` or the start of the server raises; and
    :class:`RuntimeError` instead of a :class:`SystemExit` before the server serves.
    """
    return await _Process(settings, Control() if control is None else control).run(sockets)


class _Process:
    def __init__(self, settings: RunSettings, control: Control) -> None:
        self._settings = settings
        self._control = control
        self._logger = settings.logger
        self._sockets: Optional[List[socket.socket]] = None
        self._server: Optional[WSServer] = None
        self._status = 0
        # While the server starts, and when nothing else helps, the task is cancelled.
        self._task: Optional[asyncio.Task[Any]] = None
        self._was_cancelled = False
        self._phase = "starting"  # "serving", "ending"
        self._has_served = False
        self._is_aborted = False
        self._waits_for_tasks = True
        self._leaves_waiting = False
        self._certificates: Any = None

    async def run(self, sockets: Optional[Sequence[socket.socket]]) -> int:
        self._task = asyncio.current_task()
        self._leaves_waiting = sockets is not None
        given = self._settings.server_options.get("sock") if sockets is None else sockets
        forks = ForkHook(lambda: give_up_descriptors(self._descriptors()))
        try:
            with given_sockets(given) as self._sockets:
                settings = resolve_settings(self._settings)
            self._control.bind(Commands(self))
            options = options_of(settings, has_sockets=sockets is not None)
            if self._sockets is not None:
                options["sock"] = self._sockets
            await self._serve(settings, options)
        except asyncio.CancelledError:
            if not self._was_cancelled:
                raise
        except SystemExit as error:
            if self._has_served:
                raise
            # Its status may be that of success.
            raise RuntimeError(
                f"sys.exit({error.code!r}) was called before the server served"
            ) from error
        finally:
            forks.close()
            self._control.stopped()
        return self._status

    def _descriptors(self) -> List[int]:
        """Those that belong to this process alone."""
        if self._server is not None:
            return self._server._descriptors()  # noqa: SLF001
        return [sock.fileno() for sock in self._sockets or () if sock.fileno() >= 0]

    async def _serve(self, settings: RunSettings, options: Dict[str, Any]) -> None:
        if settings.handler is not None:
            # Imported by those who want it.
            serve = import_module("picows_server.serving").serve
            server = await serve(settings.handler, settings.url, start_serving=False, **options)
        else:
            server = await ws_create_server(
                settings.url, settings.factory_or_routes, start_serving=False, **options
            )
        self._server = server
        try:
            async with _lifespan(settings.lifespan, server) as state:
                server.state = state
                if self._was_cancelled:  # the lifespan has caught that, and gone on
                    return
                self._watch_certificates(settings)
                await server.start_serving()
                self._phase = "serving"
                self._has_served = True
                self._control.started(server)
                await server.wait_closed()
                self._phase = "ending"
        finally:
            # It may not have started, the lifespan may have failed, or it was given up.
            self._phase = "ending"
            if self._certificates is not None:
                self._certificates.close()
            server._end_now(settings.drain.code, settings.drain.reason)  # noqa: SLF001
            if self._waits_for_tasks:
                await server.wait_closed()

    def _watch_certificates(self, settings: RunSettings) -> None:
        if settings.ssl_context is None:
            return
        contexts = settings.ssl_context
        if not isinstance(contexts, abc.Mapping):
            contexts = {"": contexts}
        watched = {}
        for name, context in contexts.items():
            if known_files(context) is not None:
                watched[name] = context
                continue
            self._logger.info(
                "the certificate of ssl_context%s is not watched: create_ssl_context has not made"
                " it, so its files are not known",
                f"[{name!r}]" if name else "",
            )
        if watched:
            watching = import_module("picows_server.certificates.watching")
            self._certificates = watching.watch_certificates(
                watched, sighup=False, logger_name=self._logger
            )

    # The commands

    def drain(self, grace: Optional[float], leaves_waiting: Optional[bool]) -> None:
        if self._phase == "starting":
            self._cancel()
        elif self._phase == "serving" and self._server is not None:
            plan = self._settings.drain
            if grace is not None:
                plan = replace(plan, grace=grace)
            self._control.draining()
            self._server._start_draining(  # noqa: SLF001
                plan,
                leaves_waiting=self._leaves_waiting if leaves_waiting is None else leaves_waiting,
                stopped_accepting=self._control.stopped_accepting,
            )

    def abort(self, status: int) -> None:
        self._status = status
        if self._phase != "serving" or self._server is None or self._is_aborted:
            self._waits_for_tasks = not self._is_aborted
            self._is_aborted = True
            self._cancel()
            return
        self._is_aborted = True
        self._logger.warning("aborting %d connections", self._server.connections)
        plan = self._settings.drain
        self._server._end_now(plan.code, plan.reason)  # noqa: SLF001

    def reload_certificates(self) -> None:
        if self._certificates is not None:
            self._certificates.check()
        # Those of the application; there are none if nobody has imported it.
        watching: Any = sys.modules.get("picows_server.certificates.watching")
        is_watched = watching is not None and watching.check_on_sighup(asyncio.get_running_loop())
        if self._certificates is None and not is_watched:
            self._logger.info("there are no certificates to look at")

    def _cancel(self) -> None:
        if self._task is not None:
            self._was_cancelled = True
            self._task.cancel()


@asynccontextmanager
async def _lifespan(lifespan: Any, server: WSServer) -> AsyncIterator[Any]:
    if lifespan is None:
        yield None
        return
    try:
        inspect.signature(lifespan).bind()
    except TypeError:
        manager = lifespan(server)
    except ValueError:  # no signature can be seen
        manager = lifespan()
    else:
        manager = lifespan()
    async with manager as state:
        yield state
