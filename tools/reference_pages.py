"""Which public name stands on which page of the reference."""

from __future__ import annotations

import importlib
from typing import Dict, List, NamedTuple, Set, Tuple

# Modules whose ``__all__`` is public. A name of several is documented in the first.
MODULES = (
    "picows_codec",
    "picows_client",
    "picows_server",
    "picows_codec.testing",
    "picows_codec.recording",
    "picows_codec.simd",
    "picows_client.testing",
    "picows_server.testing",
    "picows_server.asgi",
    "picows_server.topics",
    "picows_server.backplane",
)


class Page(NamedTuple):
    """One page: the names on it, in the order in which a reader wants them."""

    name: str
    title: str
    intro: str
    names: Tuple[str, ...]


PAGES = (
    Page(
        "client",
        "Client",
        "What opens connections: with a listener, with coroutines, and again whenever they end.",
        (
            *("connect", "ws_connect", "ws_keep_connected", "WSLink", "WSLinkState", "WSBackoff"),
            *("is_transient", "WSURL", "WSParsedURL"),
        ),
    ),
    Page(
        "server",
        "Server",
        "What accepts connections, with a listener or a coroutine for each.",
        (
            *("serve", "ws_create_server", "WSServer", "WSServerStats", "create_ssl_context"),
            *("reload_certificate", "watch_certificates", "WSCertificateWatch"),
            *("WSKernelTls", "kernel_tls_of", "run"),
        ),
    ),
    Page(
        "http",
        "HTTP on the same port",
        "Handlers for a mapping of paths, beside listener factories.",
        ("files", "page", "health", "ready", "metrics", "metrics_page", "MetricsCollector"),
    ),
    Page(
        "topics",
        "Topics and backplanes",
        "Messages for all connections that have subscribed to a name, in one process or in many.",
        (
            *("Topics", "Subscribed", "Position", "TopicsStats", "RuleStats", "SubscriberStats"),
            *("Envelope", "WSTopicError", "RedisBackplane", "NatsBackplane", "ShardedBackplane"),
            *("Backplane", "BackplaneReceiver", "HistoryRule", "History", "Publication"),
            *("BackplaneStats", "BackplaneError", "BackplaneFull"),
        ),
    ),
    Page(
        "asgi",
        "ASGI",
        "What serves applications of FastAPI, Starlette, Litestar, Quart and Channels.",
        ("UvicornProtocol", "asgi_listener", "ClientDisconnected", "LifespanError"),
    ),
    Page(
        "listeners",
        "Listeners",
        "Base classes of your listeners, whose methods the library calls.",
        ("WSListener", "WSMessageListener", "WSBatchListener"),
    ),
    Page(
        "connections",
        "Connections",
        "An open connection: for listeners a transport, for coroutines a connection above it.",
        (
            *("WSTransport", "WSConnection", "WSState", "WSConnectionStats", "broadcast"),
            *("WSPreparedMessage", "WSTap", "WSDirection"),
        ),
    ),
    Page(
        "frames",
        "Frames and messages",
        "What a listener receives, and the numbers of RFC 6455.",
        ("WSFrame", "WSMessage", "WSMsgType", "WSCloseCode"),
    ),
    Page(
        "handshakes",
        "Opening handshake",
        "Request and response, as a listener factory and a handler see them.",
        ("WSUpgradeRequest", "WSUpgradeResponse", "WSUpgradeResponseWithListener"),
    ),
    Page(
        "ends",
        "How a connection ended",
        "Close codes and reasons of both sides, and the cause.",
        ("WSDisconnectCause", "WSDisconnectKind", "WSCloseHandshake", "WSCloseInfo"),
    ),
    Page(
        "errors",
        "Errors",
        "",
        (
            *("WSError", "WSUsageError", "WSInvalidURL", "WSInvalidOptionError"),
            *("WSInvalidCloseError", "WSInvalidFrameError", "WSStateError", "WSThreadError"),
            *("WSHandshakeError", "WSInvalidMessageError", "WSInvalidStatusError"),
            *("WSInvalidHeaderError", "WSInvalidUpgradeError", "WSHandshakeTimeout"),
            *("WSProtocolError", "WSConnectionError", "WSConnectionClosed", "WSPingTimeout"),
            *("WSDataTimeout", "WSCloseTimeout", "WSSlowConsumer", "WSProxyError"),
        ),
    ),
    Page(
        "options",
        "Options",
        "Options that every function takes which opens connections or accepts them.",
        ("WSOptions", "WSPermessageDeflate", "WSAutoPingStrategy"),
    ),
    Page(
        "testing",
        "Testing and recording",
        "A listener without a network, and feeds in files.",
        (
            *("connected", "Connected", "FakeLoop", "FakeClock", "Frame"),
            *("Recorder", "Record", "read_recording", "replay", "RecordingError"),
        ),
    ),
    Page(
        "codec",
        "Codec",
        "The protocol without I/O, for programs that bring their own transport.",
        (
            *("WSEndpoint", "ClientHandshake", "ServerHandshake", "WSFrameParser"),
            *("decode_frame_header", "encode_frame_header", "encode_close_payload"),
            *("level", "available_levels", "set_level"),
        ),
    ),
)


def public_names() -> Dict[str, List[str]]:
    """Return every public name and the modules that it is imported from."""
    names: Dict[str, List[str]] = {}
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            if name != "__version__":
                names.setdefault(name, []).append(module)
    return names


def missing() -> Set[str]:
    """Return the public names that are on no page."""
    return set(public_names()) - {name for page in PAGES for name in page.names}


def superfluous() -> Set[str]:
    """Return the names on pages that are not public, or on two."""
    placed = [name for page in PAGES for name in page.names]
    return {name for name in placed if placed.count(name) > 1 or name not in public_names()}
