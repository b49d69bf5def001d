"""The rules for incoming frames and messages (RFC 6455, 5), without any memory policy.

Gated tier. Plain struct and functions; no GIL, no allocation. The caller owns all bytes:

1. ``ws_parser_header`` reads the header at the front of the received bytes and checks it
   against the rules and the state of the message under way;
2. ``ws_parser_payload`` is given the payload in one or more pieces, as they arrive, and
   unmasks them where they lie;
3. ``ws_parser_frame_end`` is called with the whole payload when it is complete.

A negative result is a ``ws_violation``: the connection fails with
``ws_violation_close_code(result)`` and the parser must not be used any further.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cimport picows_codec.abi
from picows_codec.frame cimport ws_frame_header
from picows_codec.utf8 cimport ws_utf8

cdef struct ws_parser:
    # Limits: set by the caller, 0 means unlimited.
    uint64_t max_frame_size         # bytes of payload of one frame
    uint64_t max_message_size       # bytes of payload of all fragments of a message
    uint64_t max_fragments          # frames per message
    uint8_t expect_masked           # 1 on a server, 0 on a client
    # The message under way; zero-initialised by ws_parser_init.
    uint8_t message_opcode          # WS_OP_TEXT or WS_OP_BINARY inside a message, else 0
    uint64_t message_size           # bytes announced so far
    uint64_t fragments
    ws_utf8 utf8
    uint64_t _reserved[4]           # for what later rules may need; zero

cdef void ws_parser_init(ws_parser* self, bint expect_masked) noexcept nogil

# Size of the header at data (2 to 14) after a full check, or 0 if more bytes are needed, or a
# violation, which is reported as soon as the first two bytes show it.
cdef int ws_parser_header(
    ws_parser* self, const uint8_t* data, size_t size, ws_frame_header* header) noexcept nogil

# The next piece of the payload, at offset bytes from its start; unmasked in place.
cdef int ws_parser_payload(
    ws_parser* self, const ws_frame_header* header, uint8_t* data, size_t size,
    uint64_t offset) noexcept nogil

# The frame is complete; payload is all of it, unmasked.
cdef int ws_parser_frame_end(
    ws_parser* self, const ws_frame_header* header, const uint8_t* payload) noexcept nogil
