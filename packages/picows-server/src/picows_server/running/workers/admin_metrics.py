"""The numbers of all workers, and of the supervisor itself, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List

from picows_server.http.metrics import MetricsCollector, metrics_page
from picows_server.routing import Route
from picows_server.running.workers.supervisor import Supervisor
from picows_server.running.workers.worker_process import WorkerState

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
else:
    Collector = object

__all__ = ["supervisor_metrics"]


def supervisor_metrics(supervisor: Supervisor) -> Route:
    """Return the handler of ``/metrics``; raises :class:`ImportError` without prometheus-client."""
    collector = MetricsCollector(supervisor.stats)
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an extra

    registry = CollectorRegistry()
    registry.register(collector)
    registry.register(_SupervisorCollector(supervisor))
    return metrics_page(registry)


class _SupervisorCollector(Collector):
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def describe(self) -> List[Metric]:
        return self.collect()

    def collect(self) -> List[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415 - an extra
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        states: Dict[str, int] = {
            state.value: 0 for state in WorkerState if state is not WorkerState.ENDED
        }
        memory = GaugeMetricFamily(
            "picows_worker_memory_bytes", "Memory of the processes of a slot.", labels=["worker"]
        )
        for slot in self._supervisor.slots:
            sizes = []
            for worker in slot.workers:
                states[worker.state.value] += 1
                sizes.append(worker.heartbeat.rss or 0)
            memory.add_metric([str(slot.number)], sum(sizes))
        workers = GaugeMetricFamily(
            "picows_workers", "Processes by what they do.", labels=["state"]
        )
        for state, count in states.items():
            workers.add_metric([state], count)
        deaths = CounterMetricFamily(
            "picows_worker_deaths", "Workers that died without being told to end."
        )
        deaths.add_metric([], self._supervisor.deaths)
        return [workers, deaths, memory]
