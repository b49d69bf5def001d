"""Messages to audiences that last, in a compiled loop: what topics are made of.

The listener of a connection hears that writing is paused when the loop is over, not within it. So
no callback publishes in the middle of a publish, and every connection gets everything in the same
order.
"""

cimport cython
from cpython.object cimport PyObject

from picows_codec.buffers cimport current_thread, keep_late_pauses, thread_buffers
from picows_codec.connection.closing cimport Closing
from picows_codec.connection.following cimport Follower, follow
from picows_codec.connection.sender cimport Sender
from picows_codec.connection.state cimport OPEN
from picows_codec.connection.writer cimport (
    FRAGMENTED,
    HOLDS,
    NOT_PAUSED,
    PAUSE_DUE,
    WRITING,
    set_send_flags,
)
from picows_codec.delivery cimport deliver, fetch_connection, fetch_wire, forget_error
from picows_codec.prepared cimport WSPreparedMessage
from picows_codec.transport cimport WSTransport

from picows_codec.errors import WSThreadError

cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t index)

ctypedef int (*uncorking)(Sender) noexcept


cdef class Recipient(Follower):
    """A connection that is in audiences. Subclasses override ``may_send`` and ``ended``.

    :param transport: a :class:`WSTransport` of the calling thread.
    """

    def __cinit__(self, WSTransport transport not None, *args):
        if not isinstance(transport._connection, Closing):
            raise TypeError("the transport was not made by the library")
        self._connection = <Closing> transport._connection
        self._connection.check_thread()
        self.transport = transport

    def follow(self):
        """From now on ``may_send`` and ``ended`` are called."""
        follow(self.transport, self)

    def may_send(self):
        """Messages may be sent again: the write queue has drained, or a fragmented message is
        complete."""

    def ended(self):
        """The connection has ended."""

    cdef int _may_send(self) except -1:
        self.may_send()
        return 0

    cdef int _ended(self) except -1:
        self.ended()
        return 0

    @property
    def is_open(self):
        """Whether messages can be sent at all."""
        return self._connection._state == OPEN

    @property
    def is_blocked(self):
        """Whether no message can be sent now: one is in the middle of its fragments, or of a
        write."""
        return self._connection._send_flags & (FRAGMENTED | WRITING | HOLDS) != 0

    @property
    def is_paused(self):
        """Whether the write queue is beyond its watermark."""
        return self._connection._write_paused != NOT_PAUSED

    @property
    def watermark(self):
        """The option ``write_high_watermark``."""
        return self._connection._options.write_high_watermark

    @property
    def queue_size(self):
        """Bytes that wait for the peer to read."""
        return self._connection._queue_size()

    @property
    def most_queued(self):
        """The option ``max_write_queue_size``."""
        return self._connection._options.max_write_queue_size

    def hold(self):
        """Call ``may_send`` when the connection is no longer blocked, before other messages."""
        cdef Closing connection = self._connection
        if connection._send_flags & HOLDS:
            return
        set_send_flags(connection, connection._send_flags | HOLDS)
        if connection._send_flags & WRITING:
            connection._loop.call_soon(connection.release_held)

    def end_as_slow(self, Py_ssize_t size, str text not None):
        """End the connection: it reads too slowly. ``size``: bytes that find no room."""
        self._connection._slow_consumer(size, text)

    def send(self, list messages not None, bint spares):
        """Send prepared messages until one cannot be sent; return how many were.

        :param spares: not while the write queue is beyond its watermark.
        """
        cdef Closing connection = self._connection
        cdef Py_ssize_t count = 0
        connection.check_thread()
        connection.cork()
        try:
            for message in messages:
                if (
                        connection._state != OPEN
                        or connection._send_flags & (FRAGMENTED | WRITING | HOLDS)
                        or spares and connection._write_paused
                        or not deliver(<WSPreparedMessage?> message, connection)):
                    break
                count += 1
        finally:
            _uncork(connection)
        return count


cdef int _uncork_raising(Sender connection) except -1:
    return connection.uncork()


cdef int _uncork(Sender connection) except -1:
    if (<uncorking> _uncork_raising)(connection) < 0:
        forget_error()
    return 0


cdef class Audience:
    """A set of :class:`Recipient`, in the order in which they came.

    ``spares``: nothing is sent to those that are beyond their watermark. Subclasses override
    ``missed``.
    """

    def __cinit__(self, *args):
        self._members = {}

    def add(self, Recipient recipient not None):
        """Return whether it was not there. It gets no message that is being delivered."""
        if recipient in self._members:
            return False
        self._members[recipient] = None
        self._listed = None
        return True

    def discard(self, Recipient recipient not None):
        """Return whether it was there. It gets nothing from now on."""
        if recipient not in self._members:
            return False
        del self._members[recipient]
        self._listed = None
        return True

    def missed(self, message, key, left_out, lost):
        """Who has not taken a message.

        :param key: what :meth:`FanOut.deliver` was given.
        :param left_out: those that are spared, or blocked.
        :param lost: those that were open, and are not because of this message.
        """

    cdef list _list(self):
        if self._listed is None:
            self._listed = list(self._members)
        return self._listed

    def __len__(self):
        return len(self._members)

    def __contains__(self, recipient):
        return recipient in self._members

    def __iter__(self):
        return iter(list(self._members))


@cython.final
cdef class FanOut:
    """What delivers to audiences of one thread's connections.

    It belongs to the thread that uses it first. In a ``with`` block, listeners do not hear that
    writing is paused; they do when it is over.
    """

    def is_under_way(self):
        """Whether a delivery or a ``with`` block is, so that another has to wait.

        :raises WSThreadError: another thread than the first one asks.
        """
        self._check_thread()
        return self._depth != 0

    cdef int _check_thread(self) except -1:
        if self._buffers is None:
            self._buffers = thread_buffers()
        elif current_thread() != self._buffers.thread_id:
            raise WSThreadError(
                "topics may only be used on the thread of their event loop: use"
                " loop.call_soon_threadsafe() to get there")
        return 0

    def __enter__(self):
        self._check_thread()
        self._begin()

    def __exit__(self, exc_type, exc, traceback):
        self._end()

    cdef int _begin(self) except -1:
        self._depth += 1
        if self._depth == 1 and self._buffers.late_pauses is None:
            keep_late_pauses(self._buffers, [])
        return 0

    cdef int _end(self) except -1:
        cdef list late
        cdef Closing connection
        self._depth -= 1
        if self._depth:
            return 0
        late = self._buffers.late_pauses
        keep_late_pauses(self._buffers, None)
        for connection in late or ():
            if connection._write_paused == PAUSE_DUE:
                connection._report_pause()
        return 0

    def deliver(
            self, Audience audience not None, WSPreparedMessage message not None, key=None,
            excluded=None):
        """Send a message to an audience; return how many connections have taken it.

        Called per publish; watched by the topics bench. The audience is told who has not taken it
        though it is open, with ``key``.

        :param excluded: a transport, or a set of them, that does not get it; or None.
        """
        cdef Py_ssize_t count
        self._check_thread()
        self._begin()
        try:
            count = self._deliver(audience, message, key, excluded)
        finally:
            self._end()
        return count

    cdef Py_ssize_t _deliver(
            self, Audience audience, WSPreparedMessage message, object key,
            object excluded) except -1:
        cdef set several = <set> excluded if isinstance(excluded, set) else None
        cdef list listed = audience._list()
        cdef Py_ssize_t last = len(listed) - 1
        cdef Py_ssize_t index
        cdef Py_ssize_t count = 0
        cdef bint spares = audience.spares
        cdef list left_out = None
        cdef list lost = None
        cdef Recipient recipient
        cdef Closing connection
        for index in range(last + 1):
            _fetch_next(listed, index, last)
            recipient = <Recipient> listed[index]
            connection = recipient._connection
            if connection._state != OPEN or recipient.transport is excluded:
                continue
            if several is not None and recipient.transport in several:
                continue
            if audience._listed is not listed and recipient not in audience._members:
                continue        # a tap or a finalizer has removed it meanwhile
            if (
                    connection._send_flags & (FRAGMENTED | WRITING | HOLDS)
                    or spares and connection._write_paused):
                left_out = [] if left_out is None else left_out
                left_out.append(recipient)
                continue
            if self._batches and not recipient._is_corked:
                self._cork(recipient)
            if deliver(message, connection):
                count += 1
            else:
                lost = [] if lost is None else lost
                lost.append(recipient)
        if left_out is not None or lost is not None:
            audience.missed(message, key, left_out or [], lost or [])
        return count

    # Batches

    def begin_batch(self):
        """From now on each connection that gets messages is corked."""
        self._check_thread()
        self._batches += 1
        if self._batches == 1:
            self._corked = []

    def end_batch(self):
        """What was held back leaves, if no other batch is under way."""
        cdef Recipient recipient
        cdef list corked
        self._check_thread()
        self._batches -= 1
        if self._batches:
            return
        corked = self._corked
        self._corked = None
        self._begin()
        try:
            for recipient in corked:
                recipient._is_corked = False
                _uncork(recipient._connection)
        finally:
            self._end()

    cdef int _cork(self, Recipient recipient) except -1:
        recipient._connection.cork()
        recipient._is_corked = True
        self._corked.append(recipient)
        return 0


cdef inline void _fetch_next(list listed, Py_ssize_t index, Py_ssize_t last) noexcept:
    cdef void* connection
    if index + 3 <= last:
        fetch_wire(<void*> PyList_GET_ITEM(listed, index + 3))
    if index + 2 <= last:
        connection = <void*> (<Recipient> PyList_GET_ITEM(listed, index + 2))._connection
        fetch_connection(connection)
    if index + 1 <= last:
        fetch_wire(
            <void*> (<Recipient> PyList_GET_ITEM(listed, index + 1))._connection._wire)
