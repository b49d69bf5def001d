"""The incoming half of a connection: bytes to frames. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ReadBuffer
from picows_codec.connection.dispatcher cimport SHOWS, Dispatcher, set_read_flags
from picows_codec.connection.sender cimport Compression
from picows_codec.connection.writer cimport Witness
from picows_codec.frame_header cimport ws_frame_header
from picows_codec.listener cimport WSListener
from picows_codec.options cimport WSOptions
from picows_codec.parser cimport ws_parser

cdef enum:
    # Bits of Receiver._heard, one for each that looks.
    HEARD_FOR_IDLE = 1          # automatic pings
    HEARD_FOR_VERDICT = 2       # see Closing._is_certain
    HEARD_FOR_DATA = 4          # data_timeout
    HEARD = 7

    # Bits of Receiver._late.
    LATE_FRAME = 1              # the incoming frame stood unfinished at the last look
    LATE_MESSAGE = 2            # the same for the message, between two fragments
    LATE_DATA = 4               # no data frame since the last look

cdef class Receiver(Dispatcher):
    cdef:
        ws_parser _parser
        Py_ssize_t _taken           # bytes that were received
        Witness _witness            # is shown what is received, or None
        bytes _block                # payload of a frame that is incomplete, else None
        Py_ssize_t _block_size      # bytes of it that are there
        ws_frame_header _header     # of that frame
        unsigned int _arrived       # messages that have begun and are not in _totals yet
        uint8_t _head[14]           # the beginning of a header that is incomplete
        uint8_t _head_size
        uint8_t _heard              # HEARD_*: bytes came since the last look
        uint8_t _late               # LATE_*: what has not come since before the last look

    cdef int _begin_receiving(self, WSOptions options, bint is_client) except -1
    cdef int _begin_compression(self, Compression compression) except -1
    cdef int _set_listener(self, WSListener listener) except -1
    # From now on, or once it begins, the connection has a record with counts.
    cdef int _begin_counts(self) except -1
    # Add what has arrived to the counts now, not at the end of the read.
    cdef int _settle(self) noexcept
    cdef int _drop_block(self) noexcept
    cdef int _release_receiver(self) except -1
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
    cdef int _read_raised(self) except -1
    cdef int _flush_after_read(self) except -1

    # Hooks of the rooms above
    cdef int _advance_handshake(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _ping_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _close_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _close_delivered(self, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _violated(self, int violation) except -1
    cdef int _no_memory(self, object size) except -1
    cdef int _dropped_by(self, object error) except -1
    cdef int _watch_stalls(self) except -1
    cdef double _now(self) except -1.0

cdef inline void set_witness(Receiver self, Witness witness) noexcept:
    self._witness = witness
    set_read_flags(self, self._read_flags & ~SHOWS | (SHOWS if witness is not None else 0))
