# cython: language_level=3
# cython: freethreading_compatible=True
"""An echo client in the manner of those that were compiled against picows 0.2.1.

Its listener has a ``_transport`` field of its own, cpdef overrides and C constants of the enums'
names; it sends out of a buffer with room before the payload, gathers fragments, and times every
round trip by ``clock_gettime``.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from picows_codec cimport WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from picows_codec import WSAutoPingStrategy


cdef enum:
    ROOM = 14       # bytes before the payload that a header may take


cdef double now() noexcept nogil:
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return moment.tv_sec + moment.tv_nsec * 1e-9


cdef bint is_data(WSMsgType opcode) noexcept nogil:
    return opcode == WSMsgType.TEXT or opcode == WSMsgType.BINARY \
        or opcode == WSMsgType.CONTINUATION


cdef class EchoClient(WSListener):
    """Sends a message, waits until it has come back whole, and so on; then disconnects."""

    cdef WSTransport _transport
    cdef char* _buffer
    cdef char* _gathered
    cdef size_t _size
    cdef size_t _gathered_size
    cdef double _sent_at
    cdef readonly list round_trips
    cdef readonly int fragments
    cdef readonly int paused
    cdef readonly bint is_connected
    cdef readonly bint was_connected
    cdef readonly bint is_text
    cdef readonly object close_code
    cdef readonly object close_message
    cdef readonly object error
    cdef int _rounds

    def __cinit__(self, size_t size, int rounds):
        self._size = size
        self._rounds = rounds
        self._buffer = <char*> malloc(ROOM + size)
        self._gathered = <char*> malloc(size or 1)
        if self._buffer == NULL or self._gathered == NULL:
            raise MemoryError
        self.round_trips = []

    def __dealloc__(self):
        free(self._buffer)
        free(self._gathered)

    cpdef on_ws_connected(self, WSTransport transport):
        self.is_connected = self.was_connected = True
        self._transport = transport
        self._send_message()

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef WSMsgType opcode = frame.msg_type      # out of the Python member
        cdef WSCloseCode code
        if <int> opcode != frame.wire_opcode:
            self.error = "not the opcode of the frame"
        if frame.opcode == WSMsgType.CLOSE:
            self.close_code = frame.get_close_code()
            self.close_message = frame.get_close_message()
            code = frame.get_close_code()
            if code != WSCloseCode.OK:
                self.error = "an unexpected close code"
            self._transport.disconnect()
            return
        if not is_data(opcode):
            return
        if opcode == WSMsgType.TEXT:
            self.is_text = True
        if self._gathered_size + <size_t> frame.payload_size > self._size:
            self.error = "more than was sent"
            self._transport.disconnect(False)
            return
        memcpy(
            self._gathered + self._gathered_size, frame.payload_ptr, <size_t> frame.payload_size)
        self._gathered_size += <size_t> frame.payload_size
        self.fragments += 1
        if frame.fin:
            self._message_is_whole()

    cpdef on_ws_disconnected(self, WSTransport transport):
        self.is_connected = False
        self._transport = None

    cpdef pause_writing(self):
        self.paused += 1

    cpdef resume_writing(self):
        self.paused -= 1

    cdef _send_message(self):
        self._gathered_size = 0
        # A client masks in place, so the payload is written anew.
        memset(self._buffer + ROOM, ord("a") + len(self.round_trips) % 26, self._size)
        self._sent_at = now()
        self._transport.send_reuse_external_buffer(
            WSMsgType.BINARY, self._buffer + ROOM, self._size)

    cdef _message_is_whole(self):
        cdef size_t index
        cdef uint8_t expected = <uint8_t> (ord("a") + len(self.round_trips) % 26)
        self.round_trips.append(now() - self._sent_at)
        for index in range(self._size):
            if <uint8_t> self._gathered[index] != expected:
                self.error = "not what was sent"
        if self._gathered_size != self._size:
            self.error = "less than was sent"
        if <int> len(self.round_trips) < self._rounds:
            self._send_message()
        else:
            # In C the members are numbers, and a message may be a Python object as well.
            self._transport.send(WSMsgType.TEXT, b"bye")
            self._transport.send_close(WSCloseCode.OK, b"done")


OPCODES = {
    "CONTINUATION": <int> WSMsgType.CONTINUATION,
    "TEXT": <int> WSMsgType.TEXT,
    "BINARY": <int> WSMsgType.BINARY,
    "CLOSE": <int> WSMsgType.CLOSE,
    "PING": <int> WSMsgType.PING,
    "PONG": <int> WSMsgType.PONG,
}
CLOSE_CODES = {
    "OK": <int> WSCloseCode.OK,
    "NO_INFO": <int> WSCloseCode.NO_INFO,
    "GOING_AWAY": <int> WSCloseCode.GOING_AWAY,
    "PROTOCOL_ERROR": <int> WSCloseCode.PROTOCOL_ERROR,
    "UNSUPPORTED_DATA": <int> WSCloseCode.UNSUPPORTED_DATA,
    "ABNORMAL_CLOSURE": <int> WSCloseCode.ABNORMAL_CLOSURE,
    "INVALID_TEXT": <int> WSCloseCode.INVALID_TEXT,
    "POLICY_VIOLATION": <int> WSCloseCode.POLICY_VIOLATION,
    "MESSAGE_TOO_BIG": <int> WSCloseCode.MESSAGE_TOO_BIG,
    "MANDATORY_EXTENSION": <int> WSCloseCode.MANDATORY_EXTENSION,
    "INTERNAL_ERROR": <int> WSCloseCode.INTERNAL_ERROR,
    "SERVICE_RESTART": <int> WSCloseCode.SERVICE_RESTART,
    "TRY_AGAIN_LATER": <int> WSCloseCode.TRY_AGAIN_LATER,
    "BAD_GATEWAY": <int> WSCloseCode.BAD_GATEWAY,
}
# The Python enums stay beside them, in Python's hands.
PING_WHEN_IDLE = WSAutoPingStrategy.PING_WHEN_IDLE
