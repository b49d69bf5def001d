"""picows-client: a fast WebSocket client for asyncio.

:func:`ws_connect` opens a connection; a :class:`WSListener` of yours is told what happens on it
and sends through its :class:`WSTransport`. :func:`connect` opens one whose messages are awaited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from picows_client._version import __version__
from picows_client.connecting import ws_connect
from picows_client.url import WSURL, WSParsedURL
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
    WSUsageError,
)
from picows_codec.lazy_names import SHARED_NAMES, lazy_names

if TYPE_CHECKING:
    from picows_client.backoff import WSBackoff
    from picows_client.coroutine import connect
    from picows_client.keep_connected import ws_keep_connected
    from picows_client.link import WSLink, WSLinkState
    from picows_client.transience import is_transient
    from picows_codec.batch import WSBatchListener
    from picows_codec.broadcasting import broadcast
    from picows_codec.coroutines.connection import WSConnection
    from picows_codec.deflate.parameters import WSPermessageDeflate
    from picows_codec.prepared import WSPreparedMessage
    from picows_codec.stats import WSConnectionStats
    from picows_codec.tap import WSTap
    from picows_codec.tap_types import WSDirection
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **SHARED_NAMES,
            "WSBackoff": "picows_client.backoff",
            "WSLink": "picows_client.link",
            "WSLinkState": "picows_client.link",
            "connect": "picows_client.coroutine",
            "is_transient": "picows_client.transience",
            "ws_keep_connected": "picows_client.keep_connected",
        },
    )

__all__ = [
    "WSURL",
    "WSAutoPingStrategy",
    "WSBackoff",
    "WSBatchListener",
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
    "WSLink",
    "WSLinkState",
    "WSListener",
    "WSMessage",
    "WSMessageListener",
    "WSMsgType",
    "WSParsedURL",
    "WSPermessageDeflate",
    "WSPingTimeout",
    "WSPreparedMessage",
    "WSProtocolError",
    "WSProxyError",
    "WSSlowConsumer",
    "WSState",
    "WSStateError",
    "WSTap",
    "WSThreadError",
    "WSTransport",
    "WSUpgradeRequest",
    "WSUpgradeResponse",
    "WSUsageError",
    "__version__",
    "broadcast",
    "connect",
    "is_transient",
    "ws_connect",
    "ws_keep_connected",
]
