"""The fast lane for plain sockets: an asyncio-shaped transport that drives an endpoint in C.

Readiness comes from the loop (``add_reader``, ``add_writer``) or, for a server's many connections,
from one epoll descriptor of our own, so that one event of the loop serves a whole batch. From
there to the listener's callback no Python function is called. Semantics are those of asyncio's
transports: ``write`` never blocks and never raises for a broken connection, ``close`` flushes,
``abort`` does not, ``connection_lost`` is called exactly once and never from within a method.

POSIX only. Called per read and per write; watched by the echo and stream benches.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.string cimport memset

from picows_codec.buffers cimport ReadBuffer, thread_buffers
from picows_codec.connection.endpoint cimport WSEndpoint
from picows_codec.connection.sender cimport Wire
from picows_codec.write_queue cimport WriteQueue

from os import strerror

cdef extern from *:
    """
    #include <errno.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <unistd.h>

    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0      /* CPython ignores SIGPIPE */
    #endif
    #define PICOWS_PIECES 64    /* of a write queue, in one system call */

    static ssize_t picows_send(int fd, const void* data, size_t size) {
        return send(fd, data, size, MSG_NOSIGNAL);
    }

    static ssize_t picows_send_two(
            int fd, const void* head, size_t head_size, const void* data, size_t size) {
        struct iovec parts[2];
        struct msghdr message;
        memset(&message, 0, sizeof message);
        parts[0].iov_base = (void*) head;
        parts[0].iov_len = head_size;
        parts[1].iov_base = (void*) data;
        parts[1].iov_len = size;
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        return sendmsg(fd, &message, MSG_NOSIGNAL);
    }

    static ssize_t picows_send_pieces(
            int fd, const void* const* data, const size_t* sizes, int count) {
        struct iovec parts[PICOWS_PIECES];
        struct msghdr message;
        memset(&message, 0, sizeof message);
        for (int i = 0; i < count; i++) {
            parts[i].iov_base = (void*) data[i];
            parts[i].iov_len = sizes[i];
        }
        message.msg_iov = parts;
        message.msg_iovlen = count;
        return sendmsg(fd, &message, MSG_NOSIGNAL);
    }

    static ssize_t picows_receive_two(
            int fd, void* first, size_t first_size, void* second, size_t second_size) {
        struct iovec parts[2];
        parts[0].iov_base = first;
        parts[0].iov_len = first_size;
        parts[1].iov_base = second;
        parts[1].iov_len = second_size;
        return readv(fd, parts, 2);
    }

    #ifdef __linux__
    #include <sys/epoll.h>
    #define PICOWS_HAS_EPOLL 1

    static int picows_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

    static int picows_epoll_set(int epoll, int fd, int was_member, int reading, int writing) {
        struct epoll_event event;
        memset(&event, 0, sizeof event);
        event.events = (reading ? EPOLLIN | EPOLLRDHUP : 0) | (writing ? EPOLLOUT : 0);
        event.data.fd = fd;
        if (!reading && !writing)
            return was_member ? epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event) : 0;
        return epoll_ctl(epoll, was_member ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    }

    /* fds[i] is the descriptor, ready[i] has READABLE, WRITABLE or both. */
    static int picows_epoll_wait(int epoll, int* fds, unsigned char* ready, int most) {
        struct epoll_event events[128];
        int count = epoll_wait(epoll, events, most < 128 ? most : 128, 0);
        for (int i = 0; i < count; i++) {
            fds[i] = events[i].data.fd;
            ready[i] = (unsigned char) (
                ((events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) ? 1 : 0)
                | ((events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) ? 2 : 0));
        }
        return count;
    }
    #else
    #define PICOWS_HAS_EPOLL 0
    static int picows_epoll_create(void) { errno = ENOSYS; return -1; }
    static int picows_epoll_set(int epoll, int fd, int was_member, int reading, int writing) {
        (void) epoll; (void) fd; (void) was_member; (void) reading; (void) writing;
        return -1;
    }
    static int picows_epoll_wait(int epoll, int* fds, unsigned char* ready, int most) {
        (void) epoll; (void) fds; (void) ready; (void) most;
        return -1;
    }
    #endif
    """
    ssize_t picows_send(int fd, const void* data, size_t size) nogil
    ssize_t picows_send_two(
        int fd, const void* head, size_t head_size, const void* data, size_t size) nogil
    enum: PICOWS_PIECES
    ssize_t picows_send_pieces(
        int fd, const void** data, const size_t* sizes, int count) nogil
    ssize_t picows_receive_two(
        int fd, void* first, size_t first_size, void* second, size_t second_size) nogil
    const int PICOWS_HAS_EPOLL
    int picows_epoll_create() nogil
    int picows_epoll_set(int epoll, int fd, int was_member, int reading, int writing) nogil
    int picows_epoll_wait(int epoll, int* fds, unsigned char* ready, int most) nogil

cdef extern from "<sys/socket.h>":
    ssize_t recv(int fd, void* data, size_t size, int flags) nogil

cdef extern from "<unistd.h>":
    int close(int fd) nogil

cdef enum:
    READABLE = 1        # or broken
    WRITABLE = 2
    # Connections served per event of the loop: more would let one turn grow long.
    POLLER_BATCH = 128


cdef inline bint _try_later(int error_number) noexcept nogil:
    return error_number == EAGAIN or error_number == EINTR


cdef class Callbacks:
    pass


cdef class Poller:
    """One epoll descriptor for many connections (Linux).

    The loop watches this one descriptor; each of its events serves every connection that is
    ready, up to a bound per turn. ``close()`` it when its connections have ended.

    Serves transports of :func:`attach`, and with the methods that it has in common with an event
    loop (``add_reader``, ...) any other: an event of the loop for each of many connections costs
    more. A callback runs in the context in which the poller was made.
    """

    def __cinit__(self):
        self._epoll = -1

    def __init__(self, loop):
        if not PICOWS_HAS_EPOLL:
            raise OSError("stream.Poller needs epoll, which only Linux has")
        self._epoll = picows_epoll_create()
        if self._epoll < 0:
            raise OSError(errno, f"cannot create an epoll descriptor: {strerror(errno)}")
        self._loop = loop
        self._members = {}
        loop.add_reader(self._epoll, self._ready)

    def __dealloc__(self):
        PyMem_RawFree(self._table)
        if self._epoll >= 0:
            close(self._epoll)

    def __len__(self):
        return len(self._members)

    def close(self):
        """Stop serving; connections that still use the poller hear nothing any more."""
        if self._epoll >= 0:
            self._loop.remove_reader(self._epoll)
            close(self._epoll)
            self._epoll = -1
            self._members.clear()
            self._table_size = 0

    def add_reader(self, int fd, callback):
        """Call ``callback()`` whenever the descriptor is readable, and once more if it breaks."""
        self._set_callbacks(fd, True, callback)

    def remove_reader(self, int fd):
        """Returns whether there was one."""
        return self._set_callbacks(fd, True, None)

    def add_writer(self, int fd, callback):
        """Call ``callback()`` whenever the descriptor is writable, and once more if it breaks."""
        self._set_callbacks(fd, False, callback)

    def remove_writer(self, int fd):
        """Returns whether there was one."""
        return self._set_callbacks(fd, False, None)

    cdef bint _set_callbacks(self, int fd, bint for_reading, object callback) except -1:
        cdef object found = self._members.get(fd)
        cdef Callbacks callbacks
        cdef bint had_one
        if found is None:
            if callback is None:
                return False
            found = Callbacks.__new__(Callbacks)
        callbacks = <Callbacks?> found
        if for_reading:
            had_one = callbacks.reader is not None
            callbacks.reader = callback
        else:
            had_one = callbacks.writer is not None
            callbacks.writer = callback
        self.set_interest(
            fd, callbacks, callbacks.reader is not None, callbacks.writer is not None)
        return had_one

    cdef int set_interest(self, int fd, object member, bint reading, bint writing) except -1:
        cdef bint was_member = fd in self._members
        if self._epoll < 0:
            return 0
        if fd >= self._table_size:
            self._grow_table(fd)
        if picows_epoll_set(self._epoll, fd, was_member, reading, writing) < 0:
            # To stop watching cannot fail in a way that matters: at worst there is nothing there.
            if reading or writing:
                raise OSError(errno, f"cannot watch a connection: {strerror(errno)}")
        if reading or writing:
            self._members[fd] = member
            self._table[fd] = <PyObject*> member
        elif was_member:
            self._table[fd] = NULL
            del self._members[fd]
        return 0

    cdef int _grow_table(self, int fd) except -1:
        cdef int size = 2 * (fd + 1)
        cdef PyObject** grown = <PyObject**> PyMem_RawRealloc(self._table, size * sizeof(PyObject*))
        if grown == NULL:
            raise MemoryError(f"no memory for a table of {size} connections")
        memset(grown + self._table_size, 0, (size - self._table_size) * sizeof(PyObject*))
        self._table = grown
        self._table_size = size
        return 0

    cdef inline object _member(self, int fd):
        """The member with this descriptor, or None: a callback may have ended the connection."""
        if fd >= self._table_size or self._table[fd] == NULL:
            return None
        return <object> self._table[fd]

    cdef int poll_always(self) except -1:
        """busy_poll: look in every turn of the loop, as long as there is a connection."""
        if not self._polling:
            self._polling = True
            self._loop.call_soon(self._poll)
        return 0

    def _poll(self):
        if self._epoll < 0 or not self._members:
            self._polling = False
            return
        self._loop.call_soon(self._poll)
        self._ready()       # to receive in vain from an only one costs no more than to ask

    def _ready(self):
        """Some connections are readable or writable."""
        cdef int fds[POLLER_BATCH]
        cdef unsigned char ready[POLLER_BATCH]
        cdef object member
        cdef int count
        cdef int i
        if len(self._members) == 1:     # there is nothing to ask: saves a system call
            member = self._member(self._latest)
            if member is not None and _only_reads(member):
                self._serve(member, READABLE)
                return
        count = picows_epoll_wait(self._epoll, fds, ready, POLLER_BATCH)
        for i in range(count):
            self._latest = fds[i]
            member = self._member(fds[i])
            if member is not None:
                self._serve(member, ready[i])

    cdef inline int _serve(self, object member, int ready) except -1:
        cdef StreamTransport transport
        if type(member) is not StreamTransport:
            return self._call_back(<Callbacks> member, ready)
        transport = <StreamTransport> member
        if ready & WRITABLE and transport._watching_writes:
            transport._drain()
        if ready & READABLE and transport._watching_reads:
            transport._receive()
        return 0

    cdef int _call_back(self, Callbacks callbacks, int ready) except -1:
        """As a loop does it: what a callback raises is reported, and the next one called."""
        cdef object callback
        cdef int kind
        for kind in (WRITABLE, READABLE):
            callback = callbacks.writer if kind == WRITABLE else callbacks.reader
            if not ready & kind or callback is None:
                continue
            try:
                callback()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._loop.call_exception_handler(
                    {"message": f"Exception in callback {callback!r}", "exception": error})
        return 0


cdef inline bint _only_reads(object member) noexcept:
    if type(member) is not StreamTransport:
        return (<Callbacks> member).writer is None
    return (
        (<StreamTransport> member)._watching_reads
        and not (<StreamTransport> member)._watching_writes)


# What may be done to a connection's socket by somebody who does not own it, as with asyncio's.
cdef frozenset _ALLOWED = frozenset((
    "dup", "family", "fileno", "get_inheritable", "getpeername", "getsockname", "getsockopt",
    "gettimeout", "proto", "setsockopt", "timeout", "type",
))


cdef class SocketView:
    """A connection's socket, to look at and to set options of: it cannot be closed or read from."""

    cdef object _socket

    def __cinit__(self, sock):
        self._socket = sock

    def __getattr__(self, str name):
        if name not in _ALLOWED:
            raise AttributeError(
                f"{name!r}: the socket belongs to the connection; use its WSTransport, or dup()")
        return getattr(self._socket, name)

    def __repr__(self):
        return f"<SocketView {self._socket!r}>"


cdef class StreamTransport(Wire):
    """A connected, non-blocking stream socket as an asyncio transport for a WSEndpoint.

    Made by :func:`attach`; owns the socket from then on.
    """

    def __cinit__(self):
        self._fd = -1

    def __init__(self):
        raise TypeError("stream transports are made by attach()")

    def __del__(self):
        if self._socket is not None:
            self._socket.close()

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

    def _read_ready(self):
        self._receive()

    cdef int _receive(self) except -1:
        """The socket is readable. One receive, however much there is: other connections wait.

        Of a frame that is larger than the buffer, which it filled, more is received at once: mostly
        all of it. Its bytes are used while they are in the processor's cache, and fewer connections
        need memory for a frame at the same time.
        """
        if self._receive_once() and self._reading and not self._closing:
            self._receive_once()
        return 0

    cdef bint _receive_once(self) except -1:
        """Returns whether to receive once more, in the same turn."""
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
            count = recv(self._fd, buffer.data, buffer.size, 0)
        else:
            count = picows_receive_two(self._fd, block, room, buffer.data, buffer.size)
        error_number = errno
        if count > 0:
            if block == NULL:
                room = 0
            # What this raises has aborted the connection, and the buffer is not given back.
            endpoint.received(
                buffer, count if count < room else room, count - room if count > room else 0)
            self._buffers.give_read(buffer)
            return (
                count == room + buffer.size
                and endpoint._block is not None and PyBytes_GET_SIZE(endpoint._block) > buffer.size)
        self._buffers.give_read(buffer)
        if count < 0:
            if not _try_later(error_number):
                self._failed(error_number, "receive")
        elif self._protocol.eof_received():
            self._reading = False
            self._update_interest()
        else:
            self.close()
        return False

    def _poll(self):
        """busy_poll: look again in every turn of the loop, which therefore never sleeps."""
        if self._dead or self._endpoint is None:
            return
        self._loop.call_soon(self._poll)
        if self._reading:
            self._receive()

    # Writing

    cdef int write_bytes(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t count = 0
        if self._dead:
            return self._note_unsendable(size)
        if self.queue_size == 0:
            count = picows_send(self._fd, data, size)
            if count == size:
                return 0
            if count < 0:
                if not _try_later(errno):
                    self.queue_size += size
                    return self._failed(errno, "send")
                count = 0
        return self._enqueue(data + count, size - count, None)

    cdef int write_two(
            self, const uint8_t* head, Py_ssize_t head_size,
            const uint8_t* data, Py_ssize_t size, object owner) except -1:
        cdef Py_ssize_t count = 0
        if self._dead:
            return self._note_unsendable(head_size + size)
        if self.queue_size == 0:
            count = picows_send_two(self._fd, head, head_size, data, size)
            if count == head_size + size:
                return 0
            if count < 0:
                if not _try_later(errno):
                    self.queue_size += head_size + size
                    return self._failed(errno, "send")
                count = 0
        if count < head_size:
            self._enqueue(head + count, head_size - count, None)
            count = 0
        else:
            count -= head_size
        return self._enqueue(data + count, size - count, owner)

    cdef int _note_unsendable(self, Py_ssize_t size) except -1:
        """The connection has broken and its protocol does not know yet: the bytes are visible as
        unsent, and whoever sends until the queue is full comes to an end."""
        self.queue_size += size
        if not self._protocol_paused and self.queue_size > self._high_watermark:
            self._protocol_paused = True
            self._protocol.pause_writing()
        return 0

    cdef int _enqueue(self, const uint8_t* data, Py_ssize_t size, object owner) except -1:
        """Keep what the kernel did not take."""
        if self._queue is None:
            self._queue = WriteQueue.__new__(WriteQueue)
        self._queue.append(data, size, owner)
        self.queue_size += size
        if not self._watching_writes:
            self._update_interest()
        if not self._protocol_paused and self.queue_size > self._high_watermark:
            self._protocol_paused = True
            self._protocol.pause_writing()
        return 0

    def _write_ready(self):
        self._drain()

    cdef int _drain(self) except -1:
        """The socket takes bytes again."""
        cdef const void* data[PICOWS_PIECES]
        cdef size_t sizes[PICOWS_PIECES]
        cdef Py_ssize_t count
        if self._dead or self.queue_size == 0:
            return 0
        count = picows_send_pieces(
            self._fd, data, sizes, self._queue.pieces(data, sizes, PICOWS_PIECES))
        if count < 0:
            if _try_later(errno):
                return 0
            return self._failed(errno, "send")
        self._queue.remove(count)
        self.queue_size -= count
        if self.queue_size == 0:
            self._queue_emptied()
        if self._protocol_paused and self.queue_size <= self._low_watermark:
            self._protocol_paused = False
            self._protocol.resume_writing()
        return 0

    cdef int _queue_emptied(self) except -1:
        self._queue = None
        self._update_interest()
        if self._eof_wanted:
            self._shutdown_writing()
        if self._closing:
            self._die(None)
        return 0

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
        if self._eof_wanted or self._closing:
            return
        self._eof_wanted = True
        if self.queue_size == 0:
            self._shutdown_writing()

    def _shutdown_writing(self):
        if self._eof_sent or self._socket is None:
            return
        self._eof_sent = True
        try:
            self._socket.shutdown(1)
        except OSError:
            pass        # the connection is gone already; reading will tell

    def get_write_buffer_size(self):
        """Bytes in the write queue."""
        return self.queue_size

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
        self._high_watermark = high
        self._low_watermark = low

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
        if self.queue_size == 0:
            self._die(None)

    def abort(self):
        """Close the connection at once and drop what is queued."""
        self._die(None)

    cdef int _failed(self, int error_number, str action) except -1:
        return self._die(OSError(error_number, f"cannot {action}: {strerror(error_number)}"))

    cdef int _die(self, object exc) except -1:
        if self._dead:
            return 0
        self._dead = True
        self._closing = True
        self._update_interest()
        self._loop.call_soon(self._lost, exc)
        return 0

    def _lost(self, exc):
        """Tell the protocol, then let go of everything."""
        protocol = self._protocol
        try:
            protocol.connection_lost(exc)
        finally:
            self._endpoint = self._protocol = self._poller = None
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            self._fd = -1

    # Readiness

    cdef int _update_interest(self) except -1:
        """Watch for what is wanted now, with as few system calls as possible."""
        cdef bint reading = self._reading and not self._closing
        cdef bint writing = self.queue_size != 0 and not self._dead
        if self._fd < 0 or (
                reading == self._watching_reads and writing == self._watching_writes):
            return 0
        if self._poller is not None:
            self._poller.set_interest(self._fd, self, reading, writing)
        else:
            self._set_loop_interest(reading, writing)
        self._watching_reads = reading
        self._watching_writes = writing
        return 0

    cdef int _set_loop_interest(self, bint reading, bint writing) except -1:
        if reading != self._watching_reads:
            if reading:
                self._loop.add_reader(self._fd, self._read_ready)
            else:
                self._loop.remove_reader(self._fd)
        if writing != self._watching_writes:
            if writing:
                self._loop.add_writer(self._fd, self._write_ready)
            else:
                self._loop.remove_writer(self._fd)
        return 0

    # The rest of asyncio's interface

    def get_protocol(self):
        """The endpoint; None after the end."""
        return self._protocol

    def set_protocol(self, protocol):
        """An endpoint keeps its transport: raises TypeError."""
        raise TypeError("a stream transport serves the endpoint that it was made for")

    def get_extra_info(self, name, default=None):
        """``socket``, ``peername`` or ``sockname``, as in asyncio."""
        if self._socket is None:
            return default
        if name == "socket":
            return SocketView.__new__(SocketView, self._socket)
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
        return f"<StreamTransport fd={self._fd} {state} write_queue={self.queue_size}>"


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
    self._loop = loop
    self._socket = sock
    self._fd = sock.fileno()
    self._endpoint = endpoint
    self._protocol = endpoint
    self._poller = poller
    self._buffers = thread_buffers()
    self._high_watermark = endpoint._options.write_high_watermark
    self._low_watermark = endpoint._options.write_low_watermark
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
