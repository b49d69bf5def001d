"""WSEndpoint: one connection over an asyncio transport. Private, except for its Python face."""

from picows_codec.buffers cimport ReadBuffer
from picows_codec.connection.closing cimport Closing
from picows_codec.connection.keepalive cimport KeepAlive
from picows_codec.connection.progress cimport DataWatch, StallWatch
from picows_codec.http.handshake cimport OpeningHandshake

cdef class WSEndpoint(Closing):
    cdef:
        OpeningHandshake _handshake     # None once it is over
        object _request
        object _response
        str _subprotocol
        list _closed_waiters
        object _opened_waiter
        double _handshake_deadline      # on the clock; 0: websocket_handshake_timeout
        object __weakref__

        # What watches the peer of an open connection, while it is needed
        KeepAlive _keepalive
        StallWatch _stalls
        DataWatch _data
        bytes _pending_pong             # payload of the latest ping without a pong

        # Receiving
        ReadBuffer _private_buffer      # lent to a loop that fills buffers in the background
        bint _block_is_lent             # by the last get_buffer
        bint _shared_reads              # the loop fills buffers synchronously
        bint _connected_called
        bint _waits_for_result          # a task makes the response of the opening handshake

    cdef int _wait_for_result(self) except -1
    cdef int _stop_waiting(self) except -1
    cdef int _settle(self, object task) except -1
    cdef int _finish_handshake(self) except -1
    cdef int _open(self) except -1
    cdef int _refuse(self, object error) except -1
    cdef int _release(self) except -1

    cdef int _watch_peer(self) except -1
    cdef int _watch_open(self, double now) except -1
    cdef int _look_at_peer(self, double now) except -1
    cdef bint _queue_matters(self) noexcept
    cdef int _drop_idle_keepalive(self) except -1
