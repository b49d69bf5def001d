"""The outgoing half of a connection: rules, encoding, corking, hand-over to the transport."""

from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ThreadBuffers, WriteBuffer
from picows_codec.core cimport Core

# Values of Sender._burst. Where a turn of the loop begins is not known; to be told of its end costs
# a callback of the loop. So it is asked for by the second frame in a row, without a
# read in between, and never for a frame that is alone in its turn and answers something.
cdef enum:
    NOTHING_SENT = 0
    ONE_SENT = 1
    BURST = 2           # frames wait for _end_of_turn

cdef class Wire:
    """What a transport of our own offers beneath asyncio's interface: writes without objects."""

    cdef Py_ssize_t queue_size      # bytes accepted that the kernel has not taken yet

    # Write now what the kernel takes and queue the rest: a copy, or a reference to ``owner``, which
    # keeps data where and as it is, or is None. Errors of the socket end the connection later, as
    # with asyncio's transports; they are not raised here.
    cdef int write_bytes(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int write_two(
        self, const uint8_t* head, Py_ssize_t head_size,
        const uint8_t* data, Py_ssize_t size, object owner) except -1

cdef class Sender(Core):
    cdef:
        ThreadBuffers _buffers
        Wire _wire                  # our own transport, or None
        object _transport_below     # the asyncio-shaped transport; _wire, if there is one
        object _write_below         # its write method where _wire is None
        WriteBuffer _pending        # frames held back by a cork, or None
        int _corks                  # depth of cork() blocks
        bint _coalesces             # coalesce_writes
        bint _in_read               # inside the callback of a read
        uint8_t _burst              # what was sent since the last turn of the loop: see sender.pyx
        Py_ssize_t _burst_limit     # bytes that may be held back
        unsigned long _burst_read   # the thread's count of reads at that time
        bint _more_to_come          # more frames of this read will be delivered: hold replies
        bint _is_client
        bint _may_send              # open, and no CLOSE sent
        bint _close_sent
        bint _write_paused
        bint _pause_due             # the listener has yet to be told, once the frame is complete
        uint8_t _fragmented         # a fragmented message is being sent
        bint _unlimited             # a ping of the library is sent: the queue's limit is not its
        Py_ssize_t _max_write_queue
        Py_ssize_t _written         # bytes that the transport was given
        bytes _close_payload_sent

    cdef int _check_frame(
        self, int opcode, bint fin, const uint8_t* payload, Py_ssize_t size) except -1
    cdef bint _joins_burst(self) except -1
    cdef int _emit(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size, object owner) except -1
    cdef int _emit_bytes(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _flush(self) except -1
    cdef int _write(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _write_below_now(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _write_raised(self) except -1
    cdef int _write_two(
        self, const uint8_t* head, Py_ssize_t head_size,
        const uint8_t* data, Py_ssize_t size, object owner) except -1
    cdef Py_ssize_t _queue_size(self) except -1
    cdef Py_ssize_t _queue_below(self) except -1
    cdef int _send_close(self, const uint8_t* payload, Py_ssize_t size) except -1

    # Hooks that the endpoint fills in.
    cdef int _call_at_end_of_turn(self) except -1
    cdef int _close_was_sent(self) except -1
    cdef int _queue_overflow(self, Py_ssize_t size) except -1
    cdef int _write_failed(self, object error) except -1
    cdef int _report_pause(self) except -1
    cdef str _state_name(self)
