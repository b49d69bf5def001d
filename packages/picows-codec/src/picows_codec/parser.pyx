"""The rules for incoming frames and messages (RFC 6455, 5), and a parser for Python callers."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from picows_codec.constants cimport (
    WS_OP_CLOSE,
    ws_opcode_member,
    ws_violation_close_code,
    ws_violation_text,
)
from picows_codec.frame_header cimport ws_frame_header

from picows_codec.errors import WSProtocolError


cdef void ws_parser_init(ws_parser* self, bint expect_masked) noexcept nogil:
    memset(self, 0, sizeof(ws_parser))
    self.expect_masked = expect_masked


cdef int ws_parser_header(
        ws_parser* self, const uint8_t* data, size_t size, ws_frame_header* header) noexcept nogil:
    return _check_header(self, data, size, header)


cdef int ws_parser_payload(
        ws_parser* self, const ws_frame_header* header, uint8_t* data, size_t size,
        uint64_t offset) noexcept nogil:
    return _take_payload(self, header, data, size, offset)


cdef int ws_parser_frame_end(
        ws_parser* self, const ws_frame_header* header, const uint8_t* payload) noexcept nogil:
    return _end_frame(self, header, payload)


cdef class WSFrameParser:
    """Incremental frame parser for Python callers: bytes in, frames out, no I/O.

    ``feed`` takes any bytes-like piece of the stream and returns the frames that it completes,
    as tuples ``(opcode, fin, payload)`` with ``payload`` as bytes, unmasked. It checks all that
    an endpoint checks and raises :class:`WSProtocolError` with the close code; frames that were
    complete before the violation are in the exception's ``frames``. After an error, or after a
    CLOSE frame (RFC 6455, 5.5.1: nothing follows it), further bytes are ignored: ``finished``.

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
        _set_limits(&self._parser, max_frame_size, max_message_size, max_fragments)
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
