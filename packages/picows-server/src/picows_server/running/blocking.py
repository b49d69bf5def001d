"""``run``: serve in a loop of its own until a signal, and return when everything has ended."""

from __future__ import annotations

import asyncio
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Optional, Union

from picows_codec import WSCloseCode, WSStateError, WSThreadError
from picows_codec.calls import passes_options_to
from picows_server.draining import DrainPlan
from picows_server.logs import Logger
from picows_server.option_names import RUN_MEANINGS
from picows_server.running.loops import LoopChoice, run_loop
from picows_server.running.process import serve_process
from picows_server.running.service_manager import ServiceManager, sockets_instead_of
from picows_server.running.settings import RunSettings, configure_logging
from picows_server.running.signals import SignalControl
from picows_server.running.standard_streams import open_missing
from picows_server.running.worker_settings import WorkerSettings
from picows_server.serving import serve

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from picows_server.running.run_options import WSRunOptions

__all__ = ["run", "run_settings"]


@passes_options_to(serve, RUN_MEANINGS, without=("start_serving",))
def run(
    url: str,
    factory_or_routes: Any = None,
    *,
    handler: Any = None,
    workers: int = 1,
    admin_url: Optional[str] = None,
    worker_timeout: float = 30.0,
    start_timeout: Optional[float] = 60.0,
    max_lifetime: Optional[float] = None,
    max_rss: Optional[int] = None,
    lifespan: Any = None,
    drain_grace: float = 5.0,
    drain_spread: float = 30.0,
    drain_timeout: Optional[float] = 60.0,
    drain_code: int = WSCloseCode.SERVICE_RESTART,
    drain_reason: Optional[str] = None,
    ssl_context: Any = None,
    loop: LoopChoice = "auto",
    log_level: Optional[str] = None,
    logger_name: Union[str, Logger, None] = "server",
    **options: Unpack[WSRunOptions],
) -> None:
    """Serve until the process gets a signal, then drain; returns when everything has ended.

    ::

        if __name__ == "__main__":
            picows_server.run("ws://0.0.0.0:9001", Chat)

    ``url``, ``factory_or_routes``, ``logger_name`` and ``options`` are those of
    :func:`ws_create_server`. ``factory_or_routes`` (a listener factory, or a mapping of paths) may
    also be an ASGI application, or an import string (``"module:attribute"``); so may what is in a
    mapping.

    ``handler``: instead of it, the coroutine function of :func:`serve`, whose options are taken
    then, too.

    ``workers``: how many processes serve. With several of them each makes its own objects, so
    ``factory_or_routes`` is an import string, a class or function at the top of a module, or a
    mapping of such; ``handler`` and ``lifespan`` are functions at the top of a module, or import
    strings; and ``ssl_context`` is one that makes the context. A supervisor, which is this process,
    looks after them: one that dies is replaced. SIGHUP replaces all of them, one by one; SIGTTIN
    and SIGTTOU add and remove one.

    ``worker_timeout``: a worker whose loop is blocked for so many seconds (at least 1) is killed
    and replaced. ``start_timeout``: a worker that is not ready within so many seconds, imports and
    lifespan included, is killed; None: no limit. If a worker cannot start at the beginning, all
    end.

    ``max_lifetime``: replace each worker when it has served for so many seconds, or up to a fifth
    less. ``max_rss``: replace one that uses more than so many bytes of memory (Linux). Both also
    work with ``workers=1``, and so does the next.

    ``admin_url``: ``"http://127.0.0.1:9000"`` for pages of the supervisor: ``/metrics`` with the
    numbers of all workers, ``/healthz``, ``/readyz`` and ``/workers``.

    ``lifespan``: a function that returns an async context manager, such as one with
    :func:`contextlib.asynccontextmanager`, without arguments or with one, the server. It is entered
    when the sockets are bound and before connections are accepted, and left after the last one has
    ended. Its value is ``request.server.state``.

    ``drain_grace``, ``drain_spread``, ``drain_timeout``, ``drain_code``, ``drain_reason``: how the
    server ends, see :meth:`WSServer.drain`.

    ``ssl_context``: also a function without arguments that makes it.

    ``loop``: ``"auto"`` (uvloop where it is installed, else asyncio's), ``"uvloop"``,
    ``"asyncio"``, or a function that makes a loop.

    ``log_level``: write logs from this level on to standard error, for example ``"info"``; by
    default logging is the program's.

    SIGTERM and SIGINT drain, SIGINT without ``drain_grace`` if there is no connection. Another one
    aborts: everybody gets the CLOSE, but nobody's answer is waited for. A third one ends the
    process, whatever tasks are left. SIGHUP looks at the certificates. Handlers of these signals
    are as before when the call returns. Windows has only Ctrl-C and Ctrl-Break.

    Under systemd the sockets of socket activation are used instead of the address in ``url`` or
    ``unix_path``, and exclude ``sock``; the service manager is told READY, STOPPING and WATCHDOG.

    Returns after a drain, or when the program has closed the server. Raises :class:`SystemExit`
    with the status 128 + the number of the signal if it was aborted; what the application, its
    lifespan or the start of the server raises; :class:`WSThreadError` outside of the main thread,
    and :class:`WSStateError` in a running event loop.
    """
    settings = RunSettings(
        url,
        factory_or_routes,
        handler=handler,
        lifespan=lifespan,
        drain=DrainPlan(
            drain_grace, drain_spread, drain_timeout, drain_code, drain_reason, "drain_"
        ),
        ssl_context=ssl_context,
        server_options={"logger_name": logger_name, **options},
        loop=loop,
        log_level=log_level,
    )
    status = run_settings(
        settings,
        WorkerSettings(workers, admin_url, worker_timeout, start_timeout, max_lifetime, max_rss),
    )
    if status:
        raise SystemExit(status)


def run_settings(settings: RunSettings, workers: Optional[WorkerSettings] = None) -> int:
    """Serve as :func:`run` does, and return the exit status."""
    _check_place()
    open_missing()
    configure_logging(settings)
    if workers is not None and workers.needs_supervisor:
        # Imported by those who want several processes.
        supervise = import_module("picows_server.running.workers.supervise").supervise
        result: int = supervise(settings, workers)
        return result
    logger = settings.logger
    sockets = sockets_instead_of(settings.server_options, settings.url, logger)
    manager = ServiceManager(logger)
    return run_loop(
        lambda: serve_process(settings, sockets=sockets, control=SignalControl(manager, logger)),
        settings.loop,
    )


def _check_place() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise WSThreadError(
            "run() handles signals, which only the main thread can: await ws_create_server(...) in"
            " the event loop of another thread"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WSStateError(
        "run() has an event loop of its own, and one is running here: await ws_create_server(...),"
        ' or put run() below if __name__ == "__main__": in a module that is imported'
    )
