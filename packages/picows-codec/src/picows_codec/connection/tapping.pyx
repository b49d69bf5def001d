"""A tap between a connection and its transport: it sees what one gives the other.

A connection without a tap does not import this. One with a tap has a wire that passes everything on
to the transport's own; what is received comes from the receiver.

A tap must not hurt its connection. What it raises is logged, and the tap is then used no more.
While it runs, nothing can be sent, because it may be in the middle of a write.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t

from picows_codec.connection.handshaking cimport Handshaking
from picows_codec.connection.receiver cimport set_witness
from picows_codec.connection.writer cimport WRITING, Witness, set_send_flags
from picows_codec.tap cimport WS_RECEIVED, WS_SENT, WSTap

from time import time_ns as now_ns

from picows_codec.socket_address import format_address
from picows_codec.tap_types import WSDirection

cdef tuple _DIRECTIONS = tuple(WSDirection)


@cython.final
cdef class CallableTap(WSTap):
    """A tap in Python: a callable, and the ``on_end`` that it may have."""

    cdef:
        object _callback
        object _on_end          # or None

    cdef int on_bytes(
            self, int direction, const uint8_t* data, Py_ssize_t size,
            int64_t time_ns) except -1:
        # A view of a copy, because nothing prevents a tap from keeping a view.
        view = memoryview(PyBytes_FromStringAndSize(<const char*> data, size))
        self._callback(_DIRECTIONS[direction], view, time_ns)
        return 0

    cdef int on_end(self, object cause) except -1:
        if self._on_end is not None:
            self._on_end(cause)
        return 0


@cython.final
cdef class GuardedTap(Witness):
    """A tap that does not raise, and that knows what time it is."""

    cdef int saw(self, bint is_sent, const uint8_t* data, Py_ssize_t size) except -1:
        cdef uint8_t was_writing
        if self._tap is None:
            return 0
        was_writing = self._connection._send_flags & WRITING
        set_send_flags(self._connection, self._connection._send_flags | WRITING)
        try:
            self._tap.on_bytes(
                WS_SENT if is_sent else WS_RECEIVED, data, size, now_ns())
        except BaseException as error:
            self._failed(error)
        finally:
            # What a publish of the tap holds back stays marked.
            set_send_flags(self._connection, self._connection._send_flags & ~WRITING | was_writing)
        return 0

    cdef int saw_end(self, object cause) except -1:
        cdef WSTap tap = self._tap
        self._tap = None
        try:
            if tap is not None:
                tap.on_end(cause)
        except BaseException as error:
            self._failed(error)
        self._connection = None
        return 0

    cdef int _failed(self, object error) except -1:
        cdef Closing connection = self._connection
        self._tap = None
        connection._logger.error(
            "%s: the tap failed, and is used no more", connection._peer(), exc_info=error,
            extra=connection._log_fields())
        if not isinstance(error, Exception):
            # The loop raises it, outside of the read or write, which it must not interrupt.
            connection._loop.call_soon(_raise, error)
        return 0


@cython.final
cdef class TappedWire(Wire):
    cdef int write_bytes(self, const uint8_t* data, Py_ssize_t size) except -1:
        self._witness.saw(True, data, size)
        return self._below.write_bytes(data, size)

    cdef int write_two(
            self, const uint8_t* head, Py_ssize_t head_size,
            const uint8_t* data, Py_ssize_t size, object owner) except -1:
        self._witness.saw(True, head, head_size)
        self._witness.saw(True, data, size)
        return self._below.write_two(head, head_size, data, size, owner)

    cdef int write_shared(self, bytes data) except -1:
        self._witness.saw(True, <const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return self._below.write_shared(data)

    cdef Py_ssize_t queue_size(self) except -1:
        return self._below.queue_size()


@cython.final
cdef class TappedWrite:
    """The write method of a loop's own transport."""

    cdef:
        Witness _witness
        object _write

    def __call__(self, data):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self._witness.saw(True, <const uint8_t*> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        self._write(data)


def begin_tapping(Handshaking connection not None, object tap):
    """Put the tap of the options between a connection and its transport, which it has just got."""
    cdef GuardedTap guarded = GuardedTap.__new__(GuardedTap)
    cdef TappedWire wire
    cdef TappedWrite write
    guarded._connection = connection
    try:
        guarded._tap = _tap_of(connection, tap)
    except BaseException as error:
        guarded._failed(error)
    if guarded._tap is None:
        return
    set_witness(connection, guarded)
    if connection._wire is not None:
        wire = TappedWire.__new__(TappedWire)
        wire._witness = guarded
        wire._below = connection._wire
        connection._divert(wire, None)
    else:
        write = TappedWrite.__new__(TappedWrite)
        write._witness = guarded
        write._write = connection._write_below
        connection._divert(None, write)


cdef WSTap _tap_of(Handshaking connection, object tap):
    """The tap of one connection, or None."""
    cdef CallableTap made
    cdef bint is_its_own = hasattr(tap, "new_tap")
    if is_its_own:
        tap = tap.new_tap("client" if connection._is_client else "server", _url_of(connection))
    if tap is None or isinstance(tap, WSTap):
        return tap
    if not callable(tap):
        raise TypeError(f"new_tap must return a callable, a WSTap or None, not {tap!r}")
    made = CallableTap.__new__(CallableTap)
    made._callback = tap
    made._on_end = getattr(tap, "on_end", None) if is_its_own else None
    return made


cdef str _url_of(Handshaking connection):
    """The URL of a connection without user and password; a server's has only its own address."""
    cdef str scheme = "wss" if connection._secure else "ws"
    request = connection._handshake.request
    if connection._is_client:
        host = request.raw_header.split(b"\r\n", 2)[1].partition(b": ")[2].decode("ascii")
        return f"{scheme}://{host}{request.path}"
    return f"{scheme}://{format_address(connection.local_address)}/"


def _raise(error):
    raise error
