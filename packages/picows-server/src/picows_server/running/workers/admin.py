"""The supervisor's own page: numbers of all workers, health, and a list of them as JSON."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict
from urllib.parse import urlsplit

from picows_codec import WSUpgradeRequest, WSUpgradeResponse
from picows_server.create import ws_create_server
from picows_server.http.health import health, ready
from picows_server.logs import Logger
from picows_server.running.workers.admin_metrics import supervisor_metrics
from picows_server.running.workers.supervisor import Supervisor
from picows_server.running.workers.worker_process import WorkerProcess
from picows_server.server import WSServer

__all__ = ["open_admin"]

_HEADERS = {"Cache-Control": "no-store"}


async def open_admin(url: str, supervisor: Supervisor, logger: Logger) -> WSServer:
    """Serve ``/metrics``, ``/healthz``, ``/readyz`` and ``/workers``; the caller closes it.

    ``/healthz`` says that the supervisor's loop runs; ``/readyz`` that at least one worker is ready
    and that the service is not ending. ``url`` is ``http://host:port``. Raises :class:`OSError` if
    the address is not free.
    """

    def workers(request: WSUpgradeRequest) -> WSUpgradeResponse:  # noqa: ARG001
        text = json.dumps(_described(supervisor), indent=2) + "\n"
        headers = {**_HEADERS, "Content-Type": "application/json"}
        return WSUpgradeResponse.create_ok_response(text, headers)

    server = await ws_create_server(
        f"ws://{urlsplit(url).netloc}",
        {
            "/healthz": health,
            "/metrics": _metrics(supervisor, logger),
            "/readyz": ready,
            "/workers": workers,
        },
        "admin",  # not the logger of what the workers serve
        max_connections=64,
        start_serving=False,
    )
    server._show_scheme("http")  # noqa: SLF001
    server.ready_checks["workers"] = lambda: supervisor.has_ready_worker
    await server.start_serving()
    return server


def _described(supervisor: Supervisor) -> Dict[str, Any]:
    """Return what the page of the workers shows: plain values for JSON."""
    return {
        "state": supervisor.state,
        "slots": [
            {
                "slot": slot.number,
                "deaths": slot.deaths,
                "is_ending": slot.is_ending,
                "workers": [_described_worker(worker) for worker in slot.workers],
            }
            for slot in supervisor.slots
        ],
    }


def _described_worker(worker: WorkerProcess) -> Dict[str, Any]:
    heartbeat = worker.heartbeat
    return {
        "pid": worker.pid,
        "state": worker.state.value,
        "is_silent": worker.is_silent,
        "outdated": worker.outdated or None,
        "age_seconds": round(worker.age, 1),
        "rss_bytes": heartbeat.rss,
        "connections": heartbeat.connections,
    }


def _metrics(supervisor: Supervisor, logger: Logger) -> Callable[[WSUpgradeRequest], Any]:
    try:
        return supervisor_metrics(supervisor)
    except ImportError as error:
        advice = f"{error}\n"
    logger.info("/metrics of the admin address is empty: %s", advice.strip())
    return lambda _: WSUpgradeResponse.create_error_response(501, advice, _HEADERS)
