# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""WSListener, and WSMessageListener: whole messages instead of frames (RFC 6455, 5.4).

The methods are CPython's own kind, for the reason given in ``frames``.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, _PyBytes_Resize
from cpython.object cimport Py_TYPE, PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from picows_codec.constants cimport WS_OP_CONTINUATION, WS_OP_PONG
from picows_codec.frames cimport WSFrame, WSMessage, _message_of
from picows_codec.transport cimport WSTransport

cdef extern from "Python.h":
    PyObject* PyBytes_FromStringAndSize(const char* text, Py_ssize_t size) except NULL
    int PyObject_GenericSetDict(object owner, object value, void* context) except -1


cdef bint _is_compiled(object callback):
    """Whether a listener's callback is a compiled one, to be called through the vtable."""
    function = getattr(callback, "__func__", callback)
    return type(function).__name__ in ("builtin_function_or_method", "cython_function_or_method")


cdef class WSListener:
    """Base class of what a user writes to handle one connection. Override what is of interest.

    Callbacks run on the event loop's thread, directly from its receive event, in the order
    ``on_ws_connected``, any number of ``on_ws_frame``, ``on_ws_disconnected``, each of the outer
    two exactly once. They must not block. An exception in a callback is logged. With the option
    ``disconnect_on_exception`` it also ends this one connection with close code 1011.

    ``transport`` (also ``_transport``) is set before ``on_ws_connected``. Callbacks that are
    overridden are looked up once, when the connection opens.
    """

    def __cinit__(self, *args, **kwargs):
        # Give the object a dict of its own. CPython 3.11 and newer specialise attribute access to
        # it, but not to a dict with shared keys, which an object of a Python subclass would get.
        # So what a callback does with self takes half the time.
        if Py_TYPE(self).tp_dictoffset != 0:
            PyObject_GenericSetDict(self, {}, NULL)

    @property
    def _transport(self):
        return self.transport

    @_transport.setter
    def _transport(self, WSTransport transport):
        self.transport = transport

    cpdef on_ws_connected(self, WSTransport transport):
        """The opening handshake has succeeded."""

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        """A frame has arrived; also CLOSE and unsolicited PONG frames, and PING frames if
        ``enable_auto_pong`` is off. ``frame`` may be kept; reading it in place is cheapest."""

    cpdef on_ws_disconnected(self, WSTransport transport):
        """The connection has ended: see ``transport.disconnect_cause``."""

    cpdef pause_writing(self):
        """The write queue has passed ``write_high_watermark``: send less, or nothing, for now."""

    cpdef resume_writing(self):
        """The write queue has drained to ``write_low_watermark``."""

    cpdef send_user_specific_ping(self, WSTransport transport):
        """Send the ping of automatic pings and round-trip measurements.

        Override it together with ``is_user_specific_pong`` for a peer that answers messages of
        its own instead of PING frames.
        """
        if transport is None:
            raise TypeError("transport must be a WSTransport, not None")
        transport.send_ping()

    cpdef is_user_specific_pong(self, WSFrame frame):
        """Whether this frame answers ``send_user_specific_ping``; it is then not delivered."""
        if frame is None:
            raise TypeError("frame must be a WSFrame, not None")
        return frame.wire_opcode == WS_OP_PONG

    cdef int _opened(self) except -1:
        return 0

    cdef int _closed(self) except -1:
        return 0

    cdef int _deliver(self, WSTransport transport, WSFrame frame) except -1:
        self.on_ws_frame(transport, frame)
        return 0

    cdef void _reserved_0(self) noexcept:
        pass

    cdef void _reserved_1(self) noexcept:
        pass

    cdef void _reserved_2(self) noexcept:
        pass

    cdef void _reserved_3(self) noexcept:
        pass

    cdef void _reserved_4(self) noexcept:
        pass

    cdef void _reserved_5(self) noexcept:
        pass

    cdef void _reserved_6(self) noexcept:
        pass

    cdef void _reserved_7(self) noexcept:
        pass


cdef int _introduce(WSListener listener, WSTransport transport) except -1:
    with cython.critical_section(listener):     # it may have had another connection
        listener.transport = transport
    return 0


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
            # Double the room while fragments come; with the last one the size is known.
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
        cdef bytes payload
        if PyBytes_GET_SIZE(<object> self._parts) != self._size:
            _PyBytes_Resize(&self._parts, self._size)
        payload = <bytes> self._parts
        Py_XDECREF(self._parts)
        self._parts = NULL
        return _message_of(self._opcode, payload)


cdef class WSMessageListener(WSListener):
    """A listener that gets messages: override ``on_ws_message`` instead of ``on_ws_frame``.

    A message of one frame is handed over where it was received; fragments are gathered first, up
    to ``max_message_size`` bytes and ``max_fragments_per_message`` frames (else the connection
    fails with 1009 or 1008). An instance gathers for one connection at a time.

    Control frames that the library does not answer itself are ignored. To see them, override
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
        self._on_message = None     # a bound method of this object: a reference cycle
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

    cdef bint _is_batching(self) noexcept:
        return False

    cdef int _end_batch(self, WSTransport transport) except -1:
        return 0

    cdef int _stopped(self) except -1:
        return 0

    cdef void _reserved_of_messages_0(self) noexcept:
        pass

    cdef void _reserved_of_messages_1(self) noexcept:
        pass

    cdef void _reserved_of_messages_2(self) noexcept:
        pass
