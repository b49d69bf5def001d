"""``supervise``: several workers, from the check of the settings to the exit status."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import socket
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from picows_codec import WSInvalidOptionError
from picows_server.listen import given_sockets
from picows_server.running.loops import run_loop
from picows_server.running.service_manager import ServiceManager, sockets_instead_of
from picows_server.running.settings import RunSettings, check_importable
from picows_server.running.signals import ProcessSignals
from picows_server.running.standard_streams import move_above
from picows_server.running.worker_settings import WorkerSettings
from picows_server.running.workers.launching import launch
from picows_server.running.workers.main_module import check_not_in_worker, pickle_settings
from picows_server.running.workers.memory import resident_set_size
from picows_server.running.workers.messages import StartWorker
from picows_server.running.workers.slot import Slot
from picows_server.running.workers.slot_sockets import SlotSockets, open_slot_sockets
from picows_server.running.workers.supervisor import Supervisor
from picows_server.running.workers.timing import Timing
from picows_server.running.workers.worker_process import WorkerProcess
from picows_server.url import parse_server_url

if TYPE_CHECKING:
    from picows_server.server import WSServer

__all__ = ["supervise"]

# Options of ws_create_server about sockets, which are the supervisor's.
_ABOUT_SOCKETS = ("reuse_address", "reuse_port", "sock", "unix_path")


def supervise(
    settings: RunSettings, worker_settings: WorkerSettings, timing: Optional[Timing] = None
) -> int:
    """Serve with several processes until a signal ends them; returns the exit status.

    It belongs to the main thread of a process, and makes a loop of its own. See
    :func:`picows_server.run` for the arguments; tests have other ``timing``. The status is 0 after
    a drain, 1 if a worker could not start, and 128 + the number of a second signal.

    Raises :class:`WSInvalidOptionError` for what several workers cannot have, and :class:`OSError`
    if an address is not free.
    """
    if sys.platform == "win32":  # pragma: no cover - another platform
        raise WSInvalidOptionError(
            "workers, admin_url, max_lifetime and max_rss: Windows has one process only; several"
            " need sockets that are passed on, and signals"
        )
    check_not_in_worker()
    check_importable(settings)
    if worker_settings.max_rss is not None and resident_set_size() is None:
        raise WSInvalidOptionError("max_rss: this platform has no /proc to read it from")
    service = _Service(settings, worker_settings, _timing(settings, worker_settings, timing))
    return run_loop(service.serve, settings.loop)


def _timing(
    settings: RunSettings, worker_settings: WorkerSettings, timing: Optional[Timing]
) -> Timing:
    timing = Timing() if timing is None else timing
    plan = settings.drain
    limit, grace = None, timing.removal_grace
    if plan.timeout is not None:
        limit = plan.timeout + timing.exit_time
        grace = min(grace, max(plan.timeout - plan.spread, 0.0))
    return dataclasses.replace(
        timing,
        worker_timeout=worker_settings.worker_timeout,
        start_timeout=worker_settings.start_timeout,
        max_lifetime=worker_settings.max_lifetime,
        removal_grace=grace,
        drain_limit=limit,
    )


def _passable(sock: Any) -> Any:
    # Anything else is refused later.
    return move_above(sock) if isinstance(sock, socket.socket) else sock


class _Service:
    """What is served, from its sockets to its end."""

    def __init__(
        self, settings: RunSettings, worker_settings: WorkerSettings, timing: Timing
    ) -> None:
        self._given_url = settings.url
        self._url = parse_server_url(settings.url)
        self._logger = settings.logger
        self._worker_settings = worker_settings
        self._timing = timing
        options = dict(settings.server_options)
        self._about_sockets: Dict[str, Any] = {
            name: options.pop(name) for name in _ABOUT_SOCKETS if name in options
        }
        if "backlog" in options:  # the workers listen, too
            self._about_sockets["backlog"] = options["backlog"]
        self._settings, self._main_module = pickle_settings(
            dataclasses.replace(settings, server_options=options)
        )
        self._manager = ServiceManager(settings.logger)

    async def serve(self) -> int:
        loop = asyncio.get_running_loop()
        sockets = await self._open_sockets(loop)
        if sockets.shared_because:
            self._logger.info(
                "all workers accept from one socket, because %s", sockets.shared_because
            )
        supervisor = Supervisor(
            loop,
            sockets,
            self._launch,
            self._timing,
            self._logger,
            max_rss=self._worker_settings.max_rss,
            ready=lambda: self._manager.ready(f"serving {', '.join(sockets.places)}"),
        )
        signals = self._handle_signals(loop, supervisor)
        admin: Optional[WSServer] = None
        try:
            if self._worker_settings.admin_url is not None:
                admin = await self._open_admin(self._worker_settings.admin_url, supervisor)
            self._manager.start_watchdog(loop)
            return await supervisor.serve(self._worker_settings.workers)
        finally:
            sockets.close()
            self._manager.close()
            if admin is not None:
                admin.close()
                await admin.wait_closed()
            signals.close()

    async def _open_sockets(self, loop: asyncio.AbstractEventLoop) -> SlotSockets:
        about = dict(self._about_sockets)
        inherited = sockets_instead_of(about, self._given_url, self._logger)
        given = about.pop("sock", None)
        if inherited is not None:
            given = inherited
            about = {name: about[name] for name in ("backlog",) if name in about}
            about["are_kept"] = True
        with given_sockets(given) as owned:
            if owned is not None:
                owned[:] = [_passable(sock) for sock in owned]
            return await open_slot_sockets(loop, self._url, self._logger, given=owned, **about)

    async def _open_admin(self, url: str, supervisor: Supervisor) -> WSServer:
        # Imported by those who want it.
        open_admin = import_module("picows_server.running.workers.admin").open_admin
        server: WSServer = await open_admin(url, supervisor, self._logger)
        return server

    def _handle_signals(
        self, loop: asyncio.AbstractEventLoop, supervisor: Supervisor
    ) -> ProcessSignals:
        def stop(number: int) -> None:
            self._manager.stopping("draining")
            supervisor.stop(number)

        def reload() -> None:
            if supervisor.has_started and not supervisor.is_ending:
                self._manager.reloading()
            supervisor.replace_all()

        return ProcessSignals(
            loop,
            {
                "SIGTERM": lambda: stop(signal.SIGTERM),
                "SIGINT": lambda: stop(signal.SIGINT),
                "SIGHUP": reload,
                "SIGTTIN": supervisor.add_slot,
                "SIGTTOU": supervisor.remove_slot,
            },
        )

    def _launch(self, slot: Slot) -> WorkerProcess:
        process, sock = launch(slot.number, slot.sockets)
        descriptors: List[int] = [each.fileno() for each in slot.sockets]
        start = StartWorker(
            slot=slot.number,
            sockets=tuple(descriptors),
            heartbeat_interval=self._timing.tick,
            settings=self._settings,
            main_module=self._main_module,
            sys_path=list(sys.path),
            argv=list(sys.argv),
        )
        loop = asyncio.get_running_loop()
        return WorkerProcess(loop, process, sock, start, self._timing, self._logger, slot)
