"""The outgoing half of a connection: which frames may be sent, and which are compressed first.

Called per frame; watched by the outbound and echo benches.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t

from picows_codec.buffers cimport current_thread
from picows_codec.close cimport ws_check_close_payload
from picows_codec.connection.state cimport MAY_SEND, SENDS_CLOSE
from picows_codec.connection.writer cimport (
    DEFLATED,
    DEFLATES,
    FRAGMENTED,
    HOLDS,
    MANY,
    PAUSE_DUE,
    RECORDS,
    WRITING,
    Writer,
    count_sent,
    payload_of,
    set_send_flags,
)
from picows_codec.constants cimport (
    WS_MAX_CONTROL_PAYLOAD_SIZE,
    WS_OP_BINARY,
    WS_OP_CLOSE,
    WS_OP_CONTINUATION,
    WS_OP_PONG,
    WS_OP_TEXT,
    ws_opcode_member,
    ws_violation_text,
)
from picows_codec.totals cimport count_sent_frames, count_sent_rest

from picows_codec.errors import WSInvalidCloseError, WSInvalidFrameError, WSStateError


cdef class Compression:
    cdef bint deflates(self) noexcept:
        return False

    cdef bint wants(self, Py_ssize_t size) noexcept:
        return False

    cdef bytes deflate(self, const uint8_t* payload, Py_ssize_t* size, bint first, bint fin):
        raise NotImplementedError

    cdef int passed_by(self) noexcept:
        return 0

    cdef int prepared_window_bits(self) noexcept:
        return 0

    cdef bint takes(self, uint8_t opcode, uint8_t rsv, bint fin) noexcept:
        return False

    cdef bytes inflate(
            self, uint8_t opcode, bint fin, const uint8_t* payload, Py_ssize_t size,
            int* violation):
        raise NotImplementedError

    cdef bint fills_batch(self, Py_ssize_t size, unsigned long read) noexcept:
        return False


cdef inline bint _is_in_order(Sender self, int opcode) noexcept:
    """What is true for nearly every frame that is sent, and replaces all other checks."""
    return (
        current_thread() == self._buffers.thread_id
        and (opcode == WS_OP_BINARY or opcode == WS_OP_TEXT) and self._state & MAY_SEND
        and not self._send_flags)


cdef class Sender(Writer):
    cdef int _set_compression(self, Compression compression) except -1:
        self._compression = compression
        if compression.deflates():
            set_send_flags(self, self._send_flags | DEFLATES)
        return 0

    cdef int _release_sender(self) except -1:
        self._compression = None
        return self._release_writer()

    # What a caller may do

    cdef int _check_frame(
            self, int opcode, bint fin, const uint8_t* payload, Py_ssize_t size) except -1:
        """Check everything of a frame to be sent, except its text."""
        cdef int code
        cdef int violation
        self.check_thread()
        if self._send_flags & WRITING:
            raise WSStateError(
                f"cannot send {ws_opcode_member(opcode)!r} while another frame is being written: a"
                " finalizer, a signal handler or a logging handler must not send")
        if (
                self._send_flags & HOLDS and not self._send_flags & FRAGMENTED
                and 1 <= opcode <= 2):
            self._release_held()
        if not self._state & MAY_SEND:
            if (
                    opcode == WS_OP_CLOSE and self._was_close_sent()
                    and self._transport_below is not None):
                return 0
            raise WSStateError(
                f"cannot send {ws_opcode_member(opcode)!r}: "
                + ("a CLOSE frame has been sent" if self._was_close_sent()
                   else f"the connection is {self._state_name()}"))
        if opcode & 0x08:
            if <unsigned int> opcode > WS_OP_PONG:
                raise WSInvalidFrameError(
                    f"opcode {opcode} is reserved: use PING, PONG or CLOSE")
            if not fin:
                raise WSInvalidFrameError("a control frame cannot be fragmented: leave fin True")
            if size > WS_MAX_CONTROL_PAYLOAD_SIZE:
                raise WSInvalidFrameError(
                    f"the payload of a control frame has at most {WS_MAX_CONTROL_PAYLOAD_SIZE}"
                    f" bytes, not {size}: send data in TEXT or BINARY frames")
            if opcode == WS_OP_CLOSE:
                violation = ws_check_close_payload(payload, size, &code)
                if violation < 0:
                    raise WSInvalidCloseError(
                        f"invalid payload of a CLOSE frame, {(<const char*> payload)[:size]!r}: "
                        f"{ws_violation_text(violation).decode('ascii')}; see send_close()")
            return 0
        if opcode == WS_OP_CONTINUATION:
            if not self._send_flags & FRAGMENTED:
                raise WSInvalidFrameError(
                    "there is no fragmented message to continue: begin with TEXT or BINARY and"
                    " fin=False")
        elif <unsigned int> opcode > WS_OP_BINARY:
            raise WSInvalidFrameError(f"opcode {opcode} is reserved: use TEXT or BINARY")
        elif self._send_flags & FRAGMENTED:
            raise WSInvalidFrameError(
                "a fragmented message is under way: continue it with CONTINUATION frames, the last"
                " one with fin=True")
        return 0

    cdef int send_frame(
            self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
            object owner) except -1:
        if not _is_in_order(self, opcode):
            return self._send_checked(opcode, fin, rsv, payload, size, owner)
        set_send_flags(self, not fin)
        count_sent_frames(<void*> self._totals, 1)
        return self._emit(
            <uint8_t> ((0x80 if fin else 0) | (rsv & 7) << 4 | opcode), payload, size,
            owner)

    cdef int _send_checked(
            self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
            object owner) except -1:
        """Send a frame that needs all checks, or more than to be sent."""
        self._check_frame(opcode, fin, payload, size)
        if opcode == WS_OP_CLOSE:
            return self._send_close(SENDS_CLOSE, payload, size)
        if self._send_flags & HOLDS and opcode == WS_OP_CONTINUATION:
            return self._send_fragment(fin, rsv, payload, size, owner)
        if not opcode & 0x08:
            if self._send_flags & DEFLATES:
                return self._send_deflated(opcode, fin, rsv, payload, size, owner)
            set_send_flags(self, self._send_flags & RECORDS | (not fin))
        if not 1 <= opcode <= 2:
            count_sent_rest(<void*> self._totals)
        count_sent(self, <uint8_t> opcode, 1)
        return self._emit(
            <uint8_t> ((0x80 if fin else 0) | (rsv & 7) << 4 | opcode), payload, size,
            owner)

    cdef int send_in_place(
            self, int opcode, bint fin, int rsv, uint8_t* payload, Py_ssize_t size) except -1:
        if opcode & 0x08:
            return self.send_frame(opcode, fin, rsv, payload, size, None)
        if not _is_in_order(self, opcode):
            self._check_frame(opcode, fin, payload, size)
            if self._send_flags & HOLDS:
                return self._send_fragment(fin, rsv, payload, size, None)
            if self._send_flags & DEFLATES:
                return self._send_deflated(opcode, fin, rsv, payload, size, None)
            if not 1 <= opcode <= 2:
                count_sent_rest(<void*> self._totals)
        set_send_flags(self, self._send_flags & RECORDS | (not fin))
        count_sent(self, <uint8_t> opcode, 1)
        return self._emit_in_place(
            <uint8_t> ((0x80 if fin else 0) | (rsv & 7) << 4 | opcode), payload, size)

    cdef int _send_deflated(
            self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
            object owner) except -1:
        """Send a data frame where permessage-deflate was negotiated (RFC 7692, 6)."""
        cdef bint first = opcode != WS_OP_CONTINUATION
        cdef bint is_deflated
        cdef Py_ssize_t plain_size = size
        cdef uint8_t first_byte
        cdef bytes data = None
        # Kept, because the garbage collector may run meanwhile, and a finalizer may disconnect.
        cdef Compression compression = self._compression
        if not first:
            is_deflated = self._send_flags & DEFLATED != 0
        elif rsv & 4:
            compression.passed_by()     # the caller has compressed it
            is_deflated = False
        else:
            is_deflated = compression.wants(size)
        if is_deflated:
            data = compression.deflate(payload, &size, first, fin)
            if not self._state & MAY_SEND:
                self._check_frame(opcode, fin, payload, plain_size)     # which raises
        if data is not None:
            payload = <const uint8_t*> PyBytes_AS_STRING(data)
            owner = data
            if first:
                rsv |= 4
        else:
            size = plain_size
        set_send_flags(self, DEFLATES | self._send_flags & (MANY | RECORDS | HOLDS))
        if not fin:
            set_send_flags(self, self._send_flags | FRAGMENTED | (DEFLATED if is_deflated else 0))
        if not first:
            count_sent_rest(<void*> self._totals)
        first_byte = <uint8_t> ((0x80 if fin else 0) | (rsv & 7) << 4 | opcode)
        count_sent(self, first_byte, 1)
        return self._emit(first_byte, payload, size, owner)

    cdef int _send_fragment(
            self, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
            object owner) except -1:
        """Send a CONTINUATION frame of a message whose end others wait for."""
        if self._send_flags & DEFLATES:
            self._send_deflated(WS_OP_CONTINUATION, fin, rsv, payload, size, owner)
        else:
            set_send_flags(
                self, self._send_flags & RECORDS | HOLDS | (0 if fin else FRAGMENTED))
            count_sent_rest(<void*> self._totals)
            count_sent(self, WS_OP_CONTINUATION, 1)
            self._emit(
                <uint8_t> ((0x80 if fin else 0) | (rsv & 7) << 4), payload, size, owner)
        return self._release_held() if fin else 0

    cdef int send_all(self, int opcode, tuple payloads) except -1:
        if not _is_in_order(self, opcode):
            self._check_frame(opcode, True, NULL, 0)
        if not payloads:
            return 0
        if self._send_flags & DEFLATES:
            return self._send_all_deflated(opcode, payloads)
        count_sent(self, <uint8_t> opcode, len(payloads))
        return self._emit_all(<uint8_t> (0x80 | opcode), payloads)

    cdef int _send_all_deflated(self, int opcode, tuple payloads) except -1:
        cdef const uint8_t* payload
        cdef Py_ssize_t size
        self.cork()
        set_send_flags(self, self._send_flags | MANY)
        try:
            for message in payloads:
                payload = payload_of(message, &size)
                self._send_deflated(opcode, True, 0, payload, size, None)
                if not self._state & MAY_SEND:      # the queue has passed its limit
                    break
        finally:
            set_send_flags(self, self._send_flags & ~MANY)
            self.uncork()
        return self._report_pause() if self._write_paused == PAUSE_DUE else 0

    cdef int send_shared(
            self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size,
            bytes frame) except -1:
        if not _is_in_order(self, first_byte & 0x0F):
            self._check_frame(first_byte & 0x0F, True, payload, size)
        count_sent(self, first_byte, 1)
        return self._emit_shared(first_byte, payload, size, frame)

    cdef int _send_close(
            self, ws_event event, const uint8_t* payload, Py_ssize_t size) except -1:
        """Do what the event does, and send its CLOSE frame if there has been none (5.5.1)."""
        if not self._state & MAY_SEND:
            return self._advance(event)
        self._advance_by_sent_close(event, (<const char*> payload)[:size])
        count_sent(self, WS_OP_CLOSE, 1)
        count_sent_rest(<void*> self._totals)
        self._emit(0x80 | WS_OP_CLOSE, payload, size, None)
        return self._close_was_sent()

    # Hooks

    cdef int _close_was_sent(self) except -1:
        raise NotImplementedError

    cdef int _release_held(self) except -1:
        raise NotImplementedError
