# cython: embedsignature=True, embedsignature.format=clinic
"""WSPreparedMessage: what is sent on many connections is checked, encoded and kept once."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from picows_codec.connection.sender cimport Compression, Sender
from picows_codec.constants cimport (
    WS_MAX_HEADER_SIZE,
    WS_OP_BINARY,
    WS_OP_TEXT,
    ws_opcode_member,
)
from picows_codec.frame_header cimport ws_encode_frame_header, ws_frame_header_size
from picows_codec.utf8 cimport ws_utf8_valid

from picows_codec.errors import WSInvalidFrameError

cdef enum:
    RSV1 = 0x40

cdef object _MISSING = object()


cdef bytes _new_frame(uint8_t first_byte, const uint8_t* payload, Py_ssize_t size):
    """A frame as a server sends it."""
    cdef uint8_t header[WS_MAX_HEADER_SIZE]
    cdef int header_size = ws_encode_frame_header(header, first_byte, size, NULL)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, header_size + size)
    memcpy(PyBytes_AS_STRING(frame), header, header_size)
    memcpy(PyBytes_AS_STRING(frame) + header_size, payload, size)
    return frame


cdef const uint8_t* _payload_of(bytes frame, Py_ssize_t* size) noexcept:
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(frame)
    cdef int header_size = ws_frame_header_size(data, PyBytes_GET_SIZE(frame))
    size[0] = PyBytes_GET_SIZE(frame) - header_size
    return data + header_size


@cython.final
cdef class WSPreparedMessage(_Sendable):
    """A message that is made once and sent often: by ``send_prepared`` and ``broadcast``.

    It cannot change, and any thread may use it on connections of its own. It holds a copy of the
    payload, as part of the frame that servers send.

    For connections that compress what they send, it is compressed once for each size of window,
    without context takeover, and kept (RFC 7692); the first such connection has to wait for that.
    That is done with the defaults of ``level`` and ``memory_level``, whatever a connection has.
    It is sent as it is where compression makes it no smaller, and where ``min_size`` is larger.

    :param opcode: ``WSMsgType.TEXT`` or ``WSMsgType.BINARY``.
    :param payload: bytes, bytearray, memoryview or another contiguous buffer, a :class:`WSFrame` or
        :class:`WSMessage`; a str, for TEXT; or None, for an empty message.
    :raises WSInvalidFrameError: another opcode, or a TEXT message that is not UTF-8: each peer
        would fail its connection on it (RFC 6455, 8.1).
    :raises TypeError: another type of payload.
    :raises BufferError: a buffer that is not contiguous.
    :raises UnicodeEncodeError: a str with surrogates.

    ``payload_size``: bytes. ``wire_opcode``: the opcode as an int.
    """

    def __cinit__(self, opcode=_MISSING, payload=_MISSING):
        if payload is _MISSING:
            raise TypeError(
                "an opcode and a payload are wanted: WSPreparedMessage(WSMsgType.TEXT, payload)")
        if not isinstance(opcode, int):
            raise TypeError(
                f"opcode must be a WSMsgType, not {type(opcode).__name__}: {opcode!r}")
        if opcode != WS_OP_TEXT and opcode != WS_OP_BINARY:
            raise WSInvalidFrameError(f"opcode must be TEXT or BINARY, not {opcode!r}")
        self.wire_opcode = opcode
        self._compressed = {}
        self._take(payload)
        if (
                self.wire_opcode == WS_OP_TEXT and not isinstance(payload, str)
                and not ws_utf8_valid(self.payload_ptr, self.payload_size)):
            raise WSInvalidFrameError(
                "the payload of a TEXT message must be UTF-8; other bytes are BINARY")

    cdef int _take(self, object payload) except -1:
        cdef Py_buffer view
        if payload is None:
            payload = b""
        elif isinstance(payload, str):
            if self.wire_opcode == WS_OP_BINARY:
                raise TypeError(
                    "a BINARY message cannot be a str: encode it to bytes, or prepare it as TEXT")
            payload = (<str> payload).encode("utf-8")
        elif not PyObject_CheckBuffer(payload):
            raise TypeError(
                "payload must be bytes, bytearray, memoryview, another contiguous buffer, str or"
                f" None, not {type(payload).__name__}")
        PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
        try:
            return self._encode(<const uint8_t*> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef int _encode(self, const uint8_t* payload, Py_ssize_t size) except -1:
        self._frame = _new_frame(0x80 | self.wire_opcode, payload, size)
        self.payload_ptr = _payload_of(self._frame, &self.payload_size)
        return 0

    @property
    def payload(self):
        """The payload as bytes, a copy."""
        return PyBytes_FromStringAndSize(<const char*> self.payload_ptr, self.payload_size)

    @property
    def opcode(self):
        """TEXT or BINARY, a :class:`WSMsgType`."""
        return ws_opcode_member(self.wire_opcode)

    def __len__(self):
        return self.payload_size

    def __repr__(self):
        return f"<WSPreparedMessage {self.opcode.name} payload_size={self.payload_size}>"

    def __reduce__(self):
        return WSPreparedMessage, (self.opcode, self.payload)

    cdef int _send_on(self, object connection) except -1:
        """Called per delivery; watched by the broadcast bench."""
        if (<Sender> connection)._compression is not None:
            return _send_where_compressed(self, connection)
        return (<Sender> connection).send_shared(
            0x80 | self.wire_opcode, self.payload_ptr, self.payload_size, self._frame)


# Functions, because a .pxd that other extensions compile against does not name private classes.

cdef bytes _frame_for(WSPreparedMessage self, Compression compression):
    """The frame that a connection with permessage-deflate gets."""
    cdef int window_bits = compression.prepared_window_bits()
    cdef bytes frame
    cdef bytes data
    if window_bits == 0 or not compression.wants(self.payload_size):
        return self._frame
    frame = self._compressed.get(window_bits)
    if frame is None:
        from picows_codec.deflate.deflating import compress_once

        data = compress_once(self.payload, window_bits)
        frame = self._frame
        if len(data) < self.payload_size:
            frame = _new_frame(
                0x80 | RSV1 | self.wire_opcode, <const uint8_t*> PyBytes_AS_STRING(data),
                PyBytes_GET_SIZE(data))
        self._compressed[window_bits] = frame
    return frame


cdef int _send_where_compressed(WSPreparedMessage self, Sender connection) except -1:
    cdef Compression compression = connection._compression
    cdef bytes frame
    cdef const uint8_t* payload
    cdef Py_ssize_t size
    connection.check_thread()
    frame = _frame_for(self, compression)
    if frame is not self._frame:
        compression.passed_by()
    payload = _payload_of(frame, &size)
    return connection.send_shared(<uint8_t> PyBytes_AS_STRING(frame)[0], payload, size, frame)
