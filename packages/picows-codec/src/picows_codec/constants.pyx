"""RFC 6455 numbers: opcodes, close codes, violations."""

from enum import IntEnum


class WSMsgType(IntEnum):
    """Opcode of a frame (RFC 6455, 5.2). Compares equal to its number."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class WSCloseCode(IntEnum):
    """Close codes (RFC 6455, 7.4.1 and the IANA registry).

    ``NO_STATUS_RECEIVED``, ``ABNORMAL_CLOSURE`` and ``TLS_HANDSHAKE`` never travel in a frame:
    they report how a connection ended. Codes 3000-3999 (registered) and 4000-4999 (private
    use) are plain ints.
    """

    NORMAL_CLOSURE = 1000
    OK = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    NO_INFO = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_PAYLOAD_DATA = 1007
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


class WSAutoPingStrategy(IntEnum):
    """When the automatic ping is sent.

    ``PING_WHEN_IDLE``: after ``auto_ping_idle_timeout`` seconds without any data from the peer.
    ``PING_PERIODICALLY``: every ``auto_ping_idle_timeout`` seconds, whatever arrives.
    """

    PING_WHEN_IDLE = 1
    PING_PERIODICALLY = 2


cdef tuple _OPCODES = tuple(
    WSMsgType(number) if number in (0, 1, 2, 8, 9, 10) else number for number in range(16)
)
cdef dict _CLOSE_CODES = {int(member): member for member in WSCloseCode}


cdef object ws_opcode_member(int opcode):
    return _OPCODES[opcode & 0x0F]


cdef object ws_close_code_member(int code):
    return _CLOSE_CODES.get(code, code)


cdef int ws_violation_close_code(int violation) noexcept nogil:
    if (
            violation == WS_VIOLATION_INVALID_UTF8 or violation == WS_VIOLATION_CLOSE_REASON
            or violation == WS_VIOLATION_COMPRESSION):
        return WS_CLOSE_INVALID_PAYLOAD_DATA
    if violation == WS_VIOLATION_FRAME_TOO_BIG or violation == WS_VIOLATION_MESSAGE_TOO_BIG:
        return WS_CLOSE_MESSAGE_TOO_BIG
    if violation == WS_VIOLATION_TOO_MANY_FRAGMENTS:
        return WS_CLOSE_POLICY_VIOLATION
    return WS_CLOSE_PROTOCOL_ERROR


cdef const char* ws_violation_text(int violation) noexcept nogil:
    if violation == WS_VIOLATION_RESERVED_OPCODE:
        return "reserved opcode (RFC 6455, 5.2)"
    if violation == WS_VIOLATION_RESERVED_BITS:
        return "reserved bit set without an extension (RFC 6455, 5.2)"
    if violation == WS_VIOLATION_LENGTH_NOT_MINIMAL:
        return "payload length not in its minimal encoding (RFC 6455, 5.2)"
    if violation == WS_VIOLATION_LENGTH_TOP_BIT:
        return "payload length with the most significant bit set (RFC 6455, 5.2)"
    if violation == WS_VIOLATION_CONTROL_TOO_LONG:
        return "control frame with more than 125 bytes (RFC 6455, 5.5)"
    if violation == WS_VIOLATION_CONTROL_FRAGMENTED:
        return "fragmented control frame (RFC 6455, 5.5)"
    if violation == WS_VIOLATION_NOT_MASKED:
        return "unmasked frame from a client (RFC 6455, 5.1)"
    if violation == WS_VIOLATION_MASKED:
        return "masked frame from a server (RFC 6455, 5.1)"
    if violation == WS_VIOLATION_UNEXPECTED_CONTINUATION:
        return "continuation frame without a message to continue (RFC 6455, 5.4)"
    if violation == WS_VIOLATION_EXPECTED_CONTINUATION:
        return "new data frame inside a fragmented message (RFC 6455, 5.4)"
    if violation == WS_VIOLATION_INVALID_UTF8:
        return "text message is not valid UTF-8 (RFC 6455, 8.1)"
    if violation == WS_VIOLATION_CLOSE_PAYLOAD:
        return "close frame with a payload of one byte (RFC 6455, 5.5.1)"
    if violation == WS_VIOLATION_CLOSE_CODE:
        return "close code that must not be sent (RFC 6455, 7.4)"
    if violation == WS_VIOLATION_CLOSE_REASON:
        return "close reason is not valid UTF-8 (RFC 6455, 5.5.1)"
    if violation == WS_VIOLATION_FRAME_TOO_BIG:
        return "frame exceeds max_frame_size"
    if violation == WS_VIOLATION_MESSAGE_TOO_BIG:
        return "message exceeds max_message_size"
    if violation == WS_VIOLATION_TOO_MANY_FRAGMENTS:
        return "message exceeds max_fragments_per_message"
    if violation == WS_VIOLATION_COMPRESSION:
        return "compressed message that cannot be inflated (RFC 7692, 7.2.2)"
    return "no violation"
