"""picows_server.http.metrics: what a server counts, read by Prometheus' own parsers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any, Dict, List, Optional, Set, Tuple

import pytest

from picows_server import (
    MetricsCollector,
    WSDisconnectKind,
    WSServer,
    WSServerStats,
    metrics,
    metrics_page,
    ws_create_server,
)
from picows_server.backplane import BackplaneStats
from picows_server.topics import RuleStats, TopicsStats
from tests.support.interpreter import run_python
from tests.support.judge import Judged, ask
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import ANY_PORT, Echo, echo, quiet_logger, serving, sockname

prometheus_client = pytest.importorskip("prometheus_client")
openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")
in_openmetrics = pytest.importorskip("prometheus_client.openmetrics.exposition").generate_latest
text_format = pytest.importorskip("prometheus_client.parser")

DASHBOARD = Path(__file__).resolve().parents[3] / "examples/gateway/grafana-dashboard.json"
# What Prometheus 2 sends.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
NAMES = {
    "picows_connections",
    "picows_connections_opened_total",
    "picows_connections_closed_total",
    "picows_handshakes_pending",
    "picows_handshakes_refused_total",
    "picows_http_responses_total",
    "picows_messages_total",
    "picows_frames_total",
    "picows_bytes_total",
    "picows_pings_lost_total",
    "picows_write_queue_bytes",
    "picows_write_queue_highest_bytes",
    "picows_slow_consumers_total",
    "picows_violations_total",
    "picows_loop_lag_seconds",
}
# Of servers with topics, and with a backplane.
TOPICS_NAMES = {
    "picows_topics",
    "picows_topics_connections",
    "picows_topics_subscriptions",
    "picows_topics_retained_messages",
    "picows_topics_retained_bytes",
    "picows_topics_history_messages",
    "picows_topics_history_bytes",
    "picows_topics_evicted_total",
    "picows_topics_published_total",
    "picows_topics_delivered_total",
    "picows_topics_dropped_total",
    "picows_topics_replaced_total",
    "picows_topics_disconnected_total",
}
BACKPLANE_NAMES = {
    "picows_topics_gaps_total",
    "picows_topics_invalid_total",
    "picows_topics_backplane_up",
    "picows_topics_backplane_servers",
    "picows_topics_backplane_servers_connected",
    "picows_topics_backplane_subscriptions",
    "picows_topics_backplane_messages_total",
    "picows_topics_backplane_bytes_total",
    "picows_topics_backplane_acknowledged_total",
    "picows_topics_backplane_pending_messages",
    "picows_topics_backplane_pending_bytes",
    "picows_topics_backplane_resent_total",
    "picows_topics_backplane_lost_total",
    "picows_topics_backplane_recovered_total",
    "picows_topics_backplane_ignored_total",
    "picows_topics_backplane_reconnects_total",
    "picows_topics_backplane_failed_attempts_total",
    "picows_topics_backplane_moved_total",
    "picows_topics_backplane_silences_total",
}
ALL_NAMES = NAMES | TOPICS_NAMES | BACKPLANE_NAMES
ROUTES = {"/ws": Echo, "/metrics": metrics}

Samples = Dict[Tuple[str, Tuple[Tuple[str, str], ...]], float]


def samples_of(families: Any) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def parsed(page: Judged) -> Samples:
    text = page.body.decode("utf-8")
    content_type = page.headers["content-type"]
    if content_type.startswith("application/openmetrics-text"):
        return samples_of(openmetrics.text_string_to_metric_families(text))
    assert content_type.startswith("text/plain; version=0.0.4")
    return samples_of(text_format.text_string_to_metric_families(text))


async def scrape(server: WSServer, accept: str = PROMETHEUS) -> Samples:
    page = await ask(sockname(server), "/metrics", headers=[("Accept", accept)])
    assert page.status == 200
    assert page.headers["cache-control"] == "no-store"
    return parsed(page)


def all_counted(topics: Optional[TopicsStats] = None) -> WSServerStats:
    """Something in every field, so that every metric has a sample."""
    return WSServerStats(
        connections=3,
        opened=5,
        closed=dict.fromkeys(WSDisconnectKind, 1),
        refused={404: 2, 503: 1},
        responses={200: 7},
        violations={"masked": 1, "invalid_utf8": 2},
        write_queue_bytes=10,
        write_queue_bytes_highest=100,
        loop_lag=0.25,
        topics=topics,
    )


def every_page(topics: Optional[TopicsStats] = None) -> List[bytes]:
    """A page of several workers in OpenMetrics, and one in the text format."""
    collector = MetricsCollector(lambda: {"0": all_counted(topics), "1": all_counted()})
    registry = prometheus_client.CollectorRegistry()
    registry.register(collector)
    return [in_openmetrics(collector), prometheus_client.generate_latest(registry)]


async def test_both_formats() -> None:
    async with serving(ROUTES, logger_name=quiet_logger()) as server:
        async with await RawClient.open(sockname(server), "/ws") as client:
            await echo(client)
            await echo(client)
            for accept in (PROMETHEUS, "text/plain", "*/*", ""):
                found = await scrape(server, accept)
                assert found["picows_connections", ()] == 1
                assert found["picows_connections_opened_total", ()] == 1
                for way in ("received", "sent"):
                    label = (("direction", way),)
                    assert found["picows_messages_total", label] == 2
                    assert found["picows_frames_total", label] == 2
                    assert found["picows_bytes_total", label] > 100
            client.write_close(1000)
            assert await client.read_close() == 1000
        await eventually(lambda: server.stats().connections == 0)
        async with await RawClient.connect(sockname(server)) as client:
            assert (await client.upgrade("/nothing")).status == 404
        found = await scrape(server)
        closed = {labels: n for (name, labels), n in found.items() if "closed" in name}
        assert closed.pop((("kind", "peer_close"),)) == 1
        assert len(closed) == len(WSDisconnectKind) - 1
        assert not any(closed.values())
        assert found["picows_handshakes_refused_total", (("status", "404"),)] == 1
        assert found["picows_http_responses_total", (("status", "200"),)] == 4
        # There from the beginning, so that the first one is seen.
        assert found["picows_handshakes_refused_total", (("status", "500"),)] == 0
        assert found["picows_http_responses_total", (("status", "500"),)] == 0


async def test_an_old_or_unknown_accept() -> None:
    async with serving(ROUTES) as server:
        for accept in (
            "application/json",
            "application/openmetrics-text; version=0.0.1",
            "application/openmetrics-text; version=x",
            'application/openmetrics-text; version="1.0.0"',
            "text/plain; version=x",
            "x;;=,",
        ):
            await scrape(server, accept)
        repeated = [("Accept", "application/openmetrics-text; version=1.0.0.hello")]
        page = await ask(sockname(server), "/metrics", headers=repeated)
        assert "hello" not in page.headers["content-type"]
        page = await ask(sockname(server), "/metrics", method="HEAD")
        assert (page.status, page.body) == (200, b"")


RULES = {"": RuleStats(published=3), "book.": RuleStats(5, 4, 3, 2, 1)}


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (None, NAMES),
        (TopicsStats(rules=RULES), NAMES | TOPICS_NAMES),
        (TopicsStats(rules=RULES, backplane=BackplaneStats()), ALL_NAMES),
    ],
    ids=["plain", "topics", "backplane"],
)
def test_names_and_types(topics: Optional[TopicsStats], names: Set[str]) -> None:
    page = every_page(topics)[0].decode("utf-8")
    assert {name for name, _ in samples_of(openmetrics.text_string_to_metric_families(page))} == (
        names
    )
    for family in openmetrics.text_string_to_metric_families(page):
        is_counter = any(sample.name.endswith("_total") for sample in family.samples)
        assert family.type == ("counter" if is_counter else "gauge")
        assert family.documentation.endswith(".")
    assert page.endswith("# EOF\n")


def test_workers() -> None:
    found = samples_of(openmetrics.text_string_to_metric_families(every_page()[0].decode("utf-8")))
    assert found["picows_connections", (("worker", "1"),)] == 3
    assert found["picows_handshakes_refused_total", (("status", "404"), ("worker", "0"))] == 2
    assert all(("worker", "0") in labels or ("worker", "1") in labels for _, labels in found)


def test_no_worker_yet() -> None:
    page = in_openmetrics(MetricsCollector(dict)).decode("utf-8")
    assert samples_of(openmetrics.text_string_to_metric_families(page)) == {}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool() -> None:
    """Debian's package prometheus has it; it reads the text format only."""
    subprocess.run(
        ["promtool", "check", "metrics"],
        input=every_page(TopicsStats(rules=RULES, backplane=BackplaneStats()))[1],
        check=True,
    )


async def test_a_registry_of_the_applications_own() -> None:
    registry = prometheus_client.CollectorRegistry()
    jobs = prometheus_client.Counter("jobs", "Jobs.", registry=registry)
    routes = {"/ws": Echo, "/metrics": metrics_page(registry)}
    async with serving(routes) as server:
        registry.register(MetricsCollector(server))
        assert not server._lag._is_measuring  # describe() asks nobody
        jobs.inc()
        found = await scrape(server)
        assert found["jobs_total", ()] == 1
        assert found["picows_connections", ()] == 0
        with pytest.raises(ValueError, match="Duplicated"):
            registry.register(MetricsCollector(server))
        other: Any = prometheus_client.Counter("picows_topics_gaps", "Mine.", registry=None)
        with pytest.raises(ValueError, match="Duplicated"):  # though there are no topics yet
            registry.register(other)


async def test_a_registry_that_is_collected_in_a_thread() -> None:
    """As ``prometheus_client.start_http_server`` does."""
    pages: List[bytes] = []
    async with serving(ROUTES) as server:
        collector = MetricsCollector(server)
        thread = Thread(target=lambda: pages.append(in_openmetrics(collector)))
        thread.start()
        thread.join()
    assert b"picows_connections 0.0\n" in pages[0]


async def test_no_label_comes_from_a_peer() -> None:
    async with serving(ROUTES, logger_name=quiet_logger()) as server:
        headers = [("User-Agent", "secret"), ("Origin", "https://secret")]
        async with await RawClient.open(sockname(server), "/ws?secret", headers) as client:
            client.write_frame(8, b"\x0f\xa0secret")  # 4000, a code of its own
            await client.read_frame()
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(b"SECRET /secret HTTP/1.1\r\nHost: secret\r\n\r\n")
            await client.read_response()
        page = await ask(sockname(server), "/metrics")
        assert b"secret" not in page.body.lower()
        assert b"4000" not in page.body


def test_no_file_is_wanted_for_the_first_page() -> None:
    """A server that is out of descriptors could import nothing then."""
    found = run_python(
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from picows_server import WSServer, WSServerStats, metrics\n"
        "page = metrics.mounted_at('/metrics')\n"
        "server = WSServer.__new__(WSServer)\n"
        "WSServer.stats = lambda self: WSServerStats()\n"
        "headers = SimpleNamespace(getall=lambda name, default: default)\n"
        "before = set(sys.modules)\n"
        "assert page(SimpleNamespace(server=server, headers=headers)).status == 200\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    assert found.stdout == "[]\n", found.stderr


async def test_without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "prometheus_client.exposition", None)
    wanted = r"pip install 'picows-server\[metrics\]'"
    with pytest.raises(ImportError, match=wanted):
        await ws_create_server(ANY_PORT, ROUTES)
    with pytest.raises(ImportError, match=wanted):
        metrics_page(None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=wanted):
        MetricsCollector(dict)


def test_wrong_sources() -> None:
    with pytest.raises(TypeError, match="sources must be a WSServer or a callable"):
        MetricsCollector(None)  # type: ignore[arg-type]


def queries_of(value: Any) -> List[str]:
    if isinstance(value, dict):
        found = [value["expr"]] if "expr" in value else []
        if value.get("type") == "query" and isinstance(value.get("query"), str):
            found.append(value["query"])
        return found + [query for each in value.values() for query in queries_of(each)]
    if isinstance(value, list):
        return [query for each in value for query in queries_of(each)]
    return []


def test_the_dashboard_knows_every_metric() -> None:
    """And no other, nor a label that does not exist."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = " ".join(queries_of(dashboard))
    assert set(re.findall(r"\bpicows_\w+", queries)) == ALL_NAMES
    labels = set(re.findall(r"by \((\w+)\)", queries))
    assert labels == {"kind", "status", "direction", "worker", "rule"}
    rows = [panel for panel in dashboard["panels"] if panel["type"] == "row"]
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    panels += [panel for row in rows for panel in row["panels"]]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    assert len(set(places)) == len(places)
