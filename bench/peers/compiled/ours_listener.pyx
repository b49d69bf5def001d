"""Compiled listeners on the wheels of this repository: no Python call per frame."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from picows_codec.constants cimport WS_OP_BINARY
from picows_codec.frames cimport WSFrame
from picows_codec.listener cimport WSListener
from picows_codec.transport cimport WSTransport


cdef class Echo(WSListener):
    """Sends messages back out of the receive buffer."""

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.wire_opcode == WS_OP_BINARY:
            transport.send_bytes(frame.wire_opcode, frame.payload_ptr, frame.payload_size)


cdef class Sink(WSListener):
    """Counts messages and reads their numbers in place."""

    cdef public object window
    cdef readonly uint64_t count
    cdef uint64_t limit
    cdef uint64_t last

    def __init__(self, messages):
        self.limit = messages

    def check(self):
        """Raise unless no message was lost."""
        if self.last + 1 != self.count:
            raise ValueError(f"{self.count} messages when number {self.last} arrived")

    cpdef on_ws_connected(self, WSTransport transport):
        self.window.begin()

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.payload_size < 8 or frame.wire_opcode != WS_OP_BINARY:
            return
        memcpy(&self.last, frame.payload_ptr, 8)
        self.count += 1
        if self.count == self.limit:
            self.window.close()
