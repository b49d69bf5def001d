"""A worker's event loop, from the first heartbeat to the exit status."""

from __future__ import annotations

import asyncio
import socket
from typing import List

from picows_server.running.failures import describe_failure
from picows_server.running.loops import run_loop
from picows_server.running.process import serve_process
from picows_server.running.settings import RunSettings, configure_logging
from picows_server.running.workers.control import WorkerControl

__all__ = ["serve_worker"]


def serve_worker(
    sock: socket.socket, interval: float, settings: RunSettings, sockets: List[socket.socket]
) -> int:
    """Serve on the sockets until the supervisor at the other end of ``sock`` says stop.

    ``interval`` is that of heartbeats, in seconds. Returns the exit status.
    """
    configure_logging(settings)
    return run_loop(lambda: _serve(sock, interval, settings, sockets), settings.loop)


async def _serve(
    sock: socket.socket, interval: float, settings: RunSettings, sockets: List[socket.socket]
) -> int:
    control = WorkerControl(asyncio.get_running_loop(), sock, interval)
    try:
        return await serve_process(settings, sockets=sockets, control=control)
    except BaseException as error:  # noqa: BLE001 - whatever user code raises, sys.exit() included
        control.failed(describe_failure(error))
        return 1
    finally:
        control.close()
