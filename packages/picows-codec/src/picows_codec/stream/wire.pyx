"""The write side of a stream transport: what the kernel takes is sent at once, the rest is queued.

A write never blocks, and does not raise because a connection is broken. Called per write; watched
by the echo and outbound benches.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport errno
from libc.stdint cimport uint8_t

from picows_codec.connection.endpoint cimport WSEndpoint
from picows_codec.stream.poller cimport WRITABLE
from picows_codec.write_queue cimport WriteQueue

cdef extern from "stream/native/socket.h" nogil:
    enum:
        PICOWS_PIECES
    bint picows_try_later(int error_number)
    ssize_t picows_send(int fd, const void* data, size_t size)
    ssize_t picows_send_two(
        int fd, const void* head, size_t head_size, const void* data, size_t size)
    ssize_t picows_send_pieces(int fd, const void** data, const size_t* sizes, int count)
    int picows_end_sending(int fd)


cdef class StreamWire(Member):
    # Beginning and end

    def __cinit__(self):
        self._fd = -1

    cdef int _begin_wire(self, int fd, WSEndpoint endpoint) except -1:
        self._fd = fd
        self._endpoint = endpoint
        return self._set_watermarks(
            endpoint._options.write_high_watermark, endpoint._options.write_low_watermark)

    cdef int _cut(self) noexcept:
        self._is_cut = True

    cdef int _release_wire(self) except -1:
        self._endpoint = None
        self._queue = None
        self._fd = -1
        return 0

    # Writing

    cdef int write_bytes(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t count = 0
        if not self._is_cut and self._size == 0:
            count = picows_send(self._fd, data, size)
            if count == size:
                return 0
        return self._not_sent(data, size, count, None)

    cdef int write_two(
            self, const uint8_t* head, Py_ssize_t head_size,
            const uint8_t* data, Py_ssize_t size, object owner) except -1:
        cdef Py_ssize_t count = 0
        if self._is_cut:
            return self._count_unsendable(head_size + size)
        if self._size == 0:
            count = picows_send_two(self._fd, head, head_size, data, size)
            if count == head_size + size:
                return 0
            if count < 0:
                if not picows_try_later(errno):
                    self._size += head_size + size
                    return self._socket_failed(errno, "send")
                count = 0
        if count < head_size:
            self._enqueue(head + count, head_size - count, None)
            count = 0
        else:
            count -= head_size
        return self._enqueue(data + count, size - count, owner)

    cdef int write_shared(self, bytes data) except -1:
        cdef const uint8_t* content = <const uint8_t*> PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t count = 0
        if not self._is_cut and self._size == 0:
            count = picows_send(self._fd, content, size)
            if count == size:
                return 0
        return self._not_sent(content, size, count, data)

    cdef int _not_sent(
            self, const uint8_t* data, Py_ssize_t size, Py_ssize_t count, bytes shared) except -1:
        """The kernel took count bytes only, or none because of errno if count is negative."""
        if self._is_cut:
            return self._count_unsendable(size)
        if count < 0:
            if not picows_try_later(errno):
                self._size += size
                return self._socket_failed(errno, "send")
            count = 0
        if shared is None:
            return self._enqueue(data + count, size - count, None)
        self._begin_queue()
        self._queue.append_shared(data + count, size - count, shared)
        return self._queued(size - count)

    cdef int _half_close(self) except -1:
        if not self._eof_wanted:
            self._eof_wanted = True
            if self._size == 0:
                self._send_eof()
        return 0

    cdef int _send_eof(self) noexcept:
        if not self._eof_sent:
            self._eof_sent = True
            picows_end_sending(self._fd)    # where it fails, the connection has ended anyway
        return 0

    # The queue

    cdef Py_ssize_t queue_size(self) except -1:
        return self._size

    cdef int _set_watermarks(self, Py_ssize_t high, Py_ssize_t low) noexcept:
        self._high_watermark = high
        self._low_watermark = low
        return 0

    cdef int _enqueue(self, const uint8_t* data, Py_ssize_t size, object owner) except -1:
        """Keep what the kernel did not take."""
        self._begin_queue()
        self._queue.append(data, size, owner)
        return self._queued(size)

    cdef int _begin_queue(self) except -1:
        if self._queue is None:
            self._queue = WriteQueue.__new__(WriteQueue)
        return 0

    cdef int _queued(self, Py_ssize_t size) except -1:
        self._size += size
        if self._endpoint is not None:
            self._endpoint._note_queue(self._size)
        if not self.watched_events & WRITABLE:
            self._update_interest()
        return self._pause_if_full()

    cdef int _count_unsendable(self, Py_ssize_t size) except -1:
        """The connection has broken and its endpoint does not know yet. Count the bytes as unsent,
        so that a caller who sends until the queue is full stops."""
        self._size += size
        return self._pause_if_full()

    cdef int _pause_if_full(self) except -1:
        if (self._size > self._high_watermark
                and not self._endpoint_paused and self._endpoint is not None):
            self._endpoint_paused = True
            self._endpoint.pause_writing()
        return 0

    cdef int _drain(self) except -1:
        cdef const void* data[PICOWS_PIECES]
        cdef size_t sizes[PICOWS_PIECES]
        cdef Py_ssize_t count
        if self._is_cut or self._size == 0:
            return 0
        count = picows_send_pieces(
            self._fd, data, sizes, self._queue.pieces(data, sizes, PICOWS_PIECES))
        if count < 0:
            if picows_try_later(errno):
                return 0
            return self._socket_failed(errno, "send")
        self._queue.remove(count)
        self._size -= count
        if self._endpoint is not None:
            self._endpoint._note_queue(self._size)
        if self._size == 0:
            self._queue = None
            self._update_interest()
            if self._eof_wanted:
                self._send_eof()
            self._queue_emptied()
        if self._endpoint_paused and self._size <= self._low_watermark:
            self._endpoint_paused = False
            self._endpoint.resume_writing()
        return 0

    # Hooks

    cdef int _update_interest(self) except -1:
        raise NotImplementedError

    cdef int _queue_emptied(self) except -1:
        raise NotImplementedError

    cdef int _socket_failed(self, int error_number, str action) except -1:
        raise NotImplementedError
