"""WSMessageListener: whole messages instead of frames (RFC 6455, 5.4)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, _PyBytes_Resize
from cpython.object cimport PyObject
from cpython.ref cimport Py_CLEAR, Py_XDECREF
from libc.string cimport memcpy

from picows_codec.constants cimport WS_OP_CONTINUATION
from picows_codec.transport cimport WSListener, WSTransport, is_compiled
from picows_codec.view cimport WSFrame, WSMessage, make_message

cdef extern from "Python.h":
    PyObject* PyBytes_FromStringAndSize(const char* text, Py_ssize_t size) except NULL


cdef class WSMessageListener(WSListener):
    """A listener that gets messages: override ``on_ws_message`` instead of ``on_ws_frame``.

    A message of one frame is handed over where it was received; fragments are gathered first, up
    to ``max_message_size`` bytes and ``max_fragments_per_message`` frames (else the connection
    fails with 1009 or 1008). An instance gathers for one connection at a time.

    Control frames that the library does not answer itself are passed over. To see them, override
    ``on_ws_frame`` too and pass every other frame on: ``super().on_ws_frame(transport, frame)``.
    """

    def __dealloc__(self):
        Py_XDECREF(self._parts)

    cpdef on_ws_message(self, WSTransport transport, WSMessage message):
        """A message has arrived: ``message.opcode`` is TEXT or BINARY. It may be kept."""

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        """Gather the frames of a message and hand it over when it is complete."""
        if frame is None:
            raise TypeError("frame must be a WSFrame, not None")
        self._take(transport, frame)

    cdef int _opened(self) except -1:
        callback = (<object> self).on_ws_message
        self._on_message = None if is_compiled(callback) else callback
        Py_CLEAR(self._parts)
        return 0

    cdef int _closed(self) except -1:
        self._on_message = None     # a bound method of this very object: a circle
        Py_CLEAR(self._parts)
        return 0

    cdef int _deliver(self, WSTransport transport, WSFrame frame) except -1:
        return self._take(transport, frame)

    cdef int _hand_over(self, WSTransport transport, WSMessage message) except -1:
        if self._on_message is not None:
            self._on_message(transport, message)
        else:
            self.on_ws_message(transport, message)
        return 0

    cdef int _take(self, WSTransport transport, WSFrame frame) except -1:
        """Called per frame; watched by the inbound benches."""
        cdef Py_ssize_t needed, room
        cdef PyObject* parts
        cdef WSMessage message
        if frame.wire_opcode & 0x08:
            return 0
        if frame.fin and frame.wire_opcode != WS_OP_CONTINUATION:
            # A frame is a message, too: no copy, no second object.
            return self._hand_over(transport, frame)
        if frame.wire_opcode != WS_OP_CONTINUATION:
            self._opcode = frame.wire_opcode
            Py_CLEAR(self._parts)
        if self._parts == NULL:
            self._size = 0
        needed = self._size + frame.payload_size
        room = PyBytes_GET_SIZE(<object> self._parts) if self._parts != NULL else -1
        if needed > room:
            # Doubling while fragments come; the last one knows the exact size.
            room = needed if frame.fin else (2 * needed if needed > 512 else 1024)
            if self._parts == NULL:
                self._parts = PyBytes_FromStringAndSize(NULL, room)
            else:
                _PyBytes_Resize(&self._parts, room)
        memcpy(
            PyBytes_AS_STRING(<object> self._parts) + self._size, frame.payload_ptr,
            frame.payload_size)
        self._size = needed
        if not frame.fin:
            return 0
        if PyBytes_GET_SIZE(<object> self._parts) != needed:
            _PyBytes_Resize(&self._parts, needed)
        parts = self._parts
        self._parts = NULL
        message = make_message(self._opcode, <bytes> parts)
        Py_XDECREF(parts)
        return self._hand_over(transport, message)
