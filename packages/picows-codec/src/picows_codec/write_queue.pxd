"""What the kernel did not take yet: copies, and references to immutable objects. Private tier."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

ctypedef struct segment:
    PyObject* owner         # the object that data lies in; NULL if it lies in memory
    uint8_t* memory         # the queue's own; NULL if there is an owner
    const uint8_t* data     # data[0:size] is still to be written
    Py_ssize_t size
    Py_ssize_t room         # free bytes of memory behind it

cdef class WriteQueue:
    cdef segment* _segments     # _segments[_first:][:_count], each of them with data
    cdef int _first
    cdef int _count
    cdef int _capacity

    # Append data[0:size]: a reference to ``owner``, an immutable object that data lies in, or a
    # copy if ``owner`` is None or data is small.
    cdef int append(self, const uint8_t* data, Py_ssize_t size, object owner) except -1
    # The same for what is queued on many connections: by reference, unless a reference takes more
    # memory than the data, which max_write_queue_size would not count.
    cdef int append_shared(self, const uint8_t* data, Py_ssize_t size, object owner) except -1
    # Write the addresses and sizes of the first pieces, at most ``most``. Returns how many.
    cdef int pieces(self, const void** data, size_t* sizes, int most) noexcept
    # The first size bytes have been written.
    cdef void remove(self, Py_ssize_t size) noexcept

    cdef segment* _push(self) except NULL
