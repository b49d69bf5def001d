"""The incoming half of a connection: bytes to frames.

Received bytes are parsed in place. An incomplete frame gets a block of its exact size, into which
the transport receives the rest. Called per read and per frame; watched by the echo and inbound
benches.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from picows_codec.buffers cimport (
    ReadBuffer,
    ThreadBuffers,
    count_read,
    keep_frame,
    lend_frame,
)
from picows_codec.connection.dispatcher cimport (
    BATCHES,
    COUNTS,
    GATHERS,
    INFLATES,
    LONG_WAY,
    SHOWS,
    TIMES,
    call_listener,
    deliver_frame,
    report_raised,
    set_read_flags,
)
from picows_codec.connection.record cimport record_heard, record_received
from picows_codec.connection.sender cimport Compression
from picows_codec.connection.state cimport CONNECTING, DELIVERS, READS
from picows_codec.connection.writer cimport (
    RECORDS,
    begin_read,
    end_read,
    expect_more,
    reraise,
    set_send_flags,
)
from picows_codec.constants cimport (
    WS_MAX_HEADER_SIZE,
    WS_OP_CLOSE,
    WS_OP_PING,
    WS_OP_TEXT,
    WS_VIOLATION_INVALID_UTF8,
)
from picows_codec.exports cimport picows_references
from picows_codec.frame_header cimport (
    _set_payload_size,
    ws_frame_header,
    ws_frame_is_complete,
)
from picows_codec.frames cimport WSFrame, _set_fin, _set_memory, _set_payload, _set_tail
from picows_codec.listener cimport WSListener
from picows_codec.mask cimport ws_mask
from picows_codec.options cimport WSOptions
from picows_codec.parser cimport (
    _allow_compression,
    _check_header,
    _end_frame,
    _most_of_a_run,
    _set_limits,
    _take_payload,
    _whole_message,
    ws_parser,
    ws_parser_init,
)
from picows_codec.totals cimport count_received, count_received_bytes, count_received_rest
from picows_codec.transport cimport WSTransport
from picows_codec.utf8 cimport ws_utf8_valid

ctypedef int (*taking_in)(Receiver, ReadBuffer, Py_ssize_t, Py_ssize_t) noexcept
ctypedef int (*ending)(Receiver) noexcept


cdef int _take_in(
        Receiver self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1:
    if self._state == CONNECTING or self._block is not None:
        self._take_rest(buffer, block_size, size)
    else:
        self._consume(buffer, buffer.data, size)
    return self._read_flags & (COUNTS | BATCHES)


cdef int _end_read(Receiver self) except -1:
    self._settle()
    return self._end_batch()


cdef inline void _add_arrived(Receiver self) noexcept:
    count_received(<void*> self._totals, self._arrived)
    self._arrived = 0


cdef inline void _count_frame(Receiver self, const ws_frame_header* header) noexcept:
    if 1 <= header.opcode <= 2:
        self._arrived += 1
        return
    count_received_rest(<void*> self._totals)
    if self._read_flags & COUNTS:
        record_received(<void*> self._record, 1, 0)


cdef Py_ssize_t _take_run(
        Receiver self, ReadBuffer buffer, uint8_t* data, Py_ssize_t size) except -1:
    """Deliver whole messages while one follows the other, as in most streams.

    Does in one pass, in a third of the instructions, what takes several steps for other frames; the
    look at what follows a frame is the check of the next one. Returns how many bytes it has taken,
    0 if no such message comes next.
    """
    cdef const ws_parser* parser = &self._parser
    cdef uint8_t mask_bit = <uint8_t> (parser.expect_masked << 7)
    cdef uint64_t limit = _most_of_a_run(parser)
    cdef uint8_t* start = data
    cdef Py_ssize_t header_size
    cdef Py_ssize_t length
    cdef ThreadBuffers buffers
    cdef WSFrame frame
    cdef WSListener listener
    cdef WSTransport transport
    cdef object callback
    cdef bint is_method
    cdef bint is_last
    length = _whole_message(data, size, mask_bit, limit, &header_size)
    if (
            length < 0 or parser.message_opcode != 0 or not self._state & DELIVERS
            or self._expects_pong or self._buffers.frame_is_lent):
        return 0
    buffers = self._buffers
    if buffers.frame is None:
        frame = <WSFrame> WSFrame.__new__(WSFrame)
        keep_frame(buffers, frame)
    else:
        frame = <WSFrame> buffers.frame
    _set_fin(frame, True)
    _set_memory(frame, None, buffer)
    listener = self._listener
    transport = self._transport
    callback = self._on_frame
    is_method = self._on_frame_is_method
    self._late = 0
    while True:
        if mask_bit:
            ws_mask(data + header_size, length, data + header_size - 4, 0)
        if data[0] == 0x80 | WS_OP_TEXT and not ws_utf8_valid(data + header_size, length):
            self._violated(WS_VIOLATION_INVALID_UTF8)
            return data - start + size
        self._arrived += 1
        _set_payload(frame, data[0] & 0x0F, data + header_size, length)
        data += header_size + length
        size -= header_size + length
        length = _whole_message(data, size, mask_bit, limit, &header_size)
        is_last = length < 0 and not (size >= 2 and self._more_deliverable(data, size))
        _set_tail(frame, size, is_last)
        expect_more(self, not is_last)
        lend_frame(buffers, True)
        if (
                call_listener(callback, is_method, listener, transport, frame) < 0
                and report_raised(self) < 0):
            self._hand_over_raised(frame)
        if picows_references(frame) != 2 or frame._exports != 0:
            self._frame_was_kept(frame)
            break
        lend_frame(buffers, False)
        if (
                length < 0 or self._state & (READS | DELIVERS) != READS | DELIVERS
                or self._expects_pong):
            break
    return data - start


cdef class Receiver(Dispatcher):
    # Beginning and end

    cdef int _begin_receiving(self, WSOptions options, bint is_client) except -1:
        self._begin_dispatching()
        ws_parser_init(&self._parser, not is_client)
        _set_limits(
            &self._parser, options.max_frame_size, options.max_message_size,
            options.max_fragments_per_message)
        return 0

    cdef int _begin_compression(self, Compression compression) except -1:
        self._set_compression(compression)
        _allow_compression(&self._parser)
        set_read_flags(self, self._read_flags | INFLATES)
        return 0

    cdef int _set_listener(self, WSListener listener) except -1:
        Dispatcher._set_listener(self, listener)
        self._heard = 0     # not since it is open
        return 0

    cdef int _begin_counts(self) except -1:
        self._begin_record()
        set_send_flags(self, self._send_flags | RECORDS)
        set_read_flags(
            self,
            self._read_flags | COUNTS | (TIMES if self._options.collect_stats else 0))
        return 0

    cdef int _settle(self) noexcept:
        if self._read_flags & COUNTS:
            record_received(<void*> self._record, self._arrived, self._arrived)
        _add_arrived(self)
        return 0

    cdef int _drop_block(self) noexcept:
        self._block = None
        return 0

    cdef int _release_receiver(self) except -1:
        self._release_dispatcher()
        self._block = None
        set_witness(self, None)
        return 0

    # For those who watch the peer

    cdef bint _has_heard(self, uint8_t bit) noexcept:
        cdef bint heard = self._heard & bit != 0
        self._heard &= ~bit
        return heard

    cdef int _mark_unfinished(self) noexcept:
        self._late &= LATE_DATA
        if self._block is not None or self._head_size != 0:
            self._late |= LATE_FRAME
        if self._read_flags & GATHERS and self._parser.message_opcode != 0:
            self._late |= LATE_MESSAGE
        return 0

    cdef int _mark_data(self, bint late) noexcept:
        if late:
            self._late |= LATE_DATA
        else:
            self._late &= ~LATE_DATA
        return 0

    # Bytes to frames

    cdef uint8_t* block_room(self, Py_ssize_t* room) noexcept:
        if self._block is None:
            room[0] = 0
            return NULL
        room[0] = PyBytes_GET_SIZE(self._block) - self._block_size
        return <uint8_t*> PyBytes_AS_STRING(self._block) + self._block_size

    cdef int received(self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1:
        """Called per read. Raises only what ends the connection: a BaseException of a listener, or
        an exception of the transport."""
        cdef int result
        self._heard = HEARD
        count_read(<void*> self._buffers)
        self._taken += block_size + size
        count_received_bytes(<void*> self._totals, block_size + size)
        if self._read_flags & (SHOWS | TIMES):
            self._note_read(buffer, block_size, size)
        if not self._state & READS:
            return 0
        begin_read(self)
        result = (<taking_in> _take_in)(self, buffer, block_size, size)
        if result != 0 and (result < 0 or (<ending> _end_read)(self) < 0):
            self._read_raised()
        _add_arrived(self)
        end_read(self)
        if self._pending is not None and self._corks == 0:
            self._flush_after_read()
        return 0

    cdef int _note_read(
            self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1:
        """The witness sees the bytes before the payloads are unmasked in place."""
        if self._witness is not None:
            if block_size:
                self._witness.saw(
                    False, <uint8_t*> PyBytes_AS_STRING(self._block) + self._block_size, block_size)
            if size:
                self._witness.saw(False, buffer.data, size)
        if self._read_flags & TIMES:
            record_heard(<void*> self._record, self._now())
        return 0

    cdef int _flush_after_read(self) except -1:
        try:
            self._flush()
        except BaseException as error:
            self._dropped_by(error)
            raise

    cdef int _read_raised(self) except -1:
        try:
            reraise()
        except BaseException as error:
            self._settle()
            end_read(self)
            try:
                if self._pending is not None and self._corks == 0:
                    self._flush()
            finally:
                self._dropped_by(error)
            raise

    cdef int _take_rest(
            self, ReadBuffer buffer, Py_ssize_t block_size, Py_ssize_t size) except -1:
        """The opening handshake, or the rest of a frame, and what comes after it."""
        cdef uint8_t* data = buffer.data
        cdef Py_ssize_t used
        cdef int violation
        if self._state == CONNECTING:
            used = self._advance_handshake(data, size)
            if self._state == CONNECTING:
                return 0
            data += used
            size -= used
        else:
            if block_size == 0:     # a transport that does not fill the block
                used = PyBytes_GET_SIZE(self._block) - self._block_size
                block_size = size if size < used else used
                memcpy(PyBytes_AS_STRING(self._block) + self._block_size, data, block_size)
                data += block_size
                size -= block_size
            violation = _take_payload(
                &self._parser, &self._header,
                <uint8_t*> PyBytes_AS_STRING(self._block) + self._block_size, block_size,
                self._block_size)
            self._block_size += block_size
            if violation < 0:
                return self._violated(violation)
            if self._block_size < PyBytes_GET_SIZE(self._block):
                return 0
            self._end_block(buffer, data, size)
        return self._consume(buffer, data, size)

    cdef int _consume(self, ReadBuffer buffer, uint8_t* data, Py_ssize_t size) except -1:
        """Take frames off data[0:size]; keep what is incomplete."""
        cdef Py_ssize_t used
        while size > 0 and self._state & READS:
            used = _take_run(self, buffer, data, size) if self._head_size == 0 else 0
            if used == 0:
                used = self._take_frame(buffer, data, size)
            data += used
            size -= used
        return 0

    cdef Py_ssize_t _take_frame(
            self, ReadBuffer buffer, uint8_t* data, Py_ssize_t size) except -1:
        """Take one frame that belongs to no run; return how many bytes that were, which are all if
        it is incomplete or breaks a rule. A method of its own, because in ``_consume`` its values
        would drive those of a run out of the processor's registers."""
        cdef ws_frame_header header
        cdef uint8_t* payload = data
        cdef Py_ssize_t used
        cdef Py_ssize_t rest = size
        cdef int result
        if self._head_size:
            used = WS_MAX_HEADER_SIZE - self._head_size
            if used > size:
                used = size
            memcpy(&self._head[self._head_size], data, used)
            result = _check_header(&self._parser, self._head, self._head_size + used, &header)
            if result == 0:
                self._head_size += <uint8_t> used
                self._watch_stalls()
                return size
            used = result - self._head_size
            self._head_size = 0
        else:
            result = _check_header(&self._parser, data, size, &header)
            if result == 0:
                memcpy(self._head, data, size)
                self._head_size = <uint8_t> size
                self._watch_stalls()
                return size
            used = result
        if result < 0:
            self._violated(result)
            return size
        payload += used
        rest -= used
        if header.payload_size > <size_t> rest:
            self._begin_block(&header, payload, rest)
            return size
        used = <Py_ssize_t> header.payload_size
        result = _take_payload(&self._parser, &header, payload, used, 0)
        if result == 0:
            result = _end_frame(&self._parser, &header, payload)
        if result < 0:
            self._violated(result)
            return size
        rest -= used
        _count_frame(self, &header)
        if (
                header.opcode & 0x08 or self._read_flags & LONG_WAY
                or not self._state & DELIVERS or self._expects_pong):
            self._frame_arrived(buffer, &header, payload, None, payload + used, rest)
        else:
            self._late = 0
            deliver_frame(self, buffer, &header, payload, None, payload + used, rest)
        return size - rest

    cdef int _begin_block(
            self, const ws_frame_header* header, uint8_t* data, Py_ssize_t size) except -1:
        """Get memory for a whole frame, of which data[0:size] has arrived."""
        cdef int violation
        self._header = header[0]
        try:
            self._block = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> header.payload_size)
        except (MemoryError, OverflowError):    # within the limit, but too large for this machine
            return self._no_memory(header.payload_size)
        self._block_size = size
        memcpy(PyBytes_AS_STRING(self._block), data, size)
        violation = _take_payload(
            &self._parser, header, <uint8_t*> PyBytes_AS_STRING(self._block), size, 0)
        return self._violated(violation) if violation < 0 else self._watch_stalls()

    cdef int _end_block(
            self, ReadBuffer buffer, const uint8_t* tail, Py_ssize_t tail_size) except -1:
        """The frame that was received piece by piece is complete."""
        cdef bytes block = self._block
        cdef ws_frame_header header = self._header
        cdef const uint8_t* payload = <const uint8_t*> PyBytes_AS_STRING(block)
        cdef int violation = _end_frame(&self._parser, &header, payload)
        self._block = None
        if violation < 0:
            return self._violated(violation)
        _count_frame(self, &header)
        return self._frame_arrived(buffer, &header, payload, block, tail, tail_size)

    cdef int _frame_arrived(
            self, ReadBuffer buffer, const ws_frame_header* header, const uint8_t* payload,
            object owner, const uint8_t* tail, Py_ssize_t tail_size) except -1:
        """A complete and valid frame. ``owner`` is its block, or None if it lies in ``buffer``."""
        cdef Py_ssize_t size = <Py_ssize_t> header.payload_size
        if header.opcode & 0x08:
            if self._read_flags & BATCHES and (
                    header.opcode == WS_OP_CLOSE or (
                        self._on_frame is not None and not (
                            header.opcode == WS_OP_PING and self._options.enable_auto_pong))):
                self._end_batch()       # the listener will see the frame, after what came before it
            self._late &= LATE_DATA | LATE_MESSAGE
        else:
            self._late &= LATE_DATA if self._expects_pong else 0    # _takes_pong decides
            if self._read_flags & LONG_WAY:
                if self._read_flags & GATHERS and not header.fin:
                    self._watch_stalls()
                if (
                        self._read_flags & INFLATES
                        and self._compression.takes(header.opcode, header.rsv, header.fin)):
                    if not self._state & DELIVERS:
                        return 0
                    return self._deliver_inflated(buffer, header, payload, tail, tail_size)
        if header.opcode == WS_OP_PING and self._options.enable_auto_pong:
            if tail_size and tail[0] & 0x0F == WS_OP_PING and ws_frame_is_complete(tail, tail_size):
                expect_more(self, True)     # pongs leave together, too
            return self._ping_arrived(payload, size)
        if header.opcode == WS_OP_CLOSE:
            self._close_arrived(payload, size)
        if self._state & DELIVERS:
            deliver_frame(self, buffer, header, payload, owner, tail, tail_size)
        if header.opcode == WS_OP_CLOSE:
            self._close_delivered(payload, size)
        return 0

    cdef int _deliver_inflated(
            self, ReadBuffer buffer, const ws_frame_header* header, const uint8_t* payload,
            const uint8_t* tail, Py_ssize_t tail_size) except -1:
        """A frame of a compressed message: the listener gets what it inflates to."""
        cdef ws_frame_header plain = header[0]
        cdef int violation = 0
        cdef bytes inflated
        # Kept, because the garbage collector may run meanwhile, and a finalizer may disconnect.
        cdef Compression compression = self._compression
        try:
            inflated = compression.inflate(
                header.opcode, header.fin, payload, <Py_ssize_t> header.payload_size, &violation)
        except MemoryError:
            return self._no_memory(header.payload_size)
        if not self._state & DELIVERS:
            return 0
        if violation < 0:
            return self._violated(violation)
        _set_payload_size(&plain, PyBytes_GET_SIZE(inflated))
        deliver_frame(
            self, buffer, &plain, <const uint8_t*> PyBytes_AS_STRING(inflated), inflated, tail,
            tail_size)
        if self._read_flags & BATCHES and compression.fills_batch(
                PyBytes_GET_SIZE(inflated), self._buffers.reads):
            return self._end_batch()
        return 0

    # Hooks

    cdef int _advance_handshake(self, const uint8_t* data, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int _ping_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int _close_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int _close_delivered(self, const uint8_t* payload, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int _violated(self, int violation) except -1:
        raise NotImplementedError

    cdef int _no_memory(self, object size) except -1:
        raise NotImplementedError

    cdef int _dropped_by(self, object error) except -1:
        raise NotImplementedError

    cdef int _watch_stalls(self) except -1:
        raise NotImplementedError

    cdef double _now(self) except -1.0:
        raise NotImplementedError
