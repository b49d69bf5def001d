"""picows_server.http.topics_metrics: what topics count, read by Prometheus' own parser."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import fields
from pathlib import Path
from sys import getsizeof
from typing import Dict, List

import pytest

from picows_client import connect
from picows_server import (
    MetricsCollector,
    WSFrame,
    WSListener,
    WSMsgType,
    WSServerStats,
    WSTransport,
    metrics,
)
from picows_server.backplane import BackplaneStats
from picows_server.topics import RuleStats, Topics, TopicsStats
from tests.server.http.test_metrics import Samples, samples_of, scrape
from tests.support.backplanes import FakeBackplane, FakeEngine
from tests.support.leaks import eventually
from tests.support.servers import quiet_logger, serving
from tests.support.services import Service, WorkerClient, eventually_true

openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")
in_openmetrics = pytest.importorskip("prometheus_client.openmetrics.exposition").generate_latest
text_format = pytest.importorskip("prometheus_client.parser")


def page_of(collector: MetricsCollector) -> Samples:
    text = in_openmetrics(collector).decode("utf-8")
    return samples_of(openmetrics.text_string_to_metric_families(text))


async def test_topics_of_a_server() -> None:
    """Numbers of what happened; the labels are prefixes of rules, and not names of topics."""
    topics = Topics(max_retained_bytes=1000)
    topics.configure("price.", retain=True)
    topics.configure("trades.", history=2)
    topics.configure('odd "\\', retain=True)

    class Subscriber(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.opcode is WSMsgType.TEXT:
                topics.subscribe(transport, frame.get_payload_as_utf8_text())

    routes = {"/": Subscriber, "/metrics": metrics}
    async with serving(routes, logger_name=quiet_logger()) as server:
        assert not [name for name, _ in await scrape(server) if "topics" in name]
        server.topics = topics
        async with connect(server.url) as one, connect(server.url) as other:
            for ws, name in ((one, "price.BTC"), (other, "price.BTC"), (other, "secret")):
                await ws.send(name)
            await eventually(lambda: topics.stats().subscriptions == 3)
            for number in range(4):
                topics.publish("price.BTC", "12345", key=str(number))
                topics.publish("trades.BTC", "1")
            found = await scrape(server)
    assert found["picows_topics", ()] == 3
    assert found["picows_topics_connections", ()] == 2
    assert found["picows_topics_subscriptions", ()] == 3
    assert found["picows_topics_retained_messages", ()] == 2
    assert found["picows_topics_retained_bytes", ()] == 2 * (405 + getsizeof("a"))
    assert found["picows_topics_history_messages", ()] == 2
    assert found["picows_topics_history_bytes", ()] == 2 * 401
    assert found["picows_topics_evicted_total", (("kind", "retained"),)] == 2
    assert found["picows_topics_evicted_total", (("kind", "history"),)] == 0
    assert found["picows_topics_evicted_total", (("kind", "topic"),)] == 0
    assert found["picows_topics_published_total", (("rule", "price."),)] == 4
    assert found["picows_topics_delivered_total", (("rule", "price."),)] == 8
    assert found["picows_topics_published_total", (("rule", "trades."),)] == 4
    assert found["picows_topics_delivered_total", (("rule", ""),)] == 0
    assert found["picows_topics_published_total", (("rule", 'odd "\\'),)] == 0
    assert not [labels for _, labels in found if "secret" in str(labels)]
    assert not [name for name, _ in found if "backplane" in name]


async def test_a_backplane() -> None:
    engine = FakeEngine()
    backplane = FakeBackplane(engine)
    topics = Topics(backplane)
    async with serving() as server:
        server.topics = topics
        collector = MetricsCollector(server)
        async with topics:
            assert page_of(collector)["picows_topics_backplane_up", ()] == 1
            backplane.is_connected = False
            assert page_of(collector)["picows_topics_backplane_up", ()] == 0
        assert page_of(collector)["picows_topics_backplane_up", ()] == 1  # closed is not lost


def test_everything_that_a_backplane_counts() -> None:
    backplane = BackplaneStats(
        published=1,
        published_bytes=2,
        acknowledged=3,
        refused=4,
        resent=5,
        failed=6,
        pending=7,
        pending_bytes=8,
        received=9,
        received_bytes=10,
        duplicates=11,
        malformed=12,
        recovered=13,
        reconnects=14,
        failed_attempts=15,
        silences=16,
        subscriptions=17,
        servers=20,
        servers_connected=21,
        moved=22,
    )
    shown = {each.name for each in fields(backplane) if getattr(backplane, each.name)}
    assert shown == {each.name for each in fields(backplane)} - {"gaps"}  # those of topics count
    topics = TopicsStats(gaps=18, invalid=19, backplane_down=1, backplane=backplane)
    found = page_of(MetricsCollector(lambda: {"3": WSServerStats(topics=topics)}))
    values = {
        (name[len("picows_topics_") :], *(label for key, label in labels if key != "worker")): value
        for (name, labels), value in found.items()
        if ("worker", "3") in labels and ("backplane" in name or value > 17)
    }
    assert values == {
        ("backplane_messages_total", "sent"): 1,
        ("backplane_bytes_total", "sent"): 2,
        ("backplane_acknowledged_total",): 3,
        ("backplane_lost_total", "buffer_full"): 4,
        ("backplane_resent_total",): 5,
        ("backplane_lost_total", "failed"): 6,
        ("backplane_pending_messages",): 7,
        ("backplane_pending_bytes",): 8,
        ("backplane_messages_total", "received"): 9,
        ("backplane_bytes_total", "received"): 10,
        ("backplane_ignored_total", "duplicate"): 11,
        ("backplane_ignored_total", "malformed"): 12,
        ("backplane_recovered_total",): 13,
        ("backplane_reconnects_total",): 14,
        ("backplane_failed_attempts_total",): 15,
        ("backplane_silences_total",): 16,
        ("backplane_subscriptions",): 17,
        ("backplane_moved_total",): 22,
        ("backplane_servers",): 20,
        ("backplane_servers_connected",): 21,
        ("backplane_up",): 0,
        ("gaps_total",): 18,
        ("invalid_total",): 19,
    }


def test_workers_of_which_one_has_no_backplane() -> None:
    """Each worker has what it has; the others have no sample."""
    rules = {"": RuleStats(published=2)}
    found = page_of(
        MetricsCollector(
            lambda: {
                "0": WSServerStats(),
                "1": WSServerStats(topics=TopicsStats(rules=rules)),
                "2": WSServerStats(topics=TopicsStats(rules=rules, backplane=BackplaneStats())),
            }
        )
    )

    def workers(name: str) -> List[str]:
        return [dict(labels)["worker"] for found_name, labels in found if found_name == name]

    assert workers("picows_connections") == ["0", "1", "2"]
    assert workers("picows_topics_published_total") == ["1", "2"]
    assert workers("picows_topics_backplane_up") == ["2"]


@pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")
def test_workers_on_the_admin_address(tmp_path: Path) -> None:
    """Counters do not go down when a worker is killed; what it had is gone."""
    applications = "tests.support.worker_applications"
    settings = {"lifespan": f"{applications}:topics_lifespan"}

    def found(service: Service, name: str) -> Dict[str, float]:
        families = text_format.text_string_to_metric_families(service.admin("/metrics")[1])
        samples = [sample for family in families for sample in family.samples]
        return {
            sample.labels["worker"]: sample.value
            for sample in samples
            if sample.name == name and sample.labels.get("rule") in {None, "price."}
        }

    def both(service: Service, name: str) -> float:
        return sum(found(service, name).values())

    with Service(tmp_path, f"{applications}:Subscriber", settings=settings) as service:
        ready = service.wait_ready().wait_for_ready(2)
        with WorkerClient(service.address) as client:
            client.send(b"64000")
            assert client.read() == (1, b"64000")
            eventually_true(lambda: both(service, "picows_topics_delivered_total") == 1)
            (slot,) = [str(slot) for slot, pid in ready.items() if pid == client.pid]
            assert found(service, "picows_topics_subscriptions")[slot] == 1
            assert both(service, "picows_topics_retained_messages") == 1
            os.kill(client.pid, signal.SIGKILL)
            service.wait_for_ready(2, without=[client.pid])
        eventually_true(lambda: len(found(service, "picows_topics")) == 2)
        assert both(service, "picows_topics_subscriptions") == 0
        assert both(service, "picows_topics_retained_messages") == 0
        assert found(service, "picows_topics_delivered_total")[slot] == 1
        assert service.stop() == 0
