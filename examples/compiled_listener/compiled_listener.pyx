# cython: language_level=3
# cython: freethreading_compatible=True
"""An echo without Python between receiving and sending."""

from picows_codec.constants cimport WS_OP_CLOSE
from picows_codec.frames cimport WSFrame
from picows_codec.listener cimport WSListener
from picows_codec.transport cimport WSTransport


cdef class EchoListener(WSListener):
    """Sends every data frame back, fragments as they come."""

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        # Called through the vtable. wire_opcode and fin are plain C numbers here, and the payload
        # is read where it was received; the pointer is good until this method returns.
        if frame.wire_opcode < WS_OP_CLOSE:
            transport.send_bytes(
                frame.wire_opcode, frame.payload_ptr, frame.payload_size, frame.fin)
