"""Memory that all connections of a thread share: read buffer, write buffers, spare frame.

Receiving, parsing and the callback are synchronous, so one buffer of each kind serves any number
of connections. A nested use (a callback that drives another loop) gets its own.
"""

from libc.stdint cimport uint8_t

from picows_codec.totals cimport Totals

cdef extern from "Python.h":
    unsigned long current_thread "PyThread_get_thread_ident" () nogil

cdef class ReadBuffer:
    cdef void* _memory          # the allocation; data is the first page in it
    cdef uint8_t* data
    cdef Py_ssize_t size        # bytes
    cdef bint pinned            # a frame that outlived its callback owns this memory
    cdef object view            # memoryview for loops that fill buffers themselves, or None

cdef class WriteBuffer:
    cdef uint8_t* data
    cdef Py_ssize_t capacity    # bytes, with room for a header beyond it
    cdef Py_ssize_t used
    cdef WriteBuffer next_free

cdef class ThreadBuffers:
    cdef unsigned long thread_id
    cdef ReadBuffer _read
    cdef WriteBuffer _write     # spare buffers
    cdef WriteBuffer _large     # a spare buffer for frames too large for the others, or None
    cdef object frame           # spare frames.WSFrame, or None
    cdef bint frame_is_lent     # a callback has it
    cdef unsigned long reads    # by all connections of the thread, so far
    cdef object last_remote     # addresses of the latest connection: others often share them
    cdef object last_local
    cdef Totals totals          # of connections that belong to no server
    cdef object sweeper         # weak reference to the current loop's sweeper, or None
    cdef list late_pauses       # connections whose pause is reported later, or None: at once

    cdef ReadBuffer take_read(self, Py_ssize_t size)
    cdef ReadBuffer lend_read(self, Py_ssize_t size)
    cdef void give_read(self, ReadBuffer buffer) noexcept
    cdef WriteBuffer take_write(self)
    cdef void give_write(self, WriteBuffer buffer) noexcept
    cdef WriteBuffer take_large(self)
    cdef void give_large(self, WriteBuffer buffer) noexcept

# Called per read. The argument is a ThreadBuffers; as an object it would cost a reference count.
cdef inline void count_read(void* buffers) noexcept:
    (<ThreadBuffers> buffers).reads = (<ThreadBuffers> buffers).reads + 1

# Who uses a buffer changes it by these; they are called per frame and become single stores.

cdef inline void set_used(WriteBuffer buffer, Py_ssize_t used) noexcept:
    buffer.used = used

# The thread's spare frame.
cdef inline void keep_frame(ThreadBuffers buffers, object frame) noexcept:
    buffers.frame = frame

cdef inline void lend_frame(ThreadBuffers buffers, bint is_lent) noexcept:
    buffers.frame_is_lent = is_lent

cdef inline void keep_view(ReadBuffer buffer, object view) noexcept:
    buffer.view = view

cdef inline void pin(ReadBuffer buffer) noexcept:
    buffer.pinned = True

cdef inline void keep_sweeper(ThreadBuffers buffers, object sweeper) noexcept:
    buffers.sweeper = sweeper

# Until None is set, listeners do not hear that writing is paused.
cdef inline void keep_late_pauses(ThreadBuffers buffers, list connections) noexcept:
    buffers.late_pauses = connections

cdef ThreadBuffers thread_buffers()

# Return the object to keep for a connection's address (packed, see socket_address). Successive
# connections share it: those of a server their local address, those of a client mostly the remote.
cdef object shared_remote(ThreadBuffers buffers, object address)
cdef object shared_local(ThreadBuffers buffers, object address)
