"""WebSocket codec: frames, masks, handshakes and protocol state, without I/O.

Everything below is also usable from other Cython extensions, see the ``.pxd`` files. Applications
use ``picows_client`` or ``picows_server``, which re-export what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from picows_codec._version import __version__
from picows_codec.close import encode_close_payload
from picows_codec.connection.endpoint import WSEndpoint
from picows_codec.constants import WSAutoPingStrategy, WSCloseCode, WSMsgType
from picows_codec.disconnect import (
    WSCloseHandshake,
    WSCloseInfo,
    WSDisconnectCause,
    WSDisconnectKind,
    WSState,
)
from picows_codec.errors import (
    WSCloseTimeout,
    WSConnectionClosed,
    WSConnectionError,
    WSDataTimeout,
    WSError,
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
    WSPingTimeout,
    WSProtocolError,
    WSProxyError,
    WSSlowConsumer,
    WSStateError,
    WSThreadError,
    WSUsageError,
)
from picows_codec.frame_header import decode_frame_header, encode_frame_header
from picows_codec.frames import WSFrame, WSMessage
from picows_codec.http.client_handshake import ClientHandshake
from picows_codec.http.server_handshake import ServerHandshake
from picows_codec.http.upgrade import (
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.lazy_names import SHARED_NAMES, lazy_names
from picows_codec.listener import WSListener, WSMessageListener
from picows_codec.options import WSOptions
from picows_codec.parser import WSFrameParser
from picows_codec.transport import WSTransport

if TYPE_CHECKING:
    from picows_codec.batch import WSBatchListener
    from picows_codec.broadcasting import broadcast
    from picows_codec.coroutines.connection import WSConnection
    from picows_codec.deflate.parameters import WSPermessageDeflate
    from picows_codec.prepared import WSPreparedMessage
    from picows_codec.stats import WSConnectionStats
    from picows_codec.tap import WSTap
    from picows_codec.tap_types import WSDirection
else:
    __getattr__, __dir__ = lazy_names(__name__, SHARED_NAMES)

__all__ = [
    "ClientHandshake",
    "ServerHandshake",
    "WSAutoPingStrategy",
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
    "WSEndpoint",
    "WSError",
    "WSFrame",
    "WSFrameParser",
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
    "WSListener",
    "WSMessage",
    "WSMessageListener",
    "WSMsgType",
    "WSOptions",
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
    "WSUpgradeResponseWithListener",
    "WSUsageError",
    "__version__",
    "broadcast",
    "decode_frame_header",
    "encode_close_payload",
    "encode_frame_header",
]
