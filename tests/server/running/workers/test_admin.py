"""picows_server.running.workers.admin: the supervisor's pages."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Dict, Tuple

import pytest

from picows_server import WSServer
from picows_server.running.workers import admin_metrics
from picows_server.running.workers.admin import open_admin
from picows_server.running.workers.supervisor import Supervisor
from picows_server.running.workers.timing import Timing
from picows_server.running.workers.worker_process import WorkerState
from tests.server.running.workers.test_supervisor import FakeSockets
from tests.support.fake_workers import Launcher
from tests.support.rawclient import RawClient
from tests.support.servers import quiet_logger, sockname

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")


class Subject:
    """The pages of a supervisor without processes."""

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self.launcher = Launcher(loop)
        self.supervisor = Supervisor(loop, FakeSockets(), self.launcher, Timing(), quiet_logger())
        self.server: WSServer

    async def get(self, path: str) -> Tuple[int, Dict[str, str], str]:
        async with await RawClient.connect(sockname(self.server)) as client:
            client.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            response = await client.read_response()
        return response.status, response.headers, response.body.decode()


@asynccontextmanager
async def pages(workers: int = 2) -> AsyncIterator[Subject]:
    it = Subject()
    task = asyncio.ensure_future(it.supervisor.serve(workers))
    await asyncio.sleep(0)
    it.server = await open_admin("http://127.0.0.1:0", it.supervisor, quiet_logger())
    async with it.server:
        yield it
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_health_and_readiness() -> None:
    async with pages() as it:
        assert (await it.get("/healthz"))[0] == 200
        assert (await it.get("/readyz"))[::2] == (503, "not ready: workers\n")
        it.launcher.workers[0].state = WorkerState.READY
        assert (await it.get("/readyz"))[0] == 200
        it.supervisor.stop(15)
        assert (await it.get("/readyz"))[0] == 503
        assert (await it.get("/healthz"))[0] == 200


async def test_the_list_of_workers() -> None:
    async with pages() as it:
        first = it.launcher.workers[0]
        first.state = WorkerState.READY
        first.count(opened=3, connections=2, rss=1000)
        first.outdated = "reload"
        status, headers, body = await it.get("/workers")
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert headers["cache-control"] == "no-store"
        found = json.loads(body)
        assert found["state"] == "starting"
        assert [slot["slot"] for slot in found["slots"]] == [0, 1]
        assert found["slots"][0]["workers"] == [
            {
                "pid": 100,
                "state": "ready",
                "is_silent": False,
                "outdated": "reload",
                "age_seconds": 0.0,
                "rss_bytes": 1000,
                "connections": 2,
            }
        ]


async def test_metrics() -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    async with pages() as it:
        first, second = it.launcher.workers
        first.state = WorkerState.READY
        first.count(opened=3, connections=2, rss=1000)
        second.count(opened=4, connections=1, rss=2000)
        async with await RawClient.connect(sockname(it.server)) as client:
            client.writer.write(
                b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                b"Accept: application/openmetrics-text;version=1.0.0\r\n\r\n"
            )
            response = await client.read_response()
        samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parser.text_string_to_metric_families(response.body.decode())
            for sample in family.samples
        }
        assert samples["picows_connections", ("worker", "0")] == 2
        assert samples["picows_connections_opened_total", ("worker", "1")] == 4
        assert samples["picows_workers", ("state", "ready")] == 1
        assert samples["picows_workers", ("state", "starting")] == 1
        assert samples["picows_workers", ("state", "draining")] == 0
        assert samples["picows_worker_memory_bytes", ("worker", "1")] == 2000
        assert samples[("picows_worker_deaths_total",)] == 0


async def test_without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> None:
        raise ImportError("pip install 'picows-server[metrics]'")

    monkeypatch.setattr(admin_metrics, "MetricsCollector", missing)
    async with pages() as it:
        status, _, body = await it.get("/metrics")
        assert status == 501
        assert "picows-server[metrics]" in body
