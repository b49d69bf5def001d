"""Memory that all connections of a thread share."""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint8_t, uintptr_t

from picows_codec.constants cimport WS_MAX_HEADER_SIZE
from picows_codec.totals cimport Totals

from picows_codec.socket_address import pack_address

cdef extern from "Python.h":
    PyObject* PyThreadState_GetDict()       # borrowed

cdef enum:
    # One write of this size costs less than two of half the size, and fits the second-level cache.
    WRITE_BUFFER_SIZE = 131072
    # For larger frames. In pieces of WRITE_BUFFER_SIZE an echo of a million bytes took 50 % longer,
    # because each piece woke the peer.
    LARGE_BUFFER_SIZE = 1048576

cdef uintptr_t PAGE_SIZE = 4096


cdef class ReadBuffer:
    """A block of memory that bytes are received into; exports itself as a writable buffer."""

    def __cinit__(self, Py_ssize_t size):
        self._memory = PyMem_RawMalloc(size + PAGE_SIZE) if size >= 0 else NULL
        if self._memory == NULL:
            raise MemoryError(f"no memory for a read buffer of {size} bytes")
        # Data begins at a page, because the kernel's copy to where malloc begins, a few bytes into
        # a page, took several times as long on a Zen processor.
        self.data = <uint8_t*> ((<uintptr_t> self._memory + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1))
        self.size = size

    def __dealloc__(self):
        PyMem_RawFree(self._memory)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.size, 0, flags)
        Py_DECREF(None)     # which Cython had put in the owner's place


cdef class WriteBuffer:
    """A block of memory in which outgoing frames are put together."""

    def __cinit__(self, Py_ssize_t capacity=WRITE_BUFFER_SIZE):
        self.data = (
            <uint8_t*> PyMem_RawMalloc(capacity + WS_MAX_HEADER_SIZE) if capacity >= 0 else NULL)
        if self.data == NULL:
            raise MemoryError(f"no memory for a write buffer of {capacity} bytes")
        self.capacity = capacity

    def __dealloc__(self):
        PyMem_RawFree(self.data)


cdef class ThreadBuffers:
    """The buffers of one thread, which only that thread uses."""

    def __cinit__(self):
        self.thread_id = current_thread()
        self.totals = Totals()

    cdef ReadBuffer take_read(self, Py_ssize_t size):
        """The thread's read buffer, of at least size bytes; give it back when it is parsed."""
        cdef ReadBuffer buffer = self._read
        if buffer is not None and buffer.size >= size:
            self._read = None
            return buffer
        return ReadBuffer(size)

    cdef ReadBuffer lend_read(self, Py_ssize_t size):
        """Return the buffer that the next take_read() will take, and leave it in its place."""
        cdef ReadBuffer buffer = self.take_read(size)
        self.give_read(buffer)
        return buffer

    cdef void give_read(self, ReadBuffer buffer) noexcept:
        cdef ReadBuffer dropped = buffer
        if not buffer.pinned and (self._read is None or self._read.size < buffer.size):
            dropped = self._read
            self._read = buffer
        if dropped is not None:
            dropped.view = None     # it refers to its buffer: a reference cycle

    cdef WriteBuffer take_write(self):
        cdef WriteBuffer buffer = self._write
        if buffer is None:
            return WriteBuffer()
        self._write = buffer.next_free
        buffer.next_free = None
        return buffer

    cdef void give_write(self, WriteBuffer buffer) noexcept:
        # Two are kept, because one is in use while another connection sends inside a cork.
        buffer.used = 0
        if self._write is None or self._write.next_free is None:
            buffer.next_free = self._write
            self._write = buffer

    cdef WriteBuffer take_large(self):
        cdef WriteBuffer buffer = self._large
        if buffer is None:
            return WriteBuffer(LARGE_BUFFER_SIZE)
        self._large = None
        return buffer

    cdef void give_large(self, WriteBuffer buffer) noexcept:
        self._large = buffer


cdef ThreadBuffers thread_buffers():
    """The calling thread's buffers; they live as long as the thread."""
    cdef dict local = <dict> PyThreadState_GetDict()
    cdef object found = local.get("picows_codec")
    if found is None:
        found = local["picows_codec"] = ThreadBuffers()
    return <ThreadBuffers> found


cdef object shared_remote(ThreadBuffers buffers, object address):
    if address == buffers.last_remote:
        return buffers.last_remote
    buffers.last_remote = address
    return pack_address(address)


cdef object shared_local(ThreadBuffers buffers, object address):
    if address == buffers.last_local:
        return buffers.last_local
    buffers.last_local = address
    return pack_address(address)
