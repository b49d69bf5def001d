"""WSEndpoint: one connection over an asyncio-shaped transport. Private, but for its Python face."""

from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ReadBuffer
from picows_codec.deadlines cimport Sweeper
from picows_codec.frame cimport ws_frame_header
from picows_codec.handshake cimport OpeningHandshake
from picows_codec.options cimport WSOptions
from picows_codec.parser cimport ws_parser
from picows_codec.sender cimport Sender
from picows_codec.transport cimport WSListener, WSTransport
from picows_codec.view cimport WSFrame

cdef class WSEndpoint(Sender):
    cdef:
        WSOptions _options
        OpeningHandshake _handshake     # None once it is over
        object _loop
        object _logger
        object _clock
        Sweeper _sweeper
        WSTransport _transport          # None once the connection has ended
        bint _gathers                   # the listener keeps the fragments of a message
        WSListener _listener            # None before it opens and once it has ended
        object _on_frame                # a Python listener's bound on_ws_frame, else None
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
        ws_parser _parser
        ws_frame_header _header         # of the frame that is in _block
        bytes _block                    # payload of a frame that is incomplete, else None
        Py_ssize_t _block_size          # bytes of it that are there
        uint8_t _head[14]               # the beginning of a header that is incomplete
        uint8_t _head_size
        ReadBuffer _private_buffer      # lent to a loop that fills buffers in the background
        bint _block_is_lent             # by the last get_buffer

        # Closing
        uint8_t _state                  # WSState
        bint _close_received
        bint _close_was_first           # the received CLOSE came before the sent one
        bint _deaf                      # incoming bytes are ignored
        bint _muted                     # frames are not delivered
        bint _secure
        bint _connected_called
        bint _shared_reads              # the loop fills buffers synchronously
        object _pending_pong            # payload of the latest ping that is yet to be answered

        # Keep-alive
        bint _heard                     # bytes came since the last look
        bint _ping_pending              # an automatic ping waits for its pong
        bint _user_ping                 # the listener has a ping of its own
        bytes _ping_payload
        double _idle_since
        double _ping_sent
        double _ping_due                # when to look next, on the sweeper's clock; 0: never

        # Stalls: what stood unfinished at the last look, and how far it was
        double _stall_due               # when to look next; 0: nothing is unfinished
        bint _frame_is_late             # the incoming frame
        bint _message_is_late           # the incoming message, between two fragments
        bint _queue_is_late             # the write queue, above its watermarks
        Py_ssize_t _frame_mark          # bytes of its payload
        Py_ssize_t _queue_mark            # bytes that the kernel had taken of this connection

    # For picows_codec.stream: where the rest of an incomplete frame belongs (NULL if none is), and
    # the arrival of block_size bytes there and of buffer.data[0:size] after them.
    cdef uint8_t* block_room(self, Py_ssize_t* room) noexcept
    cdef int received(self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1
    cdef Py_ssize_t read_size(self) noexcept

    cdef int _take_in(self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1
    cdef int _advance_handshake(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _open(self) except -1
    cdef int _refuse(self, object error) except -1
    cdef int _consume(self, ReadBuffer buffer, uint8_t* data, Py_ssize_t size) except -1
    cdef int _finish_block(
        self, ReadBuffer buffer, const uint8_t* tail, Py_ssize_t tail_size) except -1
    cdef int _frame_arrived(
        self, ReadBuffer buffer, const ws_frame_header* header, const uint8_t* payload,
        object owner, const uint8_t* tail, Py_ssize_t tail_size) except -1
    cdef int _hand_over(self, WSFrame frame) except -1
    cdef int _answer_ping(self, const uint8_t* payload, Py_ssize_t size) except -1
    cdef inline bint _expects_pong(self) noexcept
    cdef bint _is_pong(self, WSFrame frame) except -1
    cdef bint _more_deliverable(self, const uint8_t* data, Py_ssize_t size) noexcept
    cdef int _listener_failed(self, str callback, object error) except -1
    cdef int _violated(self, int violation) except -1
    cdef int _fail(self, int code, str reason, object kind, object error) except -1
    cdef int _set_cause(self, object kind, object error) except -1
    cdef int _finish_closing(self) except -1
    cdef int _linger(self) except -1
    cdef int _abort(self) except -1
    cdef int _dropped_by(self, object error) except -1
    cdef int _keep_alive(self, double now) except -1
    cdef int _watch(self, object delay) except -1
    cdef int _watch_open(self, double now) except -1
    cdef int _watch_stalls(self) except -1
    cdef int _mark_stalls(self, double now) except -1
    cdef int _look_for_stalls(self, double now) except -1
    cdef int _stalled(self, str what) except -1
    cdef int _slow_consumer(self, Py_ssize_t size, str text) except -1
