"""Masking of payloads and masking keys (RFC 6455, 5.3). Stable tier.

``key`` points at the 4 bytes of the masking key in wire order; ``phase`` is the offset of the
first byte within the payload (only ``phase & 3`` matters), so that a payload can be masked in
pieces. No alignment or padding is needed; nothing outside the given ranges is read or written.
"""

from libc.stdint cimport uint8_t

cimport picows_codec.abi

# XOR in place / XOR from src into dst (which must not overlap, unless they are equal).
cdef void ws_mask(
    uint8_t* data, size_t size, const uint8_t* key, size_t phase) noexcept nogil
cdef void ws_mask_copy(
    uint8_t* dst, const uint8_t* src, size_t size, const uint8_t* key, size_t phase) noexcept nogil

# A fresh masking key from the operating system's CSPRNG into out[0:4]; keys are drawn in blocks
# per thread and the block is dropped in a forked child. -1 with an exception if the system has no
# entropy.
cdef int ws_masking_key(uint8_t* out) except -1
