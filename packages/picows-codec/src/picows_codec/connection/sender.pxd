"""The outgoing half of a connection: rules, encoding, corking, hand-over to the transport."""

from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ThreadBuffers, WriteBuffer
from picows_codec.connection.state cimport ConnectionState, ws_event
from picows_codec.options cimport WSOptions

# Values of Sender._burst. Nothing tells where a loop iteration begins; to be told of its end costs
# a callback of the loop. So it is asked for by the second frame in a row, without a
# read in between, and never for a frame that is alone in its iteration and answers something.
cdef enum:
    NOTHING_SENT = 0
    ONE_SENT = 1
    BURST = 2           # frames wait for _end_of_iteration

# The path of a frame has no try block, because each costs some 30 instructions when nothing is
# raised. A function that may raise is called there through a pointer to one that may not, so its -1
# comes back to the caller with the exception set. The caller outside the path raises the exception
# by a call of this inside a try block.
cdef inline int reraise() except -1:
    return -1

cdef class Wire:
    """The part of our own transport below asyncio's interface: writes without objects."""

    # Write now what the kernel takes, and queue the rest: a reference to ``owner``, an immutable
    # object that data lies in, or a copy if it is None. Errors of the socket are not raised here;
    # they end the connection later, as with asyncio's transports.
    cdef int write_bytes(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int write_two(
        self, const uint8_t* head, Py_ssize_t head_size,
        const uint8_t* data, Py_ssize_t size, object owner) except -1

    # The same for what is sent to many: what the kernel does not take is queued by reference.
    cdef int write_shared(self, bytes data) except -1

    # Bytes accepted that the kernel has not taken yet.
    cdef Py_ssize_t queue_size(self) except -1

cdef enum:
    # Bits of Sender._fragmented. Nothing is set for most connections and frames.
    FRAGMENTED = 1      # a fragmented message is being sent
    DEFLATES = 2        # data frames go through _compression
    DEFLATED = 4        # the fragmented message is compressed
    MANY = 8            # send_all deflates: the listener hears of a pause when all is sent
    WRITING = 16        # a write is under way: nothing else may be sent

cdef class Compression:
    """What permessage-deflate does for a connection that negotiated it (RFC 7692).

    Made in ``deflate.extension``, which is not imported for others.
    """

    # Sending: whether anything is compressed, and whether a message is whose first frame has so
    # many bytes.
    cdef bint deflates(self) noexcept
    cdef bint wants(self, Py_ssize_t size) noexcept
    # The payload to send for a frame of size[0] bytes, and how many bytes of it; None: as it is.
    cdef bytes deflate(self, const uint8_t* payload, Py_ssize_t* size, bint first, bint fin)
    # A message is sent that was compressed elsewhere.
    cdef int passed_by(self) noexcept
    # With which window bits a message may be compressed elsewhere, without context takeover, to be
    # sent here with RSV1; 0: none may.
    cdef int prepared_window_bits(self) noexcept

    # Receiving: whether a data frame belongs to a compressed message, asked once per frame; and the
    # payload of one that does, or None and a violation.
    cdef bint takes(self, uint8_t opcode, uint8_t rsv, bint fin) noexcept
    cdef bytes inflate(
        self, uint8_t opcode, bint fin, const uint8_t* payload, Py_ssize_t size,
        int* violation)
    # Whether what a read was inflated to has become so large, with size bytes more, that a listener
    # that keeps it all should get it. read: the thread's count of reads.
    cdef bint fills_batch(self, Py_ssize_t size, unsigned long read) noexcept

cdef class Sender(ConnectionState):
    cdef:
        ThreadBuffers _buffers
        Wire _wire                  # our own transport, or None
        object _transport_below     # the asyncio transport; _wire, if there is one
        object _write_below         # its write method where _wire is None
        object _loop
        WriteBuffer _pending        # frames held back by a cork, or None
        int _corks                  # depth of cork() blocks
        bint _coalesces             # coalesce_writes
        bint _in_read               # inside the callback of a read
        uint8_t _burst              # what was sent in this loop iteration: see sender.pyx
        Py_ssize_t _burst_limit     # bytes that may be held back
        unsigned long _burst_read   # the thread's count of reads at that time
        bint _more_to_come          # more frames of this read will be delivered: hold replies
        bint _is_client
        bint _write_paused
        bint _pause_due             # call the listener's pause_writing when the frame is complete
        uint8_t _fragmented         # FRAGMENTED, DEFLATES, DEFLATED, MANY, WRITING
        bint _unlimited             # the queue's limit does not count: the library sends a ping
        Py_ssize_t _max_write_queue
        Py_ssize_t _written         # bytes that the transport was given
        Compression _compression    # None unless permessage-deflate was negotiated

    cdef int _begin_sending(self, object loop, WSOptions options, bint is_client) except -1
    cdef int _attach(self, object transport) except -1
    cdef int _set_compression(self, Compression compression) except -1
    cdef int _release_sender(self) except -1

    cdef int check_thread(self) except -1
    # owner: the bytes or str object that payload lies in, which may be queued instead of a copy; or
    # None.
    cdef int send_frame(
        self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
        object owner) except -1
    cdef int send_in_place(
        self, int opcode, bint fin, int rsv, uint8_t* payload, Py_ssize_t size) except -1
    # A message for each of the payloads: bytes, str, and memoryviews of contiguous bytes.
    cdef int send_all(self, int opcode, tuple payloads) except -1
    # A message. frame: what a server sends for it, of which payload[0:size] is the end.
    cdef int send_shared(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size, bytes frame) except -1
    cdef int cork(self) except -1
    cdef int uncork(self) except -1

    cdef int _check_frame(
        self, int opcode, bint fin, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _send_deflated(
        self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
        object owner) except -1
    cdef int _send_all_deflated(self, int opcode, tuple payloads) except -1
    cdef bint _joins_burst(self) except -1
    cdef int _emit(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size, object owner) except -1
    cdef int _emit_bytes(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _hold(self, bytes data) except -1
    cdef int _flush(self) except -1
    cdef int _drop_pending(self) except -1
    cdef int _exempt_from_limit(self, bint exempt) noexcept
    cdef int _pause(self) noexcept
    cdef int _pause_is_reported(self) noexcept
    cdef bint _resume(self) noexcept
    cdef int _write(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _write_below_now(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _write_object(self, bytes data) except -1
    cdef int _write_raised(self) except -1
    cdef int _write_two(
        self, const uint8_t* head, Py_ssize_t head_size,
        const uint8_t* data, Py_ssize_t size, object owner) except -1
    cdef Py_ssize_t _queue_size(self) except -1
    cdef Py_ssize_t _queue_below(self) except -1
    cdef int _send_close(self, ws_event event, const uint8_t* payload, Py_ssize_t size) except -1

    # Hooks of the rooms above
    cdef int _close_was_sent(self) except -1
    cdef int _queue_overflow(self, Py_ssize_t size) except -1
    cdef int _write_failed(self, object error) except -1
    cdef int _report_pause(self) except -1

# What the receiver tells the sender, per read and per frame.

cdef inline void begin_read(Sender self) noexcept:
    self._in_read = True

cdef inline void end_read(Sender self) noexcept:
    self._more_to_come = False
    self._in_read = False
    if self._burst == ONE_SENT:
        self._burst = NOTHING_SENT

cdef inline void expect_more(Sender self, bint more) noexcept:
    self._more_to_come = more
