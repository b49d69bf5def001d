"""RFC 6455 numbers as C constants (stable tier).

Usable from C or Cython without the GIL; nothing here needs the module at run time
except the two lookup functions at the end.
"""

cimport picows_codec.abi

cdef enum ws_opcode:
    # RFC 6455, 5.2: 0x3-0x7 and 0xB-0xF are reserved.
    WS_OP_CONTINUATION = 0x0
    WS_OP_TEXT = 0x1
    WS_OP_BINARY = 0x2
    WS_OP_CLOSE = 0x8
    WS_OP_PING = 0x9
    WS_OP_PONG = 0xA

cdef enum ws_close_code:
    # RFC 6455, 7.4.1, and the IANA registry of close codes.
    WS_CLOSE_NORMAL_CLOSURE = 1000
    WS_CLOSE_GOING_AWAY = 1001
    WS_CLOSE_PROTOCOL_ERROR = 1002
    WS_CLOSE_UNSUPPORTED_DATA = 1003
    WS_CLOSE_NO_STATUS_RECEIVED = 1005
    WS_CLOSE_ABNORMAL_CLOSURE = 1006
    WS_CLOSE_INVALID_PAYLOAD_DATA = 1007
    WS_CLOSE_POLICY_VIOLATION = 1008
    WS_CLOSE_MESSAGE_TOO_BIG = 1009
    WS_CLOSE_MANDATORY_EXTENSION = 1010
    WS_CLOSE_INTERNAL_ERROR = 1011
    WS_CLOSE_SERVICE_RESTART = 1012
    WS_CLOSE_TRY_AGAIN_LATER = 1013
    WS_CLOSE_BAD_GATEWAY = 1014
    WS_CLOSE_TLS_HANDSHAKE = 1015

cdef enum:
    WS_MAX_HEADER_SIZE = 14             # bytes: 2 + 8 (length) + 4 (masking key)
    WS_MAX_CONTROL_PAYLOAD_SIZE = 125   # bytes, RFC 6455, 5.5

cdef enum ws_violation:
    # What a peer can do wrong. Functions return these negative numbers; 0 is "no violation".
    WS_VIOLATION_NONE = 0
    WS_VIOLATION_RESERVED_OPCODE = -1
    WS_VIOLATION_RESERVED_BITS = -2
    WS_VIOLATION_LENGTH_NOT_MINIMAL = -3
    WS_VIOLATION_LENGTH_TOP_BIT = -4
    WS_VIOLATION_CONTROL_TOO_LONG = -5
    WS_VIOLATION_CONTROL_FRAGMENTED = -6
    WS_VIOLATION_NOT_MASKED = -7
    WS_VIOLATION_MASKED = -8
    WS_VIOLATION_UNEXPECTED_CONTINUATION = -9
    WS_VIOLATION_EXPECTED_CONTINUATION = -10
    WS_VIOLATION_INVALID_UTF8 = -11
    WS_VIOLATION_CLOSE_PAYLOAD = -12
    WS_VIOLATION_CLOSE_CODE = -13
    WS_VIOLATION_CLOSE_REASON = -14
    WS_VIOLATION_FRAME_TOO_BIG = -15
    WS_VIOLATION_MESSAGE_TOO_BIG = -16
    WS_VIOLATION_TOO_MANY_FRAGMENTS = -17
    WS_VIOLATION_COMPRESSION = -18

# The close code for a violation, and a one-line reason that cites the RFC section.
cdef int ws_violation_close_code(int violation) noexcept nogil
cdef const char* ws_violation_text(int violation) noexcept nogil

# The WSMsgType / WSCloseCode member for a number; a number without a member is returned as an
# int. Members come from a table: no object is built for a known number. Needs the GIL.
cdef object ws_opcode_member(int opcode)
cdef object ws_close_code_member(int code)
