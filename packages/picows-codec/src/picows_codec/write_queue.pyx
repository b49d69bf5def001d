"""What the kernel did not take yet: copies, and references to immutable objects.

A payload that lies in a bytes or str object cannot change: the rest of it is kept by reference,
however large it is and to however many connections it is sent. Everything else is copied into
memory of the queue. Called when a socket's buffer is full.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memmove

cdef enum:
    # Smaller data is copied: a copy costs no more, and keeps no large object alive.
    REFERENCE_SIZE = 4096
    # How much memory is allocated at a time for small frames.
    MEMORY_SIZE = 16384


cdef void _release(segment* dropped) noexcept:
    PyMem_RawFree(dropped.memory)
    Py_XDECREF(dropped.owner)


cdef class WriteQueue:
    def __dealloc__(self):
        cdef int i
        for i in range(self._first, self._first + self._count):
            _release(&self._segments[i])
        PyMem_RawFree(self._segments)

    cdef int append(self, const uint8_t* data, Py_ssize_t size, object owner) except -1:
        cdef segment* last
        cdef Py_ssize_t fits
        if owner is not None and size >= REFERENCE_SIZE:
            return self.append_shared(data, size, owner)
        if self._count:
            last = &self._segments[self._first + self._count - 1]
            fits = min(last.room, size)
            memcpy(<uint8_t*> last.data + last.size, data, fits)
            last.size += fits
            last.room -= fits
            data += fits
            size -= fits
        if size == 0:
            return 0
        last = self._push()
        last.room = max(size, MEMORY_SIZE)
        last.memory = <uint8_t*> PyMem_RawMalloc(last.room)
        if last.memory == NULL:
            self._count -= 1  # pragma: no cover - no memory
            raise MemoryError(  # pragma: no cover
                f"no memory for a write queue of {last.room} bytes more")
        last.owner = NULL
        memcpy(last.memory, data, size)
        last.data = last.memory
        last.size = size
        last.room -= size
        return 0

    cdef int append_shared(self, const uint8_t* data, Py_ssize_t size, object owner) except -1:
        cdef segment* last
        if size <= <Py_ssize_t> sizeof(segment):
            return self.append(data, size, None)
        last = self._push()
        last.owner = <PyObject*> owner
        Py_INCREF(owner)
        last.memory = NULL
        last.data = data
        last.size = size
        last.room = 0
        return 0

    cdef segment* _push(self) except NULL:
        """A new last segment, to be filled in."""
        cdef segment* grown
        cdef int capacity
        if self._first + self._count == self._capacity:
            if self._first > self._count:
                memmove(
                    self._segments, self._segments + self._first, self._count * sizeof(segment))
                self._first = 0
            else:
                capacity = 2 * self._capacity or 4
                grown = <segment*> PyMem_RawRealloc(self._segments, capacity * sizeof(segment))
                if grown == NULL:
                    raise MemoryError(  # pragma: no cover - no memory
                        f"no memory for a write queue of {capacity} pieces")
                self._segments = grown
                self._capacity = capacity
        self._count += 1
        return &self._segments[self._first + self._count - 1]

    cdef int pieces(self, const void** data, size_t* sizes, int most) noexcept:
        cdef segment* piece = self._segments + self._first
        cdef int count = min(self._count, most)
        cdef int i
        for i in range(count):
            data[i] = piece[i].data
            sizes[i] = piece[i].size
        return count

    cdef void remove(self, Py_ssize_t size) noexcept:
        cdef segment* first
        cdef Py_ssize_t part
        while size > 0:
            first = &self._segments[self._first]
            part = min(first.size, size)
            first.data += part
            first.size -= part
            size -= part
            if first.size == 0:
                _release(first)
                self._first += 1
                self._count -= 1
