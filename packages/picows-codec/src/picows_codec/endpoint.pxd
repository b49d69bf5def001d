"""WSEndpoint: one connection over an asyncio-shaped transport. Private, but for its Python face."""

from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ReadBuffer
from picows_codec.handshake cimport OpeningHandshake
from picows_codec.liveness cimport Liveness

cdef class WSEndpoint(Liveness):
    cdef:
        OpeningHandshake _handshake     # None once it is over
        object _logger
        object _clock
        object _request
        object _response
        str _subprotocol
        object _remote_address          # packed, see socket_address
        object _local_address
        object _cause                   # WSDisconnectCause, once there is one
        bytes _close_payload_received
        list _closed_waiters
        object _opened_waiter
        double _handshake_deadline      # on the clock; 0: websocket_handshake_timeout
        object __weakref__

        # Receiving
        ReadBuffer _private_buffer      # lent to a loop that fills buffers in the background
        bint _block_is_lent             # by the last get_buffer
        bint _shared_reads              # the loop fills buffers synchronously

        # Closing
        bint _close_received
        bint _close_was_first           # the received CLOSE came before the sent one
        bint _secure
        bint _connected_called
        object _pending_pong            # payload of the latest ping that is yet to be answered

    cdef str _peer(self)
    cdef int _debug_close(self, str what, bytes payload) except -1
    cdef int _debug_end(self) except -1
    cdef int _enter(self, uint8_t state) except -1
    cdef object _snapshot(self, int which)
    cdef object _close_handshake(self)
    cdef object _complete_cause(self)
    cdef int _open(self) except -1
    cdef int _refuse(self, object error) except -1
    cdef int _set_cause(self, object kind, object error) except -1
    cdef int _replace_cause(self, object cause) except -1
    cdef int _finish_closing(self) except -1
    cdef int _linger(self) except -1
    cdef int _abort(self) except -1
