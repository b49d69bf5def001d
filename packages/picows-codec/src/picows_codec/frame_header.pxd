"""Frame headers (RFC 6455, 5.2): struct, decode, encode. Stable tier, no GIL needed.

Called once per frame; watched by ``bench/micro``.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cimport picows_codec.abi
from picows_codec.constants cimport WS_VIOLATION_LENGTH_NOT_MINIMAL, WS_VIOLATION_LENGTH_TOP_BIT

cdef struct ws_frame_header:
    uint64_t payload_size   # bytes
    uint8_t header_size     # bytes, 2 to 14
    uint8_t opcode          # 0 to 15
    uint8_t fin             # 0 or 1
    uint8_t rsv             # RSV1 = 4, RSV2 = 2, RSV3 = 1
    uint8_t masked          # 0 or 1
    uint8_t key[4]          # masking key in wire order, if masked

# Size of the header that starts at data (2 to 14), or 0 if fewer than 2 bytes are there.
cdef inline int ws_frame_header_size(const uint8_t* data, size_t size) noexcept nogil:
    cdef int length
    if size < 2:
        return 0
    length = data[1] & 0x7F
    return 2 + (8 if length == 127 else 2 if length == 126 else 0) + ((data[1] >> 7) << 2)


# Decode the header at data[0:size]. Returns its size, 0 if more bytes are needed (out is then
# undefined), or a negative ws_violation for a length that RFC 6455 does not allow.
cdef inline int ws_decode_frame_header(
        const uint8_t* data, size_t size, ws_frame_header* out) noexcept nogil:
    cdef int header_size
    cdef uint8_t first
    cdef uint8_t masked
    cdef uint64_t length
    cdef int i
    if size < 2:
        return 0
    first = data[0]
    masked = data[1] >> 7
    length = data[1] & 0x7F
    header_size = 2 + 4 * masked
    if length >= 126:
        header_size += 2 if length == 126 else 8
        if size < <size_t> header_size:
            return 0
        if length == 126:
            length = (<uint64_t> data[2] << 8) | data[3]
            if length < 126:
                return WS_VIOLATION_LENGTH_NOT_MINIMAL
        else:
            if data[2] & 0x80:
                return WS_VIOLATION_LENGTH_TOP_BIT
            length = 0
            for i in range(2, 10):
                length = (length << 8) | data[i]
            if length < 65536:
                return WS_VIOLATION_LENGTH_NOT_MINIMAL
    elif size < <size_t> header_size:
        return 0
    if masked:
        memcpy(out.key, data + header_size - 4, 4)
    out.payload_size = length
    out.header_size = <uint8_t> header_size
    out.opcode = first & 0x0F
    out.fin = first >> 7
    out.rsv = (first >> 4) & 0x07
    out.masked = masked
    return header_size


# The header of the same frame with another payload; private.
cdef inline void _set_payload_size(ws_frame_header* self, uint64_t size) noexcept nogil:
    self.payload_size = size


# 1 if data[0:size] begins with a whole frame (header and payload), valid or not.
cdef inline bint ws_frame_is_complete(const uint8_t* data, size_t size) noexcept nogil:
    cdef ws_frame_header header
    cdef int header_size = ws_decode_frame_header(data, size, &header)
    return header_size > 0 and header.payload_size <= <uint64_t> (size - header_size)


# Write a header into out, which has room for WS_MAX_HEADER_SIZE bytes. first_byte is FIN, RSV and
# opcode as on the wire; key is NULL for an unmasked frame. Returns the header's size.
cdef inline int ws_encode_frame_header(
        uint8_t* out, uint8_t first_byte, uint64_t payload_size,
        const uint8_t* key) noexcept nogil:
    cdef uint8_t mask_bit = 0x80 if key != NULL else 0
    cdef int position = 2
    cdef int i
    out[0] = first_byte
    if payload_size < 126:
        out[1] = mask_bit | <uint8_t> payload_size
    elif payload_size < 65536:
        out[1] = mask_bit | 126
        out[2] = <uint8_t> (payload_size >> 8)
        out[3] = <uint8_t> (payload_size & 0xFF)
        position = 4
    else:
        out[1] = mask_bit | 127
        for i in range(8):
            out[2 + i] = <uint8_t> ((payload_size >> (56 - 8 * i)) & 0xFF)
        position = 10
    if key != NULL:
        memcpy(out + position, key, 4)
        position += 4
    return position
