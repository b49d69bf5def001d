# cython: language_level=3
# cython: freethreading_compatible=True
"""Uses every room of the C-level API; abi_consumer_check.py runs it.

Cimports both ways: from the package, and from the file that has the name.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from picows_codec cimport (
    WS_ABI_EPOCH,
    WS_ABI_LEVEL,
    WSFrame,
    WSListener,
    WSPreparedMessage,
    WSTransport,
    ws_encode_frame_header,
    ws_frame_header,
    ws_frame_is_complete,
    ws_mask,
    ws_opcode,
    ws_parser,
)
from picows_codec.batch cimport WSBatchListener
from picows_codec.broadcasting cimport broadcast
from picows_codec.close cimport ws_check_close_payload, ws_close_code_allowed
from picows_codec.constants cimport (
    WS_MAX_HEADER_SIZE,
    WS_OP_BINARY,
    WS_OP_CONTINUATION,
    WS_OP_TEXT,
    ws_opcode_member,
    ws_violation_close_code,
)
from picows_codec.frames cimport WSMessage
from picows_codec.listener cimport WSMessageListener
from picows_codec.mask cimport ws_mask_copy, ws_masking_key
from picows_codec.parser cimport (
    ws_parser_frame_end,
    ws_parser_header,
    ws_parser_init,
    ws_parser_payload,
)
from picows_codec.utf8 cimport ws_utf8, ws_utf8_complete, ws_utf8_feed, ws_utf8_valid


compiled_against = (WS_ABI_EPOCH, WS_ABI_LEVEL)


cdef struct Counts:
    size_t frames
    size_t bytes
    int violation


cdef Counts count_frames(uint8_t* data, size_t size, bint is_server) noexcept nogil:
    """Parse, unmask and check all frames of a buffer: no Python, no socket."""
    cdef ws_parser parser
    cdef ws_frame_header header
    cdef Counts counts
    cdef int result
    counts.frames = counts.bytes = 0
    counts.violation = 0
    ws_parser_init(&parser, is_server)
    parser.max_frame_size = 1 << 20
    while ws_frame_is_complete(data, size):
        result = ws_parser_header(&parser, data, size, &header)
        if result <= 0:
            counts.violation = result
            break
        data += result
        size -= <size_t> result
        result = ws_parser_payload(&parser, &header, data, <size_t> header.payload_size, 0)
        if result == 0:
            result = ws_parser_frame_end(&parser, &header, data)
        if result < 0:
            counts.violation = result
            break
        counts.frames += 1
        counts.bytes += <size_t> header.payload_size
        data += header.payload_size
        size -= <size_t> header.payload_size
    return counts


def count(bytes data not None, bint is_server):
    """Frames, bytes of payload, and the close code for the first violation or 0."""
    cdef Counts counts
    cdef size_t size = <size_t> len(data)
    cdef uint8_t* copy = <uint8_t*> malloc(size or 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, PyBytes_AS_STRING(data), size)
    with nogil:
        counts = count_frames(copy, size, is_server)
    free(copy)
    code = ws_violation_close_code(counts.violation) if counts.violation else 0
    return counts.frames, counts.bytes, code


def build(ws_opcode opcode, bytes payload not None, bint masked, bint fin=True):
    """A frame, masked in place or not."""
    cdef uint8_t head[WS_MAX_HEADER_SIZE]
    cdef uint8_t key[4]
    cdef size_t size = <size_t> len(payload)
    cdef int head_size
    cdef bytes frame
    cdef uint8_t* body
    if masked:
        ws_masking_key(key)
    head_size = ws_encode_frame_header(
        head, <uint8_t> (fin << 7 | opcode), size, key if masked else NULL)
    frame = PyBytes_FromStringAndSize(NULL, head_size + <Py_ssize_t> size)
    body = <uint8_t*> PyBytes_AS_STRING(frame)
    memcpy(body, head, <size_t> head_size)
    memcpy(body + head_size, PyBytes_AS_STRING(payload), size)
    if masked:
        ws_mask(body + head_size, size, key, 0)
    return frame


def mask_in_pieces(bytes data not None, bytes key not None, size_t cut):
    """XOR into another buffer, in two pieces."""
    cdef size_t size = <size_t> len(data)
    cdef bytes result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> size)
    cdef uint8_t* target = <uint8_t*> PyBytes_AS_STRING(result)
    cdef const uint8_t* source = <const uint8_t*> PyBytes_AS_STRING(data)
    cdef const uint8_t* mask = <const uint8_t*> PyBytes_AS_STRING(key)
    with nogil:
        ws_mask_copy(target, source, cut, mask, 0)
        ws_mask_copy(target + cut, source + cut, size - cut, mask, cut)
    return result


def is_text(bytes data not None, size_t cut):
    """Whether the data is UTF-8, at once and in two pieces."""
    cdef ws_utf8 state
    cdef const uint8_t* text = <const uint8_t*> PyBytes_AS_STRING(data)
    cdef size_t size = <size_t> len(data)
    cdef bint whole, pieces
    state.state = 0
    with nogil:
        whole = ws_utf8_valid(text, size)
        pieces = (
            ws_utf8_feed(&state, text, cut)
            and ws_utf8_feed(&state, text + cut, size - cut)
            and ws_utf8_complete(&state))
    return whole, pieces


def close_code(bytes payload not None):
    """The code of a close payload, or the negative violation."""
    cdef int code
    cdef int result = ws_check_close_payload(
        <const uint8_t*> PyBytes_AS_STRING(payload), <size_t> len(payload), &code)
    return code if result == 0 else result


def may_close_with(int code):
    """Whether a close code may be sent."""
    return ws_close_code_allowed(code)


def member(int opcode):
    """The enum's member for an opcode."""
    return ws_opcode_member(opcode)


cdef class Echo(WSListener):
    """Answers TEXT by pointer and length, and BINARY out of a buffer of its own."""

    cdef readonly Py_ssize_t frames
    cdef readonly Py_ssize_t last_ones
    cdef uint8_t[WS_MAX_HEADER_SIZE + 256] room

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        self.frames += 1
        self.last_ones += frame.last_in_buffer
        if frame.wire_opcode == WS_OP_TEXT:
            transport.send_bytes(frame.wire_opcode, frame.payload_ptr, frame.payload_size)
        elif frame.wire_opcode == WS_OP_BINARY and frame.payload_size <= 256:
            memcpy(self.room + WS_MAX_HEADER_SIZE, frame.payload_ptr, <size_t> frame.payload_size)
            transport.send_reuse_external_buffer(
                WS_OP_BINARY, self.room + WS_MAX_HEADER_SIZE, frame.payload_size)


cdef class Whole(WSMessageListener):
    """Counts messages, whole ones."""

    cdef readonly Py_ssize_t messages
    cdef readonly Py_ssize_t bytes
    cdef readonly object last

    cpdef on_ws_message(self, WSTransport transport, WSMessage message):
        self.messages += 1
        self.bytes += message.payload_size
        if message.wire_opcode != WS_OP_CONTINUATION:
            self.last = message.get_payload_as_bytes()


cdef class Batches(WSBatchListener):
    """Answers the messages of a read, and tells a room of them."""

    cdef readonly Py_ssize_t batches
    cdef readonly Py_ssize_t heard
    cdef readonly Py_ssize_t prepared_size
    cdef public list room

    cpdef on_ws_batch(self, WSTransport transport, list messages):
        cdef WSPreparedMessage summary = WSPreparedMessage(WS_OP_TEXT, f"{len(messages)} messages")
        self.batches += 1
        self.prepared_size = summary.payload_size
        transport.send_many(WS_OP_TEXT, messages)
        transport.send_prepared(summary)
        if summary.payload_ptr[0] == c"0" + len(messages):
            self.heard = broadcast(self.room, summary)
