"""The rules for incoming frames and messages (RFC 6455, 5), without any memory policy.

Gated tier. Plain struct and functions; no GIL, no allocation. The caller owns all bytes:

1. ``ws_parser_header`` reads the header at the front of the received bytes and checks it
   against the rules and the state of the message under way;
2. ``ws_parser_payload`` is given the payload in one or more pieces, as they arrive, and
   unmasks them where they lie;
3. ``ws_parser_frame_end`` is called with the whole payload when it is complete.

A negative result is a ``ws_violation``: the connection fails with
``ws_violation_close_code(result)`` and the parser must not be used any further.
"""

from libc.stdint cimport uint8_t, uint64_t

cimport picows_codec.abi
from picows_codec.close cimport ws_check_close_payload
from picows_codec.constants cimport (
    WS_MAX_CONTROL_PAYLOAD_SIZE,
    WS_OP_BINARY,
    WS_OP_CLOSE,
    WS_OP_CONTINUATION,
    WS_OP_PONG,
    WS_OP_TEXT,
    WS_VIOLATION_CONTROL_FRAGMENTED,
    WS_VIOLATION_CONTROL_TOO_LONG,
    WS_VIOLATION_EXPECTED_CONTINUATION,
    WS_VIOLATION_FRAME_TOO_BIG,
    WS_VIOLATION_INVALID_UTF8,
    WS_VIOLATION_MASKED,
    WS_VIOLATION_MESSAGE_TOO_BIG,
    WS_VIOLATION_NOT_MASKED,
    WS_VIOLATION_RESERVED_BITS,
    WS_VIOLATION_RESERVED_OPCODE,
    WS_VIOLATION_TOO_MANY_FRAGMENTS,
    WS_VIOLATION_UNEXPECTED_CONTINUATION,
)
from picows_codec.frame_header cimport ws_decode_frame_header, ws_frame_header
from picows_codec.mask cimport ws_mask
from picows_codec.utf8 cimport _begin_text, ws_utf8, ws_utf8_complete, ws_utf8_feed

cdef enum:
    WS_COMPRESSED = 0x40            # RSV1, and a bit of ws_parser.message_opcode

cdef struct ws_parser:
    # Limits: set by the caller, 0 means unlimited.
    uint64_t max_frame_size         # bytes of payload of one frame
    uint64_t max_message_size       # bytes of payload of all fragments of a message
    uint64_t max_fragments          # frames per message
    uint8_t expect_masked           # 1 on a server, 0 on a client
    # The message under way; zero-initialised by ws_parser_init.
    # WS_OP_TEXT or WS_OP_BINARY inside a message, else 0; with WS_COMPRESSED for a compressed one,
    # so that its bytes on the wire are not checked as text.
    uint8_t message_opcode
    uint8_t compression             # 1 if permessage-deflate is negotiated (RFC 7692)
    uint64_t message_size           # bytes announced so far
    uint64_t fragments
    ws_utf8 utf8
    uint64_t _reserved[2]           # for what later rules may need; zero

cdef void ws_parser_init(ws_parser* self, bint expect_masked) noexcept nogil

# Size of the header at data (2 to 14) after a full check, or 0 if more bytes are needed, or a
# violation, which is reported as soon as the first two bytes show it.
cdef int ws_parser_header(
    ws_parser* self, const uint8_t* data, size_t size, ws_frame_header* header) noexcept nogil

# The next piece of the payload, at offset bytes from its start; unmasked in place.
cdef int ws_parser_payload(
    ws_parser* self, const ws_frame_header* header, uint8_t* data, size_t size,
    uint64_t offset) noexcept nogil

# The frame is complete; payload is all of it, unmasked.
cdef int ws_parser_frame_end(
    ws_parser* self, const ws_frame_header* header, const uint8_t* payload) noexcept nogil


# Private: the limits; and the bodies of these functions, to inline where a call per frame costs too
# much.

cdef inline void _set_limits(
        ws_parser* self, uint64_t max_frame_size, uint64_t max_message_size,
        uint64_t max_fragments) noexcept nogil:
    self.max_frame_size = max_frame_size
    self.max_message_size = max_message_size
    self.max_fragments = max_fragments


cdef inline void _allow_compression(ws_parser* self) noexcept nogil:
    self.compression = 1


cdef inline int _check_first_bytes(const ws_parser* self, const uint8_t* data) noexcept nogil:
    """Everything that the first two bytes of a header can break."""
    cdef uint8_t opcode = data[0] & 0x0F
    # 5.2: "MUST be 0 unless an extension is negotiated". RFC 7692, 6: RSV1 on the first frame of a
    # message that is compressed, and on no other.
    if data[0] & 0x70:
        if (
                data[0] & 0x70 != WS_COMPRESSED or not self.compression
                or opcode == WS_OP_CONTINUATION or opcode & 0x08):
            return WS_VIOLATION_RESERVED_BITS
    if opcode & 0x08:
        if opcode > WS_OP_PONG:
            return WS_VIOLATION_RESERVED_OPCODE
        # 5.5: control frames have at most 125 bytes and "MUST NOT be fragmented".
        if not data[0] & 0x80:
            return WS_VIOLATION_CONTROL_FRAGMENTED
        if data[1] & 0x7F > WS_MAX_CONTROL_PAYLOAD_SIZE:
            return WS_VIOLATION_CONTROL_TOO_LONG
    elif opcode == WS_OP_CONTINUATION:
        if self.message_opcode == 0:
            return WS_VIOLATION_UNEXPECTED_CONTINUATION
    elif opcode > WS_OP_BINARY:
        return WS_VIOLATION_RESERVED_OPCODE
    elif self.message_opcode != 0:
        return WS_VIOLATION_EXPECTED_CONTINUATION
    # 5.1: a server fails the connection on an unmasked frame, a client on a masked one.
    if data[1] >> 7 != self.expect_masked:
        return WS_VIOLATION_NOT_MASKED if self.expect_masked else WS_VIOLATION_MASKED
    return 0


cdef inline int _check_header(
        ws_parser* self, const uint8_t* data, size_t size, ws_frame_header* header) noexcept nogil:
    cdef int result
    if size < 2:
        return 0
    # Nearly every frame is an unfragmented message: one test of everything that can be wrong there.
    if not (
            (data[0] == 0x80 | WS_OP_BINARY or data[0] == 0x80 | WS_OP_TEXT)
            and data[1] >> 7 == self.expect_masked and self.message_opcode == 0):
        result = _check_first_bytes(self, data)
        if result != 0:
            return result
    result = ws_decode_frame_header(data, size, header)
    if result <= 0:
        return result
    if self.max_frame_size != 0 and header.payload_size > self.max_frame_size:
        return WS_VIOLATION_FRAME_TOO_BIG
    if header.opcode & 0x08:
        return result
    if header.opcode != WS_OP_CONTINUATION:
        self.message_opcode = data[0] & (0x0F | WS_COMPRESSED)
        self.message_size = header.payload_size
        self.fragments = 1
        _begin_text(&self.utf8)
    else:
        # Neither sum can overflow: a size is below 2**63 and the running total stays limited.
        if self.message_size + header.payload_size >= <uint64_t> 1 << 63:
            return WS_VIOLATION_MESSAGE_TOO_BIG
        self.message_size += header.payload_size
        self.fragments += 1
    # The limit is for what the application gets, which is not known yet of a compressed message.
    if (
            self.max_message_size != 0 and self.message_size > self.max_message_size
            and not self.message_opcode & WS_COMPRESSED):
        return WS_VIOLATION_MESSAGE_TOO_BIG
    if self.max_fragments != 0 and self.fragments > self.max_fragments:
        return WS_VIOLATION_TOO_MANY_FRAGMENTS
    return result


# The same rules for the usual case: a message of one frame that has arrived whole. The property
# tests compare both, because a stream in one piece takes this path, and byte by byte the other.

cdef inline uint64_t _most_of_a_run(const ws_parser* self) noexcept nogil:
    """The most bytes of payload of such a message: what two bytes can count, and the limits."""
    cdef uint64_t limit = 65535
    if self.max_frame_size != 0 and self.max_frame_size < limit:
        limit = self.max_frame_size
    if self.max_message_size != 0 and self.max_message_size < limit:
        limit = self.max_message_size
    return limit


cdef inline Py_ssize_t _whole_message(
        const uint8_t* data, Py_ssize_t size, uint8_t mask_bit, uint64_t limit,
        Py_ssize_t* header_size) noexcept nogil:
    """The size of the payload if data[0:size] begins with a message of one whole frame, of which
    only the text may be invalid; else -1. ``mask_bit``: 0x80 if frames must be masked, else 0."""
    cdef uint64_t length
    cdef Py_ssize_t header = 2 + (mask_bit >> 5)
    if size < 4 or (data[0] != 0x80 | WS_OP_BINARY and data[0] != 0x80 | WS_OP_TEXT):
        return -1
    length = data[1] ^ mask_bit
    if length >= 126:
        if length != 126:
            return -1
        length = <uint64_t> data[2] << 8 | data[3]
        if length < 126:
            return -1
        header += 2
    header_size[0] = header
    if length > limit or <uint64_t> header + length > <uint64_t> size:
        return -1
    return <Py_ssize_t> length


cdef inline int _take_payload(
        ws_parser* self, const ws_frame_header* header, uint8_t* data, size_t size,
        uint64_t offset) noexcept nogil:
    if header.masked:
        ws_mask(data, size, header.key, <size_t> (offset & 3))
    # 8.1: text is checked as it arrives, so that a bad byte is answered at once.
    if self.message_opcode == WS_OP_TEXT and not header.opcode & 0x08:
        if not ws_utf8_feed(&self.utf8, data, size):
            return WS_VIOLATION_INVALID_UTF8
    return 0


cdef inline int _end_frame(
        ws_parser* self, const ws_frame_header* header, const uint8_t* payload) noexcept nogil:
    cdef int code
    if header.opcode & 0x08:
        if header.opcode == WS_OP_CLOSE:
            return ws_check_close_payload(payload, <size_t> header.payload_size, &code)
        return 0
    if header.fin:
        if self.message_opcode == WS_OP_TEXT and not ws_utf8_complete(&self.utf8):
            return WS_VIOLATION_INVALID_UTF8
        self.message_opcode = 0
    return 0
