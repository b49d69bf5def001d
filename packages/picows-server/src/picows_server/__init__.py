"""picows-server: a fast WebSocket server for asyncio.

:func:`ws_create_server` starts one; a :class:`WSListener` of yours is told what happens on each
connection and sends through its :class:`WSTransport`. :func:`serve` starts one whose connections
are served by coroutines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from picows_codec import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSCloseHandshake,
    WSCloseInfo,
    WSCloseTimeout,
    WSConnectionClosed,
    WSConnectionError,
    WSDataTimeout,
    WSDisconnectCause,
    WSDisconnectKind,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidCloseError,
    WSInvalidFrameError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSInvalidURL,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSPingTimeout,
    WSProtocolError,
    WSProxyError,
    WSSlowConsumer,
    WSState,
    WSStateError,
    WSThreadError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    WSUsageError,
)
from picows_codec.lazy_names import SHARED_NAMES, lazy_names
from picows_server._version import __version__
from picows_server.create import ws_create_server
from picows_server.server import WSServer
from picows_server.tls import create_ssl_context

if TYPE_CHECKING:
    from picows_codec.batch import WSBatchListener
    from picows_codec.broadcasting import broadcast
    from picows_codec.coroutines.connection import WSConnection
    from picows_codec.deflate.parameters import WSPermessageDeflate
    from picows_codec.prepared import WSPreparedMessage
    from picows_codec.stats import WSConnectionStats
    from picows_codec.tap import WSTap
    from picows_codec.tap_types import WSDirection
    from picows_server.certificates.reloading import reload_certificate
    from picows_server.certificates.watching import WSCertificateWatch, watch_certificates
    from picows_server.http.files import files
    from picows_server.http.health import health, ready
    from picows_server.http.metrics import MetricsCollector, metrics, metrics_page
    from picows_server.http.pages import page
    from picows_server.kernel_tls import WSKernelTls, kernel_tls_of
    from picows_server.running.blocking import run
    from picows_server.serving import serve
    from picows_server.stats import WSServerStats
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **SHARED_NAMES,
            "files": "picows_server.http.files",
            "health": "picows_server.http.health",
            "MetricsCollector": "picows_server.http.metrics",
            "metrics": "picows_server.http.metrics",
            "metrics_page": "picows_server.http.metrics",
            "page": "picows_server.http.pages",
            "ready": "picows_server.http.health",
            "WSCertificateWatch": "picows_server.certificates.watching",
            "WSKernelTls": "picows_server.kernel_tls",
            "kernel_tls_of": "picows_server.kernel_tls",
            "reload_certificate": "picows_server.certificates.reloading",
            "run": "picows_server.running.blocking",
            "serve": "picows_server.serving",
            "watch_certificates": "picows_server.certificates.watching",
            "WSServerStats": "picows_server.stats",
        },
    )

__all__ = [
    "MetricsCollector",
    "WSAutoPingStrategy",
    "WSBatchListener",
    "WSCertificateWatch",
    "WSCloseCode",
    "WSCloseHandshake",
    "WSCloseInfo",
    "WSCloseTimeout",
    "WSConnection",
    "WSConnectionClosed",
    "WSConnectionError",
    "WSConnectionStats",
    "WSDataTimeout",
    "WSDirection",
    "WSDisconnectCause",
    "WSDisconnectKind",
    "WSError",
    "WSFrame",
    "WSHandshakeError",
    "WSHandshakeTimeout",
    "WSInvalidCloseError",
    "WSInvalidFrameError",
    "WSInvalidHeaderError",
    "WSInvalidMessageError",
    "WSInvalidOptionError",
    "WSInvalidStatusError",
    "WSInvalidURL",
    "WSInvalidUpgradeError",
    "WSKernelTls",
    "WSListener",
    "WSMessage",
    "WSMessageListener",
    "WSMsgType",
    "WSPermessageDeflate",
    "WSPingTimeout",
    "WSPreparedMessage",
    "WSProtocolError",
    "WSProxyError",
    "WSServer",
    "WSServerStats",
    "WSSlowConsumer",
    "WSState",
    "WSStateError",
    "WSTap",
    "WSThreadError",
    "WSTransport",
    "WSUpgradeRequest",
    "WSUpgradeResponse",
    "WSUpgradeResponseWithListener",
    "WSUsageError",
    "__version__",
    "broadcast",
    "create_ssl_context",
    "files",
    "health",
    "kernel_tls_of",
    "metrics",
    "metrics_page",
    "page",
    "ready",
    "reload_certificate",
    "run",
    "serve",
    "watch_certificates",
    "ws_create_server",
]
