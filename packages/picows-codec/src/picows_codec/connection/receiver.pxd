"""The incoming half of a connection: bytes to frames, frames to the listener. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ReadBuffer
from picows_codec.connection.sender cimport Compression, Sender
from picows_codec.connection.writer cimport Witness
from picows_codec.frame_header cimport ws_frame_header
from picows_codec.frames cimport WSFrame
from picows_codec.listener cimport WSListener
from picows_codec.options cimport WSOptions
from picows_codec.parser cimport ws_parser
from picows_codec.transport cimport WSTransport

cdef enum:
    # Bits of Receiver._heard, one for each that looks.
    HEARD_FOR_IDLE = 1          # automatic pings
    HEARD_FOR_VERDICT = 2       # see Closing._is_certain
    HEARD_FOR_DATA = 4          # data_timeout
    HEARD = 7

    # Bits of Receiver._read_flags. Nothing is set for most connections.
    SHOWS = 1                   # _witness sees what is received
    TIMES = 2                   # _record has the time of it
    COUNTS = 4                  # _record has counts of it
    BATCHES = 8                 # the listener keeps the messages of a read, and hears of its end

    # Bits of Receiver._long_way.
    GATHERS = 1                 # the listener keeps the fragments of a message
    INFLATES = 2                # permessage-deflate was negotiated

    # Bits of Receiver._late.
    LATE_FRAME = 1              # the incoming frame stood unfinished at the last look
    LATE_MESSAGE = 2            # the same for the message, between two fragments
    LATE_DATA = 4               # no data frame since the last look

cdef class Receiver(Sender):
    cdef:
        ws_parser _parser
        WSTransport _transport      # None once the connection has ended
        WSListener _listener        # None before it opens and once it has ended
        object _on_frame            # a Python listener's on_ws_frame, else None
        bint _on_frame_is_method    # it is a function that takes the listener first
        unsigned int _arrived       # messages that have begun and are not in _totals yet
        Py_ssize_t _taken           # bytes that were received
        Witness _witness            # is shown what is received, or None
        bytes _block                # payload of a frame that is incomplete, else None
        Py_ssize_t _block_size      # bytes of it that are there
        ws_frame_header _header     # of that frame
        uint8_t _head[14]           # the beginning of a header that is incomplete
        uint8_t _head_size
        bint _expects_pong          # a ping of the library waits for its pong
        uint8_t _long_way           # GATHERS, INFLATES: why data frames take it
        uint8_t _read_flags         # SHOWS, TIMES, COUNTS, BATCHES
        uint8_t _heard              # HEARD_*: bytes came since the last look
        uint8_t _late               # LATE_*: what has not come since before the last look

    cdef int _begin_receiving(self, WSOptions options, bint is_client) except -1
    cdef int _begin_compression(self, Compression compression) except -1
    cdef int _set_listener(self, WSListener listener) except -1
    cdef int _look_up_callbacks(self) except -1
    # From now on, or once it begins, the connection has a record with counts.
    cdef int _begin_counts(self) except -1
    # Add what has arrived to the counts now, not at the end of the read.
    cdef int _settle(self) noexcept
    cdef int _drop_block(self) noexcept
    cdef int _release_receiver(self) except -1
    cdef int _expect_pongs(self, bint expected) noexcept
    # Whether bytes came since the last time that this was asked for the same bit.
    cdef bint _has_heard(self, uint8_t bit) noexcept
    # LATE_FRAME and LATE_MESSAGE for what is unfinished now
    cdef int _mark_unfinished(self) noexcept
    cdef int _mark_data(self, bint late) noexcept

    # For transports: where the rest of an incomplete frame belongs (NULL if none is), and the
    # arrival of block_size bytes there and of buffer.data[0:size] after them.
    cdef uint8_t* block_room(self, Py_ssize_t* room) noexcept
    cdef int received(self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1

    cdef int _note_read(self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1
    cdef int _take_rest(self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1
    cdef int _consume(self, ReadBuffer buffer, uint8_t* data, Py_ssize_t size) except -1
    cdef Py_ssize_t _take_frame(
        self, ReadBuffer buffer, uint8_t* data, Py_ssize_t size) except -1
    cdef int _begin_block(
        self, const ws_frame_header* header, uint8_t* data, Py_ssize_t size) except -1
    cdef int _end_block(
        self, ReadBuffer buffer, const uint8_t* tail, Py_ssize_t tail_size) except -1
    cdef int _frame_arrived(
        self, ReadBuffer buffer, const ws_frame_header* header, const uint8_t* payload,
        object owner, const uint8_t* tail, Py_ssize_t tail_size) except -1
    cdef int _deliver_inflated(
        self, ReadBuffer buffer, const ws_frame_header* header, const uint8_t* payload,
        const uint8_t* tail, Py_ssize_t tail_size) except -1
    cdef bint _more_deliverable(self, const uint8_t* data, Py_ssize_t size) noexcept
    cdef int _frame_was_kept(self, WSFrame frame) except -1
    cdef int _hand_over_raised(self, WSFrame frame) except -1
    cdef int _on_frame_raised(self) except -1
    cdef int _end_batch(self) except -1
    cdef int _report_stop(self) except -1
    cdef int _read_raised(self) except -1
    cdef int _flush_after_read(self) except -1

    # Hooks of the rooms above
    cdef int _advance_handshake(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _ping_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _close_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _close_delivered(self, const uint8_t* payload, Py_ssize_t size) except -1
    cdef bint _takes_pong(self, WSFrame frame) except -1
    cdef int _violated(self, int violation) except -1
    cdef int _no_memory(self, object size) except -1
    cdef int _listener_failed(self, str callback, object error) except -1
    cdef int _dropped_by(self, object error) except -1
    cdef int _watch_stalls(self) except -1
    cdef double _now(self) except -1.0

cdef inline void set_witness(Receiver self, Witness witness) noexcept:
    self._witness = witness
    self._read_flags = self._read_flags & ~SHOWS | (SHOWS if witness is not None else 0)
