# cython: auto_pickle=False
"""The tap of one recorded connection: called per read and write.

It also follows the headers of received frames, so that a recording that goes on in another file can
say where the next message begins.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from picows_codec.frame_header cimport ws_decode_frame_header, ws_frame_header
from picows_codec.tap cimport WS_RECEIVED, WS_SENT

from picows_codec.tap_types import WSDirection

cdef tuple _DIRECTIONS = tuple(WSDirection)

__all__ = ["RecordingTap"]


@cython.final
cdef class RecordingTap(WSTap):
    """Made by a recorder for each connection.

    :param write: called with number, data, is_sent, is_handshake and the wall time.
    :param ended: called with this tap and the cause when the connection has ended; with None when
        this tap has failed, because nothing else is called then.
    :param redactor: a ``HandshakeRedactor``.
    """

    def __init__(self, int number, dict facts not None, write, ended, redactor):
        self.number = number
        self.heads = []
        self._facts = facts
        self._write = write
        self._ended = ended
        self._redactor = redactor

    cdef int on_bytes(
            self, int direction, const uint8_t* data, Py_ssize_t size,
            int64_t time_ns) except -1:
        try:
            self._take(direction, data, size, time_ns)
        except BaseException:
            ended, self._ended = self._ended, None
            if ended is not None:
                ended(self, None)
            self._write = None
            raise
        return 0

    cdef int _take(
            self, int direction, const uint8_t* data, Py_ssize_t size,
            int64_t time_ns) except -1:
        cdef bytes content = PyBytes_FromStringAndSize(<const char*> data, size)
        if self._redactor is not None:
            self._pieces(self._redactor.feed(_DIRECTIONS[direction], content))
            if self._redactor.is_over:
                self._redactor = None
            return 0
        self._write(self.number, content, direction == WS_SENT, False, time_ns)
        if direction == WS_RECEIVED:
            self._walk(data, size)
        return 0

    cdef int _pieces(self, object pieces) except -1:
        cdef bytes data
        for direction, data, is_handshake in pieces:
            is_sent = direction == WS_SENT
            self._write(self.number, data, is_sent, is_handshake, None)
            if is_handshake:
                self.heads.append((is_sent, data))
            elif not is_sent:
                self._walk(<const uint8_t*> <const char*> data, len(data))
        return 0

    cdef int on_end(self, object cause) except -1:
        try:
            if self._redactor is not None:
                self._pieces(self._redactor.end())
        finally:
            ended, self._ended = self._ended, None
            ended(self, cause)
            self._write = None
        return 0

    cdef int _walk(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Called per read, and loops per frame."""
        cdef ws_frame_header header
        cdef Py_ssize_t used
        cdef int result
        while size > 0 and not self._is_lost:
            if self._left:
                used = size if <size_t> size < self._left else <Py_ssize_t> self._left
                self._left -= <size_t> used
                data += used
                size -= used
                continue
            if self._head_size:
                used = min(size, 14 - <Py_ssize_t> self._head_size)
                memcpy(&self._head[self._head_size], data, used)
                result = ws_decode_frame_header(self._head, self._head_size + used, &header)
                if result == 0:
                    self._head_size += <uint8_t> used
                    return 0
                used = result - <int> self._head_size
                self._head_size = 0
            else:
                result = ws_decode_frame_header(data, size, &header)
                used = result
                if result == 0:
                    memcpy(self._head, data, size)
                    self._head_size = <uint8_t> size
                    return 0
            if result < 0:
                self._is_lost = True
                return 0
            data += used
            size -= used
            self._left = header.payload_size
            if not header.opcode & 0x08:
                self._in_message = not header.fin
        return 0

    def facts_of_continuation(self):
        """What the first record of the connection says in a file that goes on with it."""
        return {
            **self._facts,
            "continues": {
                "heads": len(self.heads),
                "left": self._left,
                "head": (<const char*> self._head)[:self._head_size].hex(),
                "in_message": bool(self._in_message),
                "is_lost": bool(self._is_lost),
            },
        }
