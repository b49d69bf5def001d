"""Who learns that a descriptor is ready: from one epoll descriptor, or from the loop.

Called per event; watched by the echo benches.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset
from posix.unistd cimport close

from os import strerror

cdef extern from "stream/native/epoll.h" nogil:
    enum:
        PICOWS_BATCH
        PICOWS_HAS_EPOLL
    int picows_epoll_create()
    int picows_epoll_set(int epoll, int fd, bint was_member, uint32_t events)
    int picows_epoll_wait(int epoll, int* fds, uint32_t* ready)


cdef class Member:
    cdef int ready(self, uint32_t events) except -1:
        raise NotImplementedError

    def _is_readable(self):
        self.ready(READABLE)

    def _is_writable(self):
        self.ready(WRITABLE)


cdef int watch_by_loop(object loop, int fd, Member member, uint8_t events) except -1:
    cdef uint8_t changed = events ^ member.watched_events
    if changed & READABLE:
        if events & READABLE:
            loop.add_reader(fd, member._is_readable)
        else:
            loop.remove_reader(fd)
    if changed & WRITABLE:
        if events & WRITABLE:
            loop.add_writer(fd, member._is_writable)
        else:
            loop.remove_writer(fd)
    member.watched_events = events
    return 0


@cython.final
cdef class CallbackMember(Member):
    cdef int ready(self, uint32_t events) except -1:
        if events & WRITABLE and self._writer is not None:
            self._call(self._writer)
        if events & READABLE and self._reader is not None:
            self._call(self._reader)
        return 0

    cdef int _call(self, object callback) except -1:
        """Call as a loop does: report what the callback raises, so that the next one is called."""
        try:
            callback()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._loop.call_exception_handler(
                {"message": f"Exception in callback {callback!r}", "exception": error})
        return 0


@cython.final
cdef class Poller:
    """One epoll descriptor for many connections (Linux).

    The loop watches this one descriptor; each of its events serves every connection that is
    ready, up to a bound per loop iteration. ``close()`` it when its connections have ended.

    It serves transports of :func:`attach`. Other transports use the methods that it has in common
    with an event loop (``add_reader``, ...), because an event of the loop for each connection costs
    more. A callback runs in the context in which the poller was made.

    :param loop: the running loop; needs ``add_reader``.
    :raises OSError: no epoll on this platform, or no descriptor to be had.
    """

    def __cinit__(self):
        self._epoll = -1

    def __init__(self, loop):
        if not PICOWS_HAS_EPOLL:
            raise OSError("stream.Poller needs epoll, which only Linux has")  # pragma: no cover
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
        """Stop serving; connections that still use the poller get no more events."""
        if self._epoll >= 0:
            self._loop.remove_reader(self._epoll)
            close(self._epoll)
            self._epoll = -1
            self._members.clear()
            self._table_size = 0

    # Members

    cdef int watch(self, int fd, Member member, uint8_t events) except -1:
        cdef bint was_member = fd in self._members
        if self._epoll < 0:
            member.watched_events = events
            return 0
        if fd >= self._table_size:
            self._grow_table(fd)
        if picows_epoll_set(self._epoll, fd, was_member, events) < 0:
            # A failure to stop watching does not matter: the descriptor is not watched then.
            if events:
                raise OSError(errno, f"cannot watch a connection: {strerror(errno)}")
        if events:
            self._members[fd] = member
            self._table[fd] = <PyObject*> member
        elif was_member:
            self._table[fd] = NULL
            del self._members[fd]
        member.watched_events = events
        return 0

    cdef int _grow_table(self, int fd) except -1:
        cdef int size = 2 * (fd + 1)
        cdef PyObject** grown = <PyObject**> PyMem_RawRealloc(self._table, size * sizeof(PyObject*))
        if grown == NULL:
            raise MemoryError(f"no memory for a table of {size} connections")  # pragma: no cover
        memset(grown + self._table_size, 0, (size - self._table_size) * sizeof(PyObject*))
        self._table = grown
        self._table_size = size
        return 0

    cdef inline Member _member(self, int fd):
        """The member with this descriptor, or None: a callback may have ended the connection."""
        if fd >= self._table_size or self._table[fd] == NULL:
            return None
        return <Member> self._table[fd]

    # A loop's methods

    def add_reader(self, int fd, callback):
        """Call ``callback()`` whenever the descriptor is readable, and once more if it breaks."""
        self._set_callback(fd, READABLE, callback)

    def remove_reader(self, int fd):
        """Returns whether there was one."""
        return self._set_callback(fd, READABLE, None)

    def add_writer(self, int fd, callback):
        """Call ``callback()`` whenever the descriptor is writable, and once more if it breaks."""
        self._set_callback(fd, WRITABLE, callback)

    def remove_writer(self, int fd):
        """Returns whether there was one."""
        return self._set_callback(fd, WRITABLE, None)

    cdef bint _set_callback(self, int fd, uint8_t event, object callback) except -1:
        cdef object found = self._members.get(fd)
        cdef CallbackMember member
        cdef bint had_one
        if found is None:
            if callback is None:
                return False
            found = CallbackMember.__new__(CallbackMember)
            (<CallbackMember> found)._loop = self._loop
        member = <CallbackMember?> found
        if event == READABLE:
            had_one = member._reader is not None
            member._reader = callback
        else:
            had_one = member._writer is not None
            member._writer = callback
        self.watch(
            fd, member,
            (READABLE if member._reader is not None else 0)
            | (WRITABLE if member._writer is not None else 0))
        return had_one

    # Events

    def _ready(self):
        """Some descriptors are readable or writable."""
        cdef int fds[PICOWS_BATCH]
        cdef uint32_t ready[PICOWS_BATCH]
        cdef Member member
        cdef int count
        cdef int i
        if len(self._members) == 1:
            # The only member must be the one that is ready: this saves a system call.
            member = self._member(self._latest)
            if member is not None and member.watched_events == READABLE:
                member.ready(READABLE)
                return
        count = picows_epoll_wait(self._epoll, fds, ready)
        for i in range(count):
            self._latest = fds[i]
            member = self._member(fds[i])
            if member is not None:
                member.ready(ready[i])

    cdef int poll_always(self) except -1:
        if not self._polling:
            self._polling = True
            self._loop.call_soon(self._poll)
        return 0

    def _poll(self):
        if self._epoll < 0 or not self._members:
            self._polling = False
            return
        self._loop.call_soon(self._poll)
        # With one member that only reads, this receives without a call of epoll, because a receive
        # that finds nothing costs no more than that call.
        self._ready()
