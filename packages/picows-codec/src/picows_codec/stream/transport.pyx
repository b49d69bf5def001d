"""A connected socket as an asyncio transport of an endpoint, driven without Python calls.

Semantics are those of asyncio's transports: ``write`` never blocks and never raises for a broken
connection, ``close`` flushes, ``abort`` does not, ``connection_lost`` is called exactly once and
never from within a method.

Called per read and per write; watched by the echo and inbound benches.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t

from picows_codec.buffers cimport ReadBuffer, thread_buffers
from picows_codec.connection.endpoint cimport WSEndpoint
from picows_codec.stream.poller cimport READABLE, WRITABLE, Poller, watch_by_loop

from os import strerror

from picows_codec.stream.socket_view import SocketView

cdef extern from "stream/native/socket.h" nogil:
    bint picows_try_later(int error_number)
    ssize_t picows_receive(int fd, void* data, size_t size)
    ssize_t picows_receive_two(
        int fd, void* first, size_t first_size, void* second, size_t second_size)


@cython.final
cdef class StreamTransport(StreamWire):
    """A connected, non-blocking stream socket as an asyncio transport for a WSEndpoint.

    Made by :func:`attach`; owns the socket from then on.
    """

    def __init__(self):
        raise TypeError("stream transports are made by attach()")

    def __del__(self):
        if self._socket is not None:
            self._socket.close()

    # Readiness

    cdef int ready(self, uint32_t events) except -1:
        # What is no longer watched was stopped in the same batch of events.
        if events & self.watched_events == READABLE:
            return self._receive()
        if events & WRITABLE and self.watched_events & WRITABLE:
            self._drain()
        if events & READABLE and self.watched_events & READABLE:
            self._receive()
        return 0

    cdef int _update_interest(self) except -1:
        """Watch for the events that are wanted now, with as few system calls as possible."""
        cdef uint8_t events = 0
        if self._reading and not self._closing:
            events |= READABLE
        if self._size != 0 and not self._is_cut:
            events |= WRITABLE
        if self._fd < 0 or events == self.watched_events:
            return 0
        if self._poller is not None:
            return self._poller.watch(self._fd, self, events)
        return watch_by_loop(self._loop, self._fd, self, events)

    # Reading

    def is_reading(self):
        """Whether incoming bytes are being received."""
        return bool(self._reading and not self._closing)

    def pause_reading(self):
        """Receive nothing until ``resume_reading``."""
        self._reading = False
        self._update_interest()

    def resume_reading(self):
        """Receive again."""
        self._reading = True
        self._update_interest()

    cdef int _receive(self) except -1:
        """Receive once, however much there is, because other connections wait.

        If that filled the buffer and a frame needs more than another one, receive the frame's rest
        at once, while its bytes are in the processor's cache: then fewer connections need memory
        for a frame at the same time.
        """
        if self._receive_once() and self._reading and not self._closing:
            self._receive_once()
        return 0

    cdef bint _receive_once(self) except -1:
        """Receive; returns whether to receive once more, in the same loop iteration."""
        cdef WSEndpoint endpoint = self._endpoint
        cdef ReadBuffer buffer
        cdef Py_ssize_t room
        cdef Py_ssize_t count
        cdef int error_number
        cdef uint8_t* block
        if endpoint is None or self._closing:
            return False
        buffer = self._buffers.take_read(endpoint._options.read_buffer_init_size)
        block = endpoint.block_room(&room)
        if block == NULL:
            count = picows_receive(self._fd, buffer.data, buffer.size)
        else:
            count = picows_receive_two(self._fd, block, room, buffer.data, buffer.size)
        error_number = errno
        if count > 0:
            if block == NULL:
                room = 0
            # If this raises, the connection has been aborted. The buffer is then not given back.
            endpoint.received(
                buffer, count if count < room else room, count - room if count > room else 0)
            self._buffers.give_read(buffer)
            return (
                count == room + buffer.size
                and endpoint._block is not None and PyBytes_GET_SIZE(endpoint._block) > buffer.size)
        self._buffers.give_read(buffer)
        if count < 0:
            if not picows_try_later(error_number):
                self._socket_failed(error_number, "receive")
        elif endpoint.eof_received():
            self._reading = False
            self._update_interest()
        else:
            self.close()
        return False

    def _poll(self):
        """busy_poll: look again in every iteration of the loop, which therefore never sleeps."""
        if self._is_cut or self._endpoint is None:
            return
        self._loop.call_soon(self._poll)
        if self._reading:
            self._receive()

    # Writing

    def write(self, data):
        """Send bytes; what the kernel does not take at once is queued as a copy."""
        cdef Py_buffer view
        if self._eof_wanted:
            raise RuntimeError("cannot write after write_eof()")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.write_bytes(<const uint8_t*> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def writelines(self, list_of_data):
        """Send several pieces in one write."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self):
        """True: a plain socket can be half-closed."""
        return True

    def write_eof(self):
        """Half-close: the peer sees the end of the stream after what is queued."""
        if not self._closing:
            self._half_close()

    def get_write_buffer_size(self):
        """Bytes in the write queue."""
        return self._size

    def get_write_buffer_limits(self):
        """The watermarks in bytes: (low, high)."""
        return self._low_watermark, self._high_watermark

    def set_write_buffer_limits(self, high=None, low=None):
        """Set the watermarks in bytes, with asyncio's defaults for None."""
        if high is None:
            high = 65536 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"high ({high}) must be at least low ({low}), and low at least 0")
        self._set_watermarks(high, low)

    # Ending

    def is_closing(self):
        """Whether the transport is closed or being closed."""
        return bool(self._closing)

    def close(self):
        """Send what is queued, then close the connection."""
        if self._closing:
            return
        self._closing = True
        self._update_interest()
        if self._size == 0:
            self._die(None)

    def abort(self):
        """Close the connection at once and drop what is queued."""
        self._die(None)

    cdef int _queue_emptied(self) except -1:
        if self._closing:
            self._die(None)
        return 0

    cdef int _socket_failed(self, int error_number, str action) except -1:
        return self._die(OSError(error_number, f"cannot {action}: {strerror(error_number)}"))

    cdef int _die(self, object exc) except -1:
        if self._is_cut:
            return 0
        self._cut()
        self._closing = True
        self._update_interest()
        self._loop.call_soon(self._lost, exc)
        return 0

    def _lost(self, exc):
        """Tell the endpoint, then release everything."""
        cdef WSEndpoint endpoint = self._endpoint
        try:
            endpoint.connection_lost(exc)
        finally:
            self._release_wire()
            self._poller = None
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    # The rest of asyncio's interface

    def get_protocol(self):
        """The endpoint; None after the end."""
        return self._endpoint

    def set_protocol(self, protocol):
        """An endpoint keeps its transport: raises TypeError."""
        raise TypeError("a stream transport serves the endpoint that it was made for")

    def get_extra_info(self, name, default=None):
        """``socket``, ``peername`` or ``sockname``, as in asyncio."""
        if self._socket is None:
            return default
        if name == "socket":
            return SocketView(self._socket)
        try:
            if name == "peername":
                return self._socket.getpeername()
            if name == "sockname":
                return self._socket.getsockname()
        except OSError:
            pass
        return default

    def __repr__(self):
        state = "closed" if self._socket is None else "closing" if self._closing else "open"
        return f"<StreamTransport fd={self._fd} {state} write_queue={self._size}>"


def attach(loop, sock, WSEndpoint endpoint not None, *, Poller poller=None):
    """Make a transport of a connected stream socket, start ``endpoint`` on it and return it.

    :param loop: the running loop; needs ``add_reader`` and ``add_writer``, unless ``poller`` is
        given.
    :param sock: a non-blocking ``socket.socket``, TCP or Unix; owned by the transport from now on,
        closed at the end of the connection.
    :param poller: a :class:`Poller` that watches the socket instead of the loop.
    :raises ValueError: a blocking socket.
    """
    cdef StreamTransport self
    if sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking: call sock.setblocking(False) first")
    self = StreamTransport.__new__(StreamTransport)
    self._begin_wire(sock.fileno(), endpoint)
    self._loop = loop
    self._socket = sock
    self._poller = poller
    self._buffers = thread_buffers()
    self._reading = True
    try:
        (<object> endpoint).connection_made(self)
        if not self._closing:
            self._update_interest()
    except BaseException:
        self._die(None)
        raise
    if endpoint._options.busy_poll and poller is not None:
        poller.poll_always()
    elif endpoint._options.busy_poll:
        loop.call_soon(self._poll)
    return self
