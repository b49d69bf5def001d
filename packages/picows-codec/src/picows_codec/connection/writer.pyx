"""Frames to bytes: encoding, corking, hand-over to the transport.

A frame is put together in the thread's write buffer, header and payload in one pass (masked on a
client), and leaves at once, unless a cork, a read with more frames to deliver, or a burst holds it
back. Called per frame; watched by the outbound and echo benches.

A burst (``coalesce_writes``): more than one frame within a callback of a read, or more than two in
one loop iteration. The first frame always leaves at once. The others leave together at the end of
the callback or the iteration: a write costs as much as many small frames (see the outbound
benches), so that even the last frame leaves earlier than after a write for each.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from picows_codec.buffers cimport WriteBuffer, current_thread, set_used, thread_buffers
from picows_codec.connection.record cimport new_record
from picows_codec.connection.state cimport ConnectionState
from picows_codec.constants cimport WS_MAX_HEADER_SIZE, WS_OP_CLOSE
from picows_codec.frame_header cimport ws_encode_frame_header
from picows_codec.mask cimport ws_mask, ws_mask_copy, ws_masking_key
from picows_codec.options cimport WSOptions
from picows_codec.totals cimport Totals, move_queue

from picows_codec.errors import WSThreadError

cdef enum:
    # A larger payload goes out with a gather write; for a smaller one, the copy is cheaper.
    GATHER_SIZE = 16384
    # A loop's own transport gets at most this at once: four TLS records, because the allocator has
    # so much memory at hand, but asks the kernel for a megabyte page by page. It is no whole number
    # of pages, because OpenSSL's buffer often comes next in memory, and some processors (Zen) copy
    # thirty times slower to an address with the same place in its page, plus a few bytes.
    PIECE_SIZE = 64512


cdef WSOptions _DEFAULTS = WSOptions()

ctypedef int (*writing)(Wire, const uint8_t*, Py_ssize_t) noexcept
ctypedef int (*sharing)(Wire, bytes) noexcept
ctypedef int (*overflowing)(
    Writer, WriteBuffer, const uint8_t*, Py_ssize_t, object, const uint8_t*) noexcept


cdef class Wire:
    cdef int write_bytes(self, const uint8_t* data, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int write_two(
            self, const uint8_t* head, Py_ssize_t head_size,
            const uint8_t* data, Py_ssize_t size, object owner) except -1:
        raise NotImplementedError

    cdef int write_shared(self, bytes data) except -1:
        raise NotImplementedError

    cdef Py_ssize_t queue_size(self) except -1:
        raise NotImplementedError


cdef class Witness:
    cdef int saw(self, bint is_sent, const uint8_t* data, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int saw_end(self, object cause) except -1:
        raise NotImplementedError


cdef int _write_bytes(Wire wire, const uint8_t* data, Py_ssize_t size) except -1:
    return wire.write_bytes(data, size)


cdef int _write_shared(Wire wire, bytes data) except -1:
    return wire.write_shared(data)


cdef inline int _write_now(Writer self, const uint8_t* data, Py_ssize_t size) except -1:
    if self._wire is None:
        return self._write_below_now(data, size)
    count_written(self, size)
    if (<writing> _write_bytes)(self._wire, data, size) < 0:
        self._write_raised()
    return 0


cdef inline int _put(
        Writer self, WriteBuffer buffer, uint8_t first_byte, const uint8_t* payload,
        Py_ssize_t size, object owner) except -1:
    """Append a frame to the buffer, which has room for a header; write what does not fit."""
    cdef uint8_t key[4]
    if not self._is_client:
        set_used(buffer, buffer.used + ws_encode_frame_header(
            buffer.data + buffer.used, first_byte, size, NULL))
        if size > GATHER_SIZE or size > buffer.capacity - buffer.used:
            return _overflow(self, buffer, payload, size, owner, NULL)
        memcpy(buffer.data + buffer.used, payload, size)
        set_used(buffer, buffer.used + size)
        return 0
    ws_masking_key(key)
    set_used(buffer, buffer.used + ws_encode_frame_header(
        buffer.data + buffer.used, first_byte, size, key))
    if size > buffer.capacity - buffer.used:
        return _overflow(self, buffer, payload, size, None, key)
    ws_mask_copy(buffer.data + buffer.used, payload, size, key, 0)
    set_used(buffer, buffer.used + size)
    return 0


cdef int _overflow(
        Writer self, WriteBuffer buffer, const uint8_t* payload, Py_ssize_t size, object owner,
        const uint8_t* key) except -1:
    """A payload is too large for what is left of the buffer, which has its header."""
    cdef int result
    self._send_flags |= WRITING
    if key != NULL:
        result = (<overflowing> _write_large)(self, buffer, payload, size, owner, key)
    else:
        result = (<overflowing> _write_plain)(self, buffer, payload, size, owner, key)
    self._send_flags &= ~WRITING
    return result


cdef int _write_plain(
        Writer self, WriteBuffer buffer, const uint8_t* payload, Py_ssize_t size, object owner,
        const uint8_t* key) except -1:
    """Write what is in the buffer, and a server's payload after it, or begin the next with that."""
    if size > GATHER_SIZE:
        self._write_two(buffer.data, buffer.used, payload, size, owner)
        set_used(buffer, 0)
        return 0
    self._write(buffer.data, buffer.used)
    memcpy(buffer.data, payload, size)
    set_used(buffer, size)
    return 0


cdef int _write_large(
        Writer self, WriteBuffer buffer, const uint8_t* payload, Py_ssize_t size, object owner,
        const uint8_t* key) except -1:
    """Write a client's payload that does not fit into the buffer, after what is in the buffer."""
    cdef WriteBuffer large = self._buffers.take_large()
    cdef Py_ssize_t used = buffer.used
    cdef Py_ssize_t offset = 0
    cdef Py_ssize_t piece
    memcpy(large.data, buffer.data, used)
    set_used(buffer, 0)
    while True:
        piece = min(large.capacity - used, size - offset)
        ws_mask_copy(large.data + used, payload + offset, piece, key, offset)
        self._write(large.data, used + piece)
        offset += piece
        used = 0
        if offset == size:
            break
    self._buffers.give_large(large)
    return 0


cdef class Writer(ConnectionState):
    """Without a transport below it belongs to a WSTransport that the library did not make."""

    def __cinit__(self, *args, **options):
        self._buffers = thread_buffers()
        self._options = _DEFAULTS
        self._totals = self._buffers.totals

    @property
    def is_client_side(self):
        """See :attr:`WSTransport.is_client_side`."""
        with cython.critical_section(self):
            return self._is_client != 0

    @property
    def underlying_transport(self):
        """See :attr:`WSTransport.underlying_transport`."""
        self.check_thread()
        return self._transport_below

    @property
    def write_queue_size(self):
        """See :attr:`WSTransport.write_queue_size`."""
        self.check_thread()
        return self._queue_size()

    # Beginning and end

    cdef int _begin_writing(
            self, object loop, WSOptions options, bint is_client, Totals totals) except -1:
        self._buffers = thread_buffers()
        self._options = options
        self._totals = self._buffers.totals if totals is None else totals
        self._loop = loop
        self._is_client = is_client
        self._coalesces = options.coalesce_writes
        return 0

    cdef int _begin_record(self) except -1:
        if self._record is None:
            self._record = new_record()
        return 0

    cdef int _attach(self, object transport) except -1:
        self._transport_below = transport
        if isinstance(transport, Wire):
            self._wire = transport
        else:
            self._write_below = transport.write
        return 0

    cdef int _divert(self, Wire wire, object write) except -1:
        self._wire = wire
        self._write_below = write
        return 0

    cdef int _release_writer(self) except -1:
        self._drop_pending()
        self._transport_below = self._write_below = self._wire = None
        return 0

    cdef int check_thread(self) except -1:
        if current_thread() != self._buffers.thread_id:
            raise WSThreadError(
                "a connection may only be used on the thread of its event loop: use"
                " loop.call_soon_threadsafe() to get there, or for a coroutine"
                " asyncio.run_coroutine_threadsafe()")
        return 0

    # Corking

    cdef int cork(self) except -1:
        self.check_thread()
        self._corks += 1
        return 0

    cdef int uncork(self) except -1:
        self.check_thread()
        if self._corks:
            self._corks -= 1
        if (
                self._corks == 0 and not self._more_to_come and self._pending is not None
                and not self._send_flags & WRITING):
            self._flush()
        return 0

    # Frames to bytes

    cdef bint _joins_burst(self) except -1:
        """Whether the frame about to be sent waits for others of the same loop iteration."""
        if self._write_paused:
            return False        # it goes to the queue, without a system call
        if self._burst == NOTHING_SENT or self._burst_read != <uint32_t> self._buffers.reads:
            if self._burst != BURST:
                self._burst = ONE_SENT
            self._burst_read = <uint32_t> self._buffers.reads
            return self._burst == BURST
        if self._in_read or self._burst == BURST:
            # Held bytes count for the watermark, so that pause_writing is not late.
            return self._pending is None or (
                self._pending.used < self._options.write_high_watermark)
        self._loop.call_soon(self._end_of_iteration)
        self._burst = BURST
        return False

    def _end_of_iteration(self):
        """The next loop iteration has begun: send what was held back."""
        self._burst = NOTHING_SENT
        if self._pending is not None and self._corks == 0 and not self._more_to_come:
            self._flush()

    cdef int _emit(
            self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size,
            object owner) except -1:
        cdef WriteBuffer buffer = self._pending
        cdef bint held = (
            self._corks != 0 or self._more_to_come or (self._coalesces and self._joins_burst()))
        # A CLOSE frame and a ping of the library are accepted above the limit: there is only one of
        # each.
        if (self._write_paused and not self._unlimited and first_byte & 0x0F != WS_OP_CLOSE
                and self._queue_size() + size > self._options.max_write_queue_size):
            return self._queue_overflow(size)
        if buffer is None:
            if self._wire is None and not held:
                return self._emit_bytes(first_byte, payload, size)
            buffer = self._buffers.take_write()
        _put(self, buffer, first_byte, payload, size, owner)
        if held and buffer.used < buffer.capacity:
            self._pending = buffer
        else:
            self._pending = None
            if buffer.used:
                _write_now(self, buffer.data, buffer.used)
            self._buffers.give_write(buffer)
        return self._report_pause() if self._write_paused == PAUSE_DUE else 0

    cdef int _emit_bytes(
            self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size) except -1:
        """Make bytes objects for a loop's own transport, because it may keep what it gets."""
        cdef uint8_t header[WS_MAX_HEADER_SIZE]
        cdef uint8_t key[4]
        cdef int header_size
        cdef Py_ssize_t offset = 0
        cdef Py_ssize_t piece
        cdef bytes data
        cdef uint8_t* out
        if self._is_client:
            ws_masking_key(key)
        header_size = ws_encode_frame_header(
            header, first_byte, size, key if self._is_client else NULL)
        while True:
            piece = min(size - offset, PIECE_SIZE - header_size)
            data = PyBytes_FromStringAndSize(NULL, header_size + piece)
            out = <uint8_t*> PyBytes_AS_STRING(data)
            memcpy(out, header, header_size)
            if self._is_client:
                ws_mask_copy(out + header_size, payload + offset, piece, key, offset)
            else:
                memcpy(out + header_size, payload + offset, piece)
            count_written(self, header_size + piece)
            self._write_object(data)
            offset += piece
            if offset == size:
                return self._report_pause() if self._write_paused == PAUSE_DUE else 0
            header_size = 0

    cdef int _emit_all(self, uint8_t first_byte, tuple payloads) except -1:
        """Called per batch, and loops per message; watched by the outbound benches."""
        cdef WriteBuffer buffer
        cdef const uint8_t* payload
        cdef Py_ssize_t size
        cdef object message
        cdef bint held
        held = self._corks != 0 or self._more_to_come or (self._coalesces and self._joins_burst())
        if self._pending is None:
            self._pending = self._buffers.take_write()
        buffer = self._pending
        for message in payloads:
            payload = payload_of(message, &size)
            if PyMemoryView_Check(message):
                message = None      # its memory may change once it is sent
            if (
                    self._write_paused
                    and self._queue_size() + size > self._options.max_write_queue_size):
                return self._queue_overflow(size)
            _put(self, buffer, first_byte, payload, size, message)
            if buffer.used >= buffer.capacity:      # a header needs the room beyond that
                _overflow(self, buffer, buffer.data, 0, None, NULL)
        if held:
            return self._report_pause() if self._write_paused == PAUSE_DUE else 0
        return self._flush()

    cdef int _emit_shared(
            self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size,
            bytes frame) except -1:
        """Nothing is copied, unless it has to be masked or leaves together with other frames."""
        if self._is_client or self._corks or self._more_to_come or self._pending is not None:
            return self._emit(first_byte, payload, size, frame)
        if self._coalesces and self._joins_burst():
            self._pending = self._buffers.take_write()
            _put(self, self._pending, first_byte, payload, size, frame)
            return self._report_pause() if self._write_paused == PAUSE_DUE else 0
        if (
                self._write_paused
                and self._queue_size() + size > self._options.max_write_queue_size):
            return self._queue_overflow(size)
        count_written(self, PyBytes_GET_SIZE(frame))
        if self._wire is not None:
            if (<sharing> _write_shared)(self._wire, frame) < 0:
                self._write_raised()
            return self._report_pause() if self._write_paused == PAUSE_DUE else 0
        self._write_object(frame)
        return self._report_pause() if self._write_paused == PAUSE_DUE else 0

    cdef int _emit_in_place(
            self, uint8_t first_byte, uint8_t* payload, Py_ssize_t size) except -1:
        cdef uint8_t header[WS_MAX_HEADER_SIZE]
        cdef uint8_t key[4]
        cdef int header_size
        # Frames that are held back leave first and may call the listener, so this needs a copy.
        if (self._corks or self._more_to_come or self._wire is None
                or self._pending is not None):
            return self._emit(first_byte, payload, size, None)
        if (
                self._write_paused
                and self._queue_size() + size > self._options.max_write_queue_size):
            return self._queue_overflow(size)
        if self._is_client:
            ws_masking_key(key)
            ws_mask(payload, size, key, 0)
        header_size = ws_encode_frame_header(
            header, first_byte, size, key if self._is_client else NULL)
        memcpy(payload - header_size, header, header_size)
        self._write(payload - header_size, header_size + size)
        return self._report_pause() if self._write_paused == PAUSE_DUE else 0

    cdef int _hold(self, bytes data) except -1:
        """Begin the next write with bytes that are not a frame."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef const uint8_t* content = <const uint8_t*> PyBytes_AS_STRING(data)
        if size == 0:
            return 0
        self._pending = self._buffers.take_write()
        if size > self._pending.capacity:
            return self._write(content, size)
        memcpy(self._pending.data, content, size)
        set_used(self._pending, size)
        return 0

    cdef int _drop_pending(self) except -1:
        if self._pending is not None:
            self._buffers.give_write(self._pending)
            self._pending = None
        return 0

    # Bytes to the transport. If it raises, the stream has a gap, and the connection ends.

    cdef int _flush(self) except -1:
        """Hand over what was held back."""
        cdef WriteBuffer buffer = self._pending
        self._pending = None
        if buffer.used:
            self._write(buffer.data, buffer.used)
        self._buffers.give_write(buffer)
        return self._report_pause() if self._write_paused == PAUSE_DUE else 0

    cdef int _write(self, const uint8_t* data, Py_ssize_t size) except -1:
        return _write_now(self, data, size)

    cdef int _write_below_now(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Write to a loop's own transport what was held back, or a payload after its header."""
        cdef Py_ssize_t piece
        count_written(self, size)
        while size > 0 and self._write_below is not None:
            piece = min(size, PIECE_SIZE)
            self._write_object(PyBytes_FromStringAndSize(<const char*> data, piece))
            data += piece
            size -= piece
        return 0

    cdef int _write_object(self, bytes data) except -1:
        """Write to a loop's own transport. It is Python code, so the garbage collector and signal
        handlers may run in it: what they send would come into the middle of a frame."""
        self._send_flags |= WRITING
        try:
            self._write_below(data)
        except BaseException as error:
            self._write_failed(error)
            raise
        finally:
            self._send_flags &= ~WRITING
        return 0

    cdef int _write_raised(self) except -1:
        try:
            reraise()
        except BaseException as error:
            self._write_failed(error)
            raise

    cdef int _write_two(
            self, const uint8_t* head, Py_ssize_t head_size,
            const uint8_t* data, Py_ssize_t size, object owner) except -1:
        if self._wire is None:
            self._write(head, head_size)
            return self._write(data, size)
        count_written(self, head_size + size)
        try:
            return self._wire.write_two(head, head_size, data, size, owner)
        except BaseException as error:
            self._write_failed(error)
            raise

    cdef Py_ssize_t _queue_size(self) except -1:
        """Bytes accepted from the caller that the kernel has not taken."""
        cdef Py_ssize_t below = self._queue_below()
        if self._write_paused and self._wire is None:   # it is not ours, and tells nobody
            self._note_queue(below)
        return below + (self._pending.used if self._pending is not None else 0)

    cdef Py_ssize_t _queue_below(self) except -1:
        """Bytes that the transport was given and the kernel has not taken."""
        if self._wire is not None:
            return self._wire.queue_size()
        if self._transport_below is not None:
            return self._transport_below.get_write_buffer_size()
        return 0

    # The write queue

    cdef int _note_queue(self, Py_ssize_t size) noexcept:
        move_queue(<void*> self._totals, size - self._counted_queue)
        self._counted_queue = size
        return 0

    cdef int _exempt_from_limit(self, bint exempt) noexcept:
        self._unlimited = exempt
        return 0

    cdef int _pause(self) noexcept:
        """The transport's queue is above its high watermark."""
        self._write_paused = PAUSE_DUE
        return 0

    cdef int _pause_is_reported(self) noexcept:
        if self._write_paused:
            self._write_paused = PAUSED
        return 0

    cdef bint _resume(self) noexcept:
        """The queue is at its low watermark. Returns whether the listener heard of the pause."""
        cdef bint was_reported = self._write_paused != PAUSE_DUE
        self._write_paused = NOT_PAUSED
        return was_reported

    # Hooks

    cdef int _queue_overflow(self, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int _write_failed(self, object error) except -1:
        raise NotImplementedError

    cdef int _report_pause(self) except -1:
        raise NotImplementedError
