"""What the kernel did not take yet: copies, and references to immutable objects. Private tier."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

ctypedef struct segment:
    PyObject* owner         # what keeps data where and as it is; NULL if that is memory
    uint8_t* memory         # the queue's own; NULL if there is an owner
    const uint8_t* data     # data[0:size] is still to be written
    Py_ssize_t size
    Py_ssize_t room         # free bytes of memory behind it

cdef class WriteQueue:
    cdef segment* _segments     # _segments[_first:][:_count], each of them with data
    cdef int _first
    cdef int _count
    cdef int _capacity

    # Append data[0:size]: a copy, or a reference to ``owner``, which keeps data where and as it is,
    # or is None.
    cdef int append(self, const uint8_t* data, Py_ssize_t size, object owner) except -1
    # Where the first bytes lie: up to ``most`` addresses and sizes. Returns how many.
    cdef int pieces(self, const void** data, size_t* sizes, int most) noexcept
    # The first size bytes have been written.
    cdef void remove(self, Py_ssize_t size) noexcept

    cdef segment* _push(self) except NULL
