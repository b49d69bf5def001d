"""What a server counts, for Prometheus: a handler, and a collector for a registry of one's own.

prometheus-client, the extra ``metrics``, is imported when somebody uses one of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Sequence, Tuple, Union

from picows_codec import WSUpgradeRequest, WSUpgradeResponse
from picows_server.http.topics_metrics import (
    BACKPLANE_METRICS,
    TOPICS_METRICS,
    Labels,
    Row,
    Samples,
)
from picows_server.routing import MountedHandler, Route
from picows_server.server import WSServer
from picows_server.stats import WSServerStats

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
else:
    Collector = object

__all__ = ["MetricsCollector", "metrics", "metrics_page"]

_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}")

_PLAIN: Labels = ()
_DIRECTION: Labels = ("direction",)
_KIND: Labels = ("kind",)
_STATUS: Labels = ("status",)


def _plain(name: str) -> Callable[[WSServerStats], Samples]:
    return lambda stats: [(_PLAIN, getattr(stats, name))]


def _directions(name: str) -> Callable[[WSServerStats], Samples]:
    return lambda stats: [
        (("received",), getattr(stats, f"{name}_received")),
        (("sent",), getattr(stats, f"{name}_sent")),
    ]


def _statuses(name: str) -> Callable[[WSServerStats], Samples]:
    # 500 is there before it happens, because Prometheus' increase() does not see the first one of
    # a series that begins with it.
    return lambda stats: [
        ((str(status),), count)
        for status, count in sorted({500: 0, **getattr(stats, name)}.items())
    ]


def _kinds_closed(stats: WSServerStats) -> Samples:
    return [((kind.name.lower(),), count) for kind, count in stats.closed.items()]


def _kinds_violated(stats: WSServerStats) -> Samples:
    return [((kind,), count) for kind, count in sorted(stats.violations.items())]


# No label comes from a peer: that would let peers fill the memory of those who keep metrics.
_METRICS: Tuple[Row, ...] = (
    ("picows_connections", False, "Open connections.", _PLAIN, _plain("connections")),
    (
        "picows_handshakes_pending",
        False,
        "Connections in their opening handshake, or refused but not ended.",
        _PLAIN,
        _plain("pending_handshakes"),
    ),
    (
        "picows_connections_opened",
        True,
        "Connections whose opening handshake succeeded.",
        _PLAIN,
        _plain("opened"),
    ),
    (
        "picows_connections_closed",
        True,
        "Connections that have ended, by what ended them.",
        _KIND,
        _kinds_closed,
    ),
    (
        "picows_handshakes_refused",
        True,
        "Opening handshakes that were refused, by the status of their response.",
        _STATUS,
        _statuses("refused"),
    ),
    (
        "picows_http_responses",
        True,
        "Responses to requests that asked for no upgrade, by their status.",
        _STATUS,
        _statuses("responses"),
    ),
    ("picows_messages", True, "Messages.", _DIRECTION, _directions("messages")),
    ("picows_frames", True, "Frames, control frames included.", _DIRECTION, _directions("frames")),
    (
        "picows_bytes",
        True,
        "Bytes of connections, without TLS: frames with their headers, and HTTP.",
        _DIRECTION,
        _directions("bytes"),
    ),
    ("picows_pings_lost", True, "Pings without a pong in time.", _PLAIN, _plain("pings_lost")),
    (
        "picows_write_queue_bytes",
        False,
        "Bytes that wait until the kernel takes them.",
        _PLAIN,
        _plain("write_queue_bytes"),
    ),
    (
        "picows_write_queue_highest_bytes",
        False,
        "The most bytes that have waited at a time.",
        _PLAIN,
        _plain("write_queue_bytes_highest"),
    ),
    (
        "picows_slow_consumers",
        True,
        "Connections that ended because their peer did not read.",
        _PLAIN,
        _plain("slow_consumers"),
    ),
    (
        "picows_violations",
        True,
        "What peers did against RFC 6455 or beyond a limit.",
        _KIND,
        _kinds_violated,
    ),
    (
        "picows_loop_lag_seconds",
        False,
        "By how much the event loop called back late, at worst, in the last 15 to 30 seconds.",
        _PLAIN,
        _plain("loop_lag"),
    ),
)


class MetricsCollector(Collector):
    """What one or several servers count, for ``registry.register`` of prometheus-client.

    :param sources: a :class:`WSServer`; or a callable without arguments that returns a
        :class:`WSServerStats` for each worker, by a name, which becomes the label ``worker``.
    :raises ImportError: prometheus-client is not installed.

    Any thread may collect, so that ``prometheus_client.start_http_server`` can be used, too.
    """

    def __init__(self, sources: Union[WSServer, Callable[[], Mapping[str, WSServerStats]]]) -> None:
        if not isinstance(sources, WSServer) and not callable(sources):
            raise TypeError(
                "sources must be a WSServer or a callable that returns the stats of workers, not"
                f" {type(sources).__name__}"
            )
        _prometheus_client()
        self._sources = sources

    def describe(self) -> List[Metric]:
        """The metrics without values, for a registry that looks for names that are there twice."""
        return self._families((*_METRICS, *TOPICS_METRICS, *BACKPLANE_METRICS), {})

    def collect(self) -> List[Metric]:
        """The metrics with their values now."""
        sources: Mapping[Labels, WSServerStats]
        if isinstance(self._sources, WSServer):
            sources = {_PLAIN: self._sources.stats()}
        else:
            sources = {(name,): stats for name, stats in self._sources().items()}
        rows = _METRICS
        topics = [stats.topics for stats in sources.values() if stats.topics is not None]
        if topics:
            rows += TOPICS_METRICS
        if any(each.backplane is not None for each in topics):
            rows += BACKPLANE_METRICS
        return self._families(rows, sources)

    def _families(
        self, rows: Sequence[Row], sources: Mapping[Labels, WSServerStats]
    ) -> List[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415 - an extra
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        worker = () if isinstance(self._sources, WSServer) else ("worker",)
        families: List[Metric] = []
        for name, is_counter, text, labels, samples_of in rows:
            make: Any = CounterMetricFamily if is_counter else GaugeMetricFamily
            family = make(name, text, labels=worker + labels)
            for source, stats in sources.items():
                for values, count in samples_of(stats):
                    family.add_metric(source + values, count)
            families.append(family)
        return families


def metrics_page(registry: CollectorRegistry) -> Route:
    """Return a handler for a mapping of paths that responds with all metrics of a registry.

    :param registry: of prometheus-client, for example its ``REGISTRY``, in which a
        :class:`MetricsCollector` and metrics of the application's own are registered.
    :raises ImportError: prometheus-client is not installed.
    """
    _prometheus_client()
    return lambda request: _response(registry, request)


class _Metrics(MountedHandler):
    """The handler ``metrics``: it responds with what the server counts.

    The format is OpenMetrics where the request's Accept lists it, as Prometheus' does, else
    Prometheus' text format 0.0.4. Raises :class:`ImportError` if prometheus-client is not
    installed: ``ws_create_server`` does, if it is in the mapping of paths.
    """

    def __init__(self) -> None:
        # Other processes find it by its name, as they do a function.
        self.__qualname__ = "metrics"

    def __reduce__(self) -> str:
        return "metrics"

    def mounted_at(self, path: str) -> Route:
        _prometheus_client()
        return self

    def __call__(self, request: WSUpgradeRequest) -> WSUpgradeResponse:
        server: Any = request.server
        return _response(MetricsCollector(server), request)


#: A handler for a mapping of paths: ``{"/metrics": metrics}``.
metrics = _Metrics()


def _response(
    source: Union[Collector, CollectorRegistry], request: WSUpgradeRequest
) -> WSUpgradeResponse:
    encode, content_type = _prometheus_client().choose_encoder(_accepted(request))
    headers: Dict[str, str] = {
        "Content-Type": content_type,
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    return WSUpgradeResponse.create_response(200, encode(source), headers)


def _accepted(request: WSUpgradeRequest) -> str:
    """The request's Accept without the formats whose version is none.

    prometheus-client (0.26) raises for such a version, or repeats it in the Content-Type.
    """
    formats = ",".join(request.headers.getall("Accept", [])).split(",")
    return ",".join(each for each in formats if all(map(_is_fit, each.split(";")[1:])))


def _is_fit(parameter: str) -> bool:
    name, _, value = parameter.strip().partition("=")
    return name != "version" or _VERSION.fullmatch(value) is not None


def _prometheus_client() -> Any:
    try:
        # Both now, because a server that cannot open files any more still shows its numbers.
        import prometheus_client.core  # noqa: PLC0415 - an extra
        import prometheus_client.exposition  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(
            "metrics need prometheus-client: pip install 'picows-server[metrics]'"
        ) from error
    return prometheus_client.exposition
