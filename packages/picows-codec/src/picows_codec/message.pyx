"""WSMessageListener: whole messages instead of frames (RFC 6455, 5.4)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, _PyBytes_Resize
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from picows_codec.constants cimport WS_OP_CONTINUATION
from picows_codec.transport cimport WSListener, WSTransport, _is_compiled
from picows_codec.view cimport WSFrame, WSMessage

cdef extern from "Python.h":
    PyObject* PyBytes_FromStringAndSize(const char* text, Py_ssize_t size) except NULL


@cython.final
@cython.auto_pickle(False)
cdef class Assembly:
    """The fragments of one message so far."""

    cdef PyObject* _parts       # bytes: the fragments, with spare room behind them, or NULL
    cdef Py_ssize_t _size       # bytes used of it
    cdef uint8_t _opcode

    def __dealloc__(self):
        Py_XDECREF(self._parts)

    cdef int add(self, WSFrame frame) except -1:
        cdef Py_ssize_t needed, room
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
        return 0

    cdef WSMessage finish(self):
        """The message, which owns its payload."""
        cdef WSMessage message = WSMessage.__new__(WSMessage)
        cdef PyObject* parts
        if PyBytes_GET_SIZE(<object> self._parts) != self._size:
            _PyBytes_Resize(&self._parts, self._size)
        parts = self._parts
        self._parts = NULL
        message.wire_opcode = self._opcode
        message._owner = <object> parts
        Py_XDECREF(parts)
        message.payload_ptr = <const uint8_t*> PyBytes_AS_STRING(message._owner)
        message.payload_size = self._size
        return message


cdef class WSMessageListener(WSListener):
    """A listener that gets messages: override ``on_ws_message`` instead of ``on_ws_frame``.

    A message of one frame is handed over where it was received; fragments are gathered first, up
    to ``max_message_size`` bytes and ``max_fragments_per_message`` frames (else the connection
    fails with 1009 or 1008). An instance gathers for one connection at a time.

    Control frames that the library does not answer itself are passed over. To see them, override
    ``on_ws_frame`` too and pass every other frame on: ``super().on_ws_frame(transport, frame)``.
    """

    cpdef on_ws_message(self, WSTransport transport, WSMessage message):
        """A message has arrived: ``message.opcode`` is TEXT or BINARY. It may be kept."""

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        """Gather the frames of a message and hand it over when it is complete."""
        if frame is None:
            raise TypeError("frame must be a WSFrame, not None")
        self._take(transport, frame)

    cdef int _opened(self) except -1:
        callback = (<object> self).on_ws_message
        self._on_message = None if _is_compiled(callback) else callback
        self._assembly = None
        return 0

    cdef int _closed(self) except -1:
        self._on_message = None     # a bound method of this very object: a circle
        self._assembly = None
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
        cdef Assembly assembly
        if frame.wire_opcode & 0x08:
            return 0
        if frame.fin and frame.wire_opcode != WS_OP_CONTINUATION:
            # A frame is a message, too: no copy, no second object.
            return self._hand_over(transport, frame)
        if frame.wire_opcode != WS_OP_CONTINUATION or self._assembly is None:
            assembly = Assembly.__new__(Assembly)
            assembly._opcode = frame.wire_opcode
            self._assembly = assembly
        assembly = <Assembly> self._assembly
        assembly.add(frame)
        if not frame.fin:
            return 0
        self._assembly = None
        return self._hand_over(transport, assembly.finish())

    cdef void _reserved_of_messages_0(self) noexcept:
        pass

    cdef void _reserved_of_messages_1(self) noexcept:
        pass

    cdef void _reserved_of_messages_2(self) noexcept:
        pass

    cdef void _reserved_of_messages_3(self) noexcept:
        pass
