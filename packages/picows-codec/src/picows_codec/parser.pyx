"""The rules for incoming frames and messages (RFC 6455, 5), and a parser for Python callers."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

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
    ws_opcode_member,
    ws_violation_close_code,
    ws_violation_text,
)
from picows_codec.frame cimport ws_decode_frame_header, ws_frame_header
from picows_codec.mask cimport ws_mask
from picows_codec.utf8 cimport ws_utf8_complete, ws_utf8_feed

from picows_codec.errors import WSProtocolError


cdef void ws_parser_init(ws_parser* self, bint expect_masked) noexcept nogil:
    memset(self, 0, sizeof(ws_parser))
    self.expect_masked = expect_masked


cdef inline int _check_first_bytes(const ws_parser* self, const uint8_t* data) noexcept nogil:
    """Everything that the first two bytes of a header can break."""
    cdef uint8_t opcode = data[0] & 0x0F
    # 5.2: "MUST be 0 unless an extension is negotiated"; none is.
    if data[0] & 0x70:
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


cdef int ws_parser_header(
        ws_parser* self, const uint8_t* data, size_t size, ws_frame_header* header) noexcept nogil:
    cdef int result
    if size < 2:
        return 0
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
        self.message_opcode = header.opcode
        self.message_size = 0
        self.fragments = 0
        self.utf8.state = 0
    # Neither sum can overflow: a size is below 2**63 and the running total stays limited.
    if self.message_size + header.payload_size >= <uint64_t> 1 << 63:
        return WS_VIOLATION_MESSAGE_TOO_BIG
    self.message_size += header.payload_size
    self.fragments += 1
    if self.max_message_size != 0 and self.message_size > self.max_message_size:
        return WS_VIOLATION_MESSAGE_TOO_BIG
    if self.max_fragments != 0 and self.fragments > self.max_fragments:
        return WS_VIOLATION_TOO_MANY_FRAGMENTS
    return result


cdef int ws_parser_payload(
        ws_parser* self, const ws_frame_header* header, uint8_t* data, size_t size,
        uint64_t offset) noexcept nogil:
    if header.masked:
        ws_mask(data, size, header.key, <size_t> (offset & 3))
    # 8.1: text is checked as it arrives, so that a bad byte is answered at once.
    if self.message_opcode == WS_OP_TEXT and not header.opcode & 0x08:
        if not ws_utf8_feed(&self.utf8, data, size):
            return WS_VIOLATION_INVALID_UTF8
    return 0


cdef int ws_parser_frame_end(
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


cdef class WSFrameParser:
    """Incremental frame parser for Python callers: bytes in, frames out, no I/O.

    ``feed`` takes any bytes-like piece of the stream and returns the frames that it completes,
    as tuples ``(opcode, fin, payload)`` with ``payload`` as bytes, unmasked. It checks all that
    an endpoint checks and raises :class:`WSProtocolError` with the close code; frames that were
    complete before the violation are in the exception's ``frames``. After an error, or after a
    CLOSE frame (RFC 6455, 5.5.1: nothing follows it), further bytes are ignored.

    :param is_server: True expects masked frames, False unmasked ones (RFC 6455, 5.1).
    :param max_frame_size: bytes; 0 means unlimited, as for the other limits.
    """

    cdef ws_parser _parser
    cdef ws_frame_header _header
    cdef bytearray _pending
    cdef bint _in_payload
    cdef Py_ssize_t _checked
    cdef readonly bint finished

    def __cinit__(
        self,
        *,
        bint is_server,
        uint64_t max_frame_size=0,
        uint64_t max_message_size=0,
        uint64_t max_fragments=0,
    ):
        ws_parser_init(&self._parser, is_server)
        self._parser.max_frame_size = max_frame_size
        self._parser.max_message_size = max_message_size
        self._parser.max_fragments = max_fragments
        self._pending = bytearray()

    cdef int _step(self, list frames) except 1:
        """Take one header or the arrived part of one payload off the front of the pending bytes.

        Returns 0 after progress, 2 when bytes are missing, a violation below 0.
        """
        cdef uint8_t* data = self._pending
        cdef Py_ssize_t size = len(self._pending)
        cdef Py_ssize_t usable
        cdef int result
        if not self._in_payload:
            result = ws_parser_header(&self._parser, data, size, &self._header)
            if result <= 0:
                return result if result < 0 else 2
            del self._pending[:result]
            self._in_payload = True
            self._checked = 0
            return 0
        usable = size if <uint64_t> size < self._header.payload_size else (
            <Py_ssize_t> self._header.payload_size)
        result = ws_parser_payload(
            &self._parser, &self._header, data + self._checked, usable - self._checked,
            self._checked)
        self._checked = usable
        if result < 0:
            return result
        if <uint64_t> usable < self._header.payload_size:
            return 2
        result = ws_parser_frame_end(&self._parser, &self._header, data)
        if result < 0:
            return result
        frames.append((
            ws_opcode_member(self._header.opcode),
            bool(self._header.fin),
            bytes(self._pending[:usable]),
        ))
        self.finished = self._header.opcode == WS_OP_CLOSE
        del self._pending[:usable]
        self._in_payload = False
        return 0

    def feed(self, data):
        """Return the list of frames that ``data`` completes."""
        cdef list frames = []
        cdef int result = 0
        if self.finished:
            return frames
        self._pending += memoryview(data)
        while result == 0 and not self.finished:
            result = self._step(frames)
        if result < 0:
            self.finished = True
            error = WSProtocolError(
                ws_violation_close_code(result), ws_violation_text(result).decode("ascii"))
            error.frames = frames
            raise error
        return frames
