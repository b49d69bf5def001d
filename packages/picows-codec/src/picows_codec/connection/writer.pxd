"""Frames to bytes, and bytes to the transport. Private tier."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t

from picows_codec.buffers cimport ThreadBuffers, WriteBuffer
from picows_codec.connection.record cimport Record, record_sent
from picows_codec.connection.state cimport ConnectionState
from picows_codec.options cimport WSOptions
from picows_codec.totals cimport Totals, count_sent_bytes, count_sent_frames

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_Check(object value)
    bint PyMemoryView_Check(object value)
    Py_buffer* PyMemoryView_GET_BUFFER(object view)

# Values of Writer._burst. Nothing tells where a loop iteration begins; to be told of its end costs
# a callback of the loop. So it is asked for by the second frame in a row, without a
# read in between, and never for a frame that is alone in its iteration and answers something.
cdef enum:
    NOTHING_SENT = 0
    ONE_SENT = 1
    BURST = 2           # frames wait for _end_of_iteration

# Values of Writer._write_paused: above 0 while the transport's queue is above its high watermark.
cdef enum:
    NOT_PAUSED = 0
    PAUSED = 1
    PAUSE_DUE = 2       # the listener's pause_writing is called when the frame is complete

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

cdef class Witness:
    """What is shown the bytes of a connection."""

    # is_sent: else received. data[0:size] is valid during the call only.
    cdef int saw(self, bint is_sent, const uint8_t* data, Py_ssize_t size) except -1
    # The connection has ended.
    cdef int saw_end(self, object cause) except -1

cdef enum:
    # Bits of Writer._send_flags. Nothing is set for most connections and frames.
    FRAGMENTED = 1      # a fragmented message is being sent
    DEFLATES = 2        # data frames go through _compression
    DEFLATED = 4        # the fragmented message is compressed
    MANY = 8            # send_all deflates: the listener hears of a pause when all is sent
    WRITING = 16        # a write is under way: nothing else may be sent
    RECORDS = 32        # _record has counts of what is sent
    HOLDS = 64          # messages of a follower wait for the end of a fragmented message or a write

cdef inline const uint8_t* payload_of(object message, Py_ssize_t* size) except NULL:
    """Where the bytes of a payload lie: that of a bytes, a str or a contiguous memoryview."""
    cdef Py_buffer* view
    if PyBytes_CheckExact(message):
        size[0] = PyBytes_GET_SIZE(message)
        return <const uint8_t*> PyBytes_AS_STRING(message)
    if PyUnicode_Check(message):
        return <const uint8_t*> PyUnicode_AsUTF8AndSize(message, size)
    view = PyMemoryView_GET_BUFFER(message)
    size[0] = view.len
    return <const uint8_t*> view.buf if view.len else <const uint8_t*> b""

cdef class Writer(ConnectionState):
    cdef:
        ThreadBuffers _buffers
        WSOptions _options
        Totals _totals              # of the server, or else of the thread
        Record _record              # None unless somebody wants it
        Wire _wire                  # our own transport, or None
        object _transport_below     # the asyncio transport; _wire, if there is one
        object _write_below         # its write method where _wire is None
        object _loop
        WriteBuffer _pending        # frames held back by a cork, or None
        int _corks                  # depth of cork() blocks
        uint32_t _burst_read        # low bits of the thread's count of reads when _burst was set
        uint8_t _burst              # what was sent in this loop iteration: see writer.pyx
        uint8_t _coalesces          # coalesce_writes
        uint8_t _in_read            # inside the callback of a read
        uint8_t _more_to_come       # more frames of this read will be delivered: hold replies
        uint8_t _is_client
        uint8_t _write_paused       # NOT_PAUSED, PAUSED or PAUSE_DUE
        uint8_t _send_flags         # FRAGMENTED, DEFLATES, DEFLATED, MANY, WRITING, RECORDS, HOLDS
        uint8_t _unlimited          # the queue's limit does not count: the library sends a ping
        Py_ssize_t _counted_queue   # bytes of the write queue that _totals has
        Py_ssize_t _written         # bytes that the transport was given

    cdef int _begin_writing(
        self, object loop, WSOptions options, bint is_client, Totals totals) except -1
    cdef int _begin_record(self) except -1
    cdef int _attach(self, object transport) except -1
    # From now on write to this wire, or if it is None, by this method.
    cdef int _divert(self, Wire wire, object write) except -1
    cdef int _release_writer(self) except -1

    cdef int check_thread(self) except -1
    cdef int cork(self) except -1
    cdef int uncork(self) except -1

    cdef bint _joins_burst(self) except -1
    # owner: see Wire; it may also be a str.
    cdef int _emit(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size, object owner) except -1
    cdef int _emit_bytes(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size) except -1
    # What the functions of the same names in Sender send.
    cdef int _emit_all(self, uint8_t first_byte, tuple payloads) except -1
    cdef int _emit_shared(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size, bytes frame) except -1
    cdef int _emit_in_place(
        self, uint8_t first_byte, uint8_t* payload, Py_ssize_t size) except -1
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
    # So many bytes of the connection wait for the kernel now.
    cdef int _note_queue(self, Py_ssize_t size) noexcept

    # Hooks of the rooms above
    cdef int _queue_overflow(self, Py_ssize_t size) except -1
    cdef int _write_failed(self, object error) except -1
    cdef int _report_pause(self) except -1

# Frames are about to be sent. In the functions that send them this takes fewer instructions than in
# those that emit them; where _send_flags are known to be 0, count_sent_frames is all of it.
cdef inline void count_sent(Writer self, uint8_t first_byte, Py_ssize_t frames) noexcept:
    count_sent_frames(<void*> self._totals, frames)
    if self._send_flags & RECORDS:
        record_sent(<void*> self._record, first_byte, frames)

cdef inline void count_written(Writer self, Py_ssize_t size) noexcept:
    self._written += size
    count_sent_bytes(<void*> self._totals, size)

cdef inline void set_send_flags(Writer self, uint8_t flags) noexcept:
    self._send_flags = flags

# What the receiver tells the writer, per read and per frame.

cdef inline void begin_read(Writer self) noexcept:
    self._in_read = True

cdef inline void end_read(Writer self) noexcept:
    self._more_to_come = False
    self._in_read = False
    if self._burst == ONE_SENT:
        self._burst = NOTHING_SENT

cdef inline void expect_more(Writer self, bint more) noexcept:
    self._more_to_come = more
