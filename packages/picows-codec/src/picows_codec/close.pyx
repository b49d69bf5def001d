"""Close payloads: a close code and a reason (RFC 6455, 5.5.1 and 7.4)."""

from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.number cimport PyIndex_Check, PyNumber_Index

from picows_codec.constants cimport (
    WS_CLOSE_NO_STATUS_RECEIVED,
    WS_MAX_CONTROL_PAYLOAD_SIZE,
    WS_VIOLATION_CLOSE_CODE,
    WS_VIOLATION_CLOSE_PAYLOAD,
    WS_VIOLATION_CLOSE_REASON,
    WS_VIOLATION_NONE,
)
from picows_codec.utf8 cimport ws_utf8_valid

from picows_codec.errors import WSInvalidCloseError

__all__ = ["encode_close_payload"]

cdef enum:
    MAX_REASON_SIZE = WS_MAX_CONTROL_PAYLOAD_SIZE - 2   # bytes that the code leaves


cdef bint ws_close_code_allowed(int code) noexcept nogil:
    # RFC 6455, 7.4.1: 1004 is reserved; 1005, 1006 and 1015 must not be set in a frame; the rest
    # up to 2999 is for revisions of the protocol. 7.4.2: 3000-4999 belong to applications.
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


cdef int ws_check_close_payload(const uint8_t* payload, size_t size, int* code) noexcept nogil:
    cdef int received

    if size == 0:   # RFC 6455, 7.1.5: no code in the frame is reported as 1005
        code[0] = WS_CLOSE_NO_STATUS_RECEIVED
        return WS_VIOLATION_NONE
    if size == 1:   # 5.5.1: "the first two bytes of the body MUST be a 2-byte unsigned integer"
        return WS_VIOLATION_CLOSE_PAYLOAD
    received = payload[0] << 8 | payload[1]
    if not ws_close_code_allowed(received):
        return WS_VIOLATION_CLOSE_CODE
    if not ws_utf8_valid(payload + 2, size - 2):
        return WS_VIOLATION_CLOSE_REASON
    code[0] = received
    return WS_VIOLATION_NONE


cpdef bytes encode_close_payload(object code, object reason=None):
    """Return the payload of a close frame (RFC 6455, 5.5.1).

    :param code: 1000-1003, 1007-1014 or 3000-4999; None for an empty payload, which the peer
        reports as 1005. 1005 itself without a reason means the same, so that the code of a
        received frame can be sent back.
    :param reason: str, or bytes-like UTF-8; at most 123 bytes. Needs a code. None is no reason.
    :raises WSInvalidCloseError: a code that may not be sent; a reason that is too long, not UTF-8
        or without a code.
    :raises TypeError: ``code`` or ``reason`` has the wrong type.
    """
    cdef bytes text = _encode_reason(reason)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef int number

    if code is None:
        if size:
            raise WSInvalidCloseError(
                "a close reason cannot be sent without a close code (RFC 6455, 5.5.1): "
                "give a code such as 1000, or no reason"
            )
        return b""
    if not PyIndex_Check(code):
        raise TypeError(f"close code must be an int or None, not {type(code).__name__}")
    code = PyNumber_Index(code)
    if code == WS_CLOSE_NO_STATUS_RECEIVED and size == 0:
        return b""
    number = code if 0 <= code <= 0xFFFF else -1
    if not ws_close_code_allowed(number):
        raise WSInvalidCloseError(
            f"close code {code} may not be sent (RFC 6455, 7.4): use 1000-1003, 1007-1014, "
            "3000-4999, or None for an empty close payload"
        )
    if size > MAX_REASON_SIZE:
        raise WSInvalidCloseError(
            f"close reason is {size} bytes long in UTF-8, a close frame has room for "
            f"{<int> MAX_REASON_SIZE} (RFC 6455, 5.5): shorten it"
        )
    return bytes((number >> 8, number & 0xFF)) + text


cdef bytes _encode_reason(object reason):
    cdef bytes text

    if reason is None:
        return b""
    if isinstance(reason, str):
        try:
            return reason.encode()
        except UnicodeEncodeError as error:
            raise WSInvalidCloseError(
                f"close reason cannot be encoded as UTF-8 (RFC 6455, 5.5.1): it has a surrogate at "
                f"index {error.start}; remove it"
            ) from None
    if not PyObject_CheckBuffer(reason):
        raise TypeError(
            f"close reason must be str, bytes-like or None, not {type(reason).__name__}"
        )
    text = bytes(reason)
    if not ws_utf8_valid(<const uint8_t*> PyBytes_AS_STRING(text), <size_t> PyBytes_GET_SIZE(text)):
        raise WSInvalidCloseError(
            f"close reason {text[:MAX_REASON_SIZE]!r} is not valid UTF-8 (RFC 6455, 5.5.1): "
            "encode it as UTF-8, or give a str"
        )
    return text
