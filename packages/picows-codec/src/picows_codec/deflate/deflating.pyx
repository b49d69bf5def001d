# cython: auto_pickle=False
"""Deflating what is sent (RFC 7692, 7.2.1).

With context takeover a connection has a stream of its own from its first compressed message on.
Without, all connections of a thread share one for each set of parameters: a full flush makes it
forget what it has seen, so nothing of one message is in another.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject

from zlib import Z_FULL_FLUSH, Z_SYNC_FLUSH

from picows_codec.deflate.engine import new_deflater

__all__ = ["compress_once"]

cdef extern from "Python.h":
    PyObject* PyThreadState_GetDict()       # borrowed

# 7.2.1, 3: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
cdef bytes _TAIL = b"\x00\x00\xff\xff"
# 7.2.3.6: what is left of an empty stored block.
cdef bytes _EMPTY = b"\x00"
cdef object _SYNC = Z_SYNC_FLUSH
cdef object _FULL = Z_FULL_FLUSH


cdef dict _streams_of_thread():
    cdef dict local = <dict> PyThreadState_GetDict()
    cdef object found = local.get("picows_codec.deflate")
    if found is None:
        found = local["picows_codec.deflate"] = {}
    return <dict> found


cdef bytes _flushed(object stream, object payload, object mode):
    cdef bytes data = stream.compress(payload)
    cdef bytes rest = stream.flush(mode)
    return data + rest if data else rest


cdef bytes _deflated_alone(object payload, int window_bits, int level, int memory_level):
    """A whole message with its tail, by the thread's stream."""
    cdef dict streams = _streams_of_thread()
    cdef tuple key = (window_bits, level, memory_level)
    # Taken out while it is in use: what the garbage collector or a signal runs may send, too.
    cdef object stream = streams.pop(key, None)
    cdef bytes data
    if stream is None:
        stream = new_deflater(level, window_bits, memory_level)
    data = _flushed(stream, payload, _FULL)
    streams[key] = stream
    return data


cdef Py_ssize_t _without_tail(bytes data) except -1:
    if not data.endswith(_TAIL):
        raise RuntimeError(f"a flushed stream must end with 0000ffff: {data.hex()}")
    return PyBytes_GET_SIZE(data) - 4


def compress_once(payload, int window_bits, int level=1, int memory_level=5):
    """Return a message compressed without context takeover, as it is sent in one frame with RSV1.

    For any connection whose peer's window has at least ``window_bits`` (9 to 15). Any thread.
    """
    cdef bytes data = _deflated_alone(payload, window_bits, level, memory_level)
    return data[:_without_tail(data)] if data else _EMPTY


@cython.final
cdef class Deflater:
    """What one connection sends."""

    cdef bytes deflate(
            self, const uint8_t* payload, Py_ssize_t* size, bint first, bint fin):
        """Called per frame of a compressed message."""
        cdef object view = PyMemoryView_FromMemory(<char*> payload, size[0], PyBUF_READ)
        cdef Py_ssize_t plain_size = size[0]
        cdef object stream = self._stream
        cdef bytes data
        if self._is_alone and first and fin:
            data = _deflated_alone(view, self._window_bits, self._level, self._memory_level)
        else:
            # Dropped if it raises: the peer would miss what it has taken.
            self._stream = None
            if stream is None:
                stream = new_deflater(self._level, self._window_bits, self._memory_level)
            elif self._is_foreign:
                stream.flush(_FULL)     # only an empty block, which need not be sent
            self._is_foreign = False
            data = _flushed(stream, view, _SYNC)
            while self._stream is not None or self._is_foreign:
                # The garbage collector has run in between, and a finalizer has sent another
                # message. The peer's window has that one, and not what this stream knows.
                self._stream = None
                self._is_foreign = False
                stream = new_deflater(self._level, self._window_bits, self._memory_level)
                data = _flushed(stream, view, _SYNC)
            if not (self._is_alone and fin):
                self._stream = stream
        if not fin:
            size[0] = PyBytes_GET_SIZE(data)
            return data
        if not data:
            size[0] = 1
            return _EMPTY
        size[0] = _without_tail(data)
        if self._is_alone and first and size[0] >= plain_size:
            return None
        return data

    cdef int forget_context(self) noexcept:
        self._is_foreign = True
        return 0


cdef Deflater new_message_deflater(int window_bits, bint is_alone, int level, int memory_level):
    cdef Deflater deflater = Deflater.__new__(Deflater)
    deflater._window_bits = window_bits
    deflater._is_alone = is_alone
    deflater._level = level
    deflater._memory_level = memory_level
    return deflater
