# cython: auto_pickle=False
"""WSTap: what a compiled tap subclasses."""

from libc.stdint cimport int64_t, uint8_t


cdef class WSTap:
    """What is given the raw bytes of every read and write of a connection, in C.

    Another extension subclasses it and overrides ``on_bytes`` and ``on_end`` (see ``tap.pxd``).
    Pass it as the option ``tap``. In Python a tap is any callable: see the option.

    One tap serves every connection that it is passed to, unless it has a method
    ``new_tap(role, url)``. It is called on the thread of the connection's event loop.
    """

    cdef int on_bytes(
            self, int direction, const uint8_t* data, Py_ssize_t size,
            int64_t time_ns) except -1:
        return 0

    cdef int on_end(self, object cause) except -1:
        return 0

    cdef void _reserved_0(self) noexcept:
        pass

    cdef void _reserved_1(self) noexcept:
        pass

    cdef void _reserved_2(self) noexcept:
        pass

    cdef void _reserved_3(self) noexcept:
        pass
