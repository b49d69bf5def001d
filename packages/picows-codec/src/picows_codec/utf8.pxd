"""UTF-8 validation (RFC 3629) in one go or in pieces. Stable tier."""

from libc.stdint cimport uint8_t, uint32_t

cimport picows_codec.abi

# Zero-initialise, or set state = 0, before the first piece.
cdef struct ws_utf8:
    uint32_t state      # 0: at a code point boundary

# 1 if the whole of data is valid UTF-8.
cdef bint ws_utf8_valid(const uint8_t* data, size_t size) noexcept nogil

# Feed the next piece: 1 while everything so far may begin a valid text, 0 as soon as it cannot
# (an invalid byte is found in the piece that holds it).
cdef bint ws_utf8_feed(ws_utf8* self, const uint8_t* data, size_t size) noexcept nogil

# 1 if no code point is left unfinished.
cdef inline bint ws_utf8_complete(const ws_utf8* self) noexcept nogil:
    return self.state == 0

# The same as to set state = 0; private.
cdef inline void _begin_text(ws_utf8* self) noexcept nogil:
    self.state = 0
