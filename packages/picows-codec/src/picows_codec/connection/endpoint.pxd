"""WSEndpoint: one connection over an asyncio transport. Private, except for its Python face."""

from picows_codec.buffers cimport ReadBuffer
from picows_codec.connection.keepalive cimport KeepAlive
from picows_codec.connection.handshaking cimport Handshaking
from picows_codec.connection.progress cimport DataWatch, StallWatch
from picows_codec.transport cimport WSTransport

cdef class WSEndpoint(Handshaking):
    cdef:
        list _closed_waiters
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

    cdef int _tell_followers(self, WSTransport transport, bint has_ended) except -1
    cdef int _count_end(self) except -1
    cdef int _release(self) except -1

    cdef int _watch_open(self, double now) except -1
    cdef int _look_at_peer(self, double now) except -1
    cdef bint _queue_matters(self) noexcept
    cdef int _drop_idle_keepalive(self) except -1
