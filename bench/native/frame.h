/* Frames: header, masking, masking keys (RFC 6455, 5.2 and 5.3). */
#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    OP_TEXT = 0x1,
    OP_BINARY = 0x2,
    OP_CLOSE = 0x8,
    OP_PING = 0x9,
    OP_PONG = 0xA,
    RSV1 = 0x40, /* joined to an opcode: the message is compressed (RFC 7692, 6) */
    MAX_HEADER = 14,
};

struct frame {
    uint64_t payload_size; /* bytes */
    size_t header_size;    /* bytes, 2 to 14 */
    uint8_t opcode;
    bool fin;
    bool masked;
    bool compressed; /* has RSV1 */
    uint8_t key[4];
};

/* Decode the header at data[0:size]: its size, 0 while bytes are missing, -1 if it is malformed. */
static inline int frame_decode(const uint8_t *data, size_t size, struct frame *out) {
    if (size < 2) return 0;
    const uint8_t length = data[1] & 0x7F;
    size_t position = 2;
    out->masked = data[1] >> 7;
    out->header_size = 2u + (length < 126 ? 0u : length == 126 ? 2u : 8u) + (out->masked ? 4u : 0u);
    if (size < out->header_size) return 0;
    if (data[0] & 0x30) return -1; /* no extension uses these bits */
    out->fin = data[0] >> 7;
    out->compressed = (data[0] & RSV1) != 0;
    out->opcode = data[0] & 0x0F;
    out->payload_size = length;
    if (length >= 126) {
        const size_t bytes = length == 126 ? 2 : 8;
        out->payload_size = 0;
        for (size_t i = 0; i < bytes; ++i) {
            out->payload_size = out->payload_size << 8 | data[position + i];
        }
        position += bytes;
    }
    if (out->masked) memcpy(out->key, data + position, 4);
    return (int) out->header_size;
}

/* Write the header of an unfragmented frame to out (MAX_HEADER bytes); key is NULL for an unmasked
   one. Returns the header's size. */
static inline size_t frame_encode(uint8_t *out, uint8_t opcode, uint64_t payload_size,
                                  const uint8_t *key) {
    const uint8_t mask_bit = key ? 0x80 : 0;
    size_t position = 2;
    out[0] = 0x80 | opcode;
    if (payload_size < 126) {
        out[1] = mask_bit | (uint8_t) payload_size;
    } else {
        const size_t bytes = payload_size < 65536 ? 2 : 8;
        out[1] = mask_bit | (bytes == 2 ? 126 : 127);
        for (size_t i = 0; i < bytes; ++i) {
            out[2 + i] = (uint8_t) (payload_size >> (8 * (bytes - 1 - i)));
        }
        position += bytes;
    }
    if (key) {
        memcpy(out + position, key, 4);
        position += 4;
    }
    return position;
}

static inline size_t frame_header_size(uint64_t payload_size, bool masked) {
    return 2u + (payload_size < 126 ? 0u : payload_size < 65536 ? 2u : 8u) + (masked ? 4u : 0u);
}

/* XOR with the key, repeated; the ranges of mask_copy must not overlap. */
void mask_in_place(uint8_t *data, size_t size, const uint8_t key[4]);
void mask_copy(uint8_t *restrict out, const uint8_t *restrict data, size_t size,
               const uint8_t key[4]);

/* A key from the system's CSPRNG, drawn in blocks. */
void new_key(uint8_t key[4]);

#endif
