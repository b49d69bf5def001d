"""Compiled listeners on picows 2."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport


cdef class Echo(WSListener):
    """Sends messages back out of the receive buffer."""

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            # Our header is shorter than the client's, which it overwrites.
            transport.send_reuse_external_buffer(
                frame.msg_type, frame.payload_ptr, frame.payload_size)


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
        if frame.payload_size < 8 or frame.msg_type != WSMsgType.BINARY:
            return
        memcpy(&self.last, frame.payload_ptr, 8)
        self.count += 1
        if self.count == self.limit:
            self.window.close()
