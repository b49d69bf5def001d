"""Every public name of the C-level API: ``from picows_codec cimport WSListener, ws_mask``.

Written by tools/abi.py. A file that cimports from here checks all classes of the gated tier when it
is imported, even those that it does not use. To avoid that, cimport a name from its own file.
"""

cimport picows_codec.abi
from picows_codec.abi cimport (
    WS_ABI_EPOCH,
    WS_ABI_LEVEL,
)
from picows_codec.constants cimport (
    WS_CLOSE_ABNORMAL_CLOSURE,
    WS_CLOSE_BAD_GATEWAY,
    WS_CLOSE_GOING_AWAY,
    WS_CLOSE_INTERNAL_ERROR,
    WS_CLOSE_INVALID_PAYLOAD_DATA,
    WS_CLOSE_MANDATORY_EXTENSION,
    WS_CLOSE_MESSAGE_TOO_BIG,
    WS_CLOSE_NORMAL_CLOSURE,
    WS_CLOSE_NO_STATUS_RECEIVED,
    WS_CLOSE_POLICY_VIOLATION,
    WS_CLOSE_PROTOCOL_ERROR,
    WS_CLOSE_SERVICE_RESTART,
    WS_CLOSE_TLS_HANDSHAKE,
    WS_CLOSE_TRY_AGAIN_LATER,
    WS_CLOSE_UNSUPPORTED_DATA,
    WS_MAX_CONTROL_PAYLOAD_SIZE,
    WS_MAX_HEADER_SIZE,
    WS_OP_BINARY,
    WS_OP_CLOSE,
    WS_OP_CONTINUATION,
    WS_OP_PING,
    WS_OP_PONG,
    WS_OP_TEXT,
    WS_VIOLATION_CLOSE_CODE,
    WS_VIOLATION_CLOSE_PAYLOAD,
    WS_VIOLATION_CLOSE_REASON,
    WS_VIOLATION_COMPRESSION,
    WS_VIOLATION_CONTROL_FRAGMENTED,
    WS_VIOLATION_CONTROL_TOO_LONG,
    WS_VIOLATION_EXPECTED_CONTINUATION,
    WS_VIOLATION_FRAME_TOO_BIG,
    WS_VIOLATION_INVALID_UTF8,
    WS_VIOLATION_LENGTH_NOT_MINIMAL,
    WS_VIOLATION_LENGTH_TOP_BIT,
    WS_VIOLATION_MASKED,
    WS_VIOLATION_MESSAGE_TOO_BIG,
    WS_VIOLATION_NONE,
    WS_VIOLATION_NOT_MASKED,
    WS_VIOLATION_RESERVED_BITS,
    WS_VIOLATION_RESERVED_OPCODE,
    WS_VIOLATION_TOO_MANY_FRAGMENTS,
    WS_VIOLATION_UNEXPECTED_CONTINUATION,
    ws_close_code,
    ws_close_code_member,
    ws_opcode,
    ws_opcode_member,
    ws_violation,
    ws_violation_close_code,
    ws_violation_text,
)
from picows_codec.enums cimport (
    WSAutoPingStrategy,
    WSCloseCode,
    WSMsgType,
)
from picows_codec.mask cimport (
    ws_mask,
    ws_mask_copy,
    ws_masking_key,
)
from picows_codec.utf8 cimport (
    ws_utf8,
    ws_utf8_complete,
    ws_utf8_feed,
    ws_utf8_valid,
)
from picows_codec.close cimport (
    encode_close_payload,
    ws_check_close_payload,
    ws_close_code_allowed,
)
from picows_codec.frame_header cimport (
    ws_decode_frame_header,
    ws_encode_frame_header,
    ws_frame_header,
    ws_frame_header_size,
    ws_frame_is_complete,
)
from picows_codec.parser cimport (
    WS_COMPRESSED,
    ws_parser,
    ws_parser_frame_end,
    ws_parser_header,
    ws_parser_init,
    ws_parser_payload,
)
from picows_codec.frames cimport (
    WSFrame,
    WSMessage,
)
from picows_codec.transport cimport (
    WSTransport,
)
from picows_codec.listener cimport (
    WSListener,
    WSMessageListener,
)
from picows_codec.batch cimport (
    WSBatchListener,
)
from picows_codec.prepared cimport (
    WSPreparedMessage,
)
from picows_codec.broadcasting cimport (
    broadcast,
)
from picows_codec.tap cimport (
    WSTap,
    WS_RECEIVED,
    WS_SENT,
    ws_direction,
)
