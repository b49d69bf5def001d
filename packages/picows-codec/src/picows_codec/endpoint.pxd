"""WSEndpoint: one connection over an asyncio-shaped transport. Private, but for its Python face."""

from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ReadBuffer
from picows_codec.deadlines cimport Sweeper
from picows_codec.handshake cimport OpeningHandshake
from picows_codec.receiver cimport Receiver
from picows_codec.view cimport WSFrame

cdef class WSEndpoint(Receiver):
    cdef:
        OpeningHandshake _handshake     # None once it is over
        object _loop
        object _logger
        object _clock
        Sweeper _sweeper
        object _request
        object _response
        str _subprotocol
        object _cause                   # WSDisconnectCause, once there is one
        bytes _close_payload_received
        list _closed_waiters
        object _opened_waiter
        double _handshake_deadline      # on the clock; 0: websocket_handshake_timeout
        list _roundtrips                # of (payload or None, future, start)
        object __weakref__

        # Receiving
        ReadBuffer _private_buffer      # lent to a loop that fills buffers in the background
        bint _block_is_lent             # by the last get_buffer
        bint _shared_reads              # the loop fills buffers synchronously

        # Closing
        uint8_t _state                  # WSState
        bint _close_received
        bint _close_was_first           # the received CLOSE came before the sent one
        bint _secure
        bint _connected_called
        object _pending_pong            # payload of the latest ping that is yet to be answered

        # Keep-alive
        bint _ping_pending              # an automatic ping waits for its pong
        bint _user_ping                 # the listener has a ping of its own
        bytes _ping_payload
        double _idle_since
        double _ping_sent
        double _ping_due                # when to look next, on the sweeper's clock; 0: never

        # Stalls: what stood unfinished at the last look, and how far it was
        double _stall_due               # when to look next; 0: nothing is unfinished
        bint _queue_is_late             # the write queue, above its watermarks
        Py_ssize_t _frame_mark          # bytes of the incoming frame's payload
        Py_ssize_t _queue_mark          # bytes that the kernel had taken of this connection

    cdef int _open(self) except -1
    cdef int _refuse(self, object error) except -1
    cdef int _note_pings(self) except -1
    cdef bint _is_pong(self, WSFrame frame) except -1
    cdef int _fail(self, int code, str reason, object kind, object error) except -1
    cdef int _set_cause(self, object kind, object error) except -1
    cdef int _finish_closing(self) except -1
    cdef int _linger(self) except -1
    cdef int _abort(self) except -1
    cdef int _keep_alive(self, double now) except -1
    cdef int _watch(self, object delay) except -1
    cdef int _watch_open(self, double now) except -1
    cdef int _mark_stalls(self, double now) except -1
    cdef int _look_for_stalls(self, double now) except -1
    cdef int _stalled(self, str what) except -1
    cdef int _slow_consumer(self, Py_ssize_t size, str text) except -1
