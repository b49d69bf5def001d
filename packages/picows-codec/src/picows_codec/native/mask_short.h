/* Masking of less than one vector: two words that overlap in the middle.
 *
 * Everything is loaded before anything is stored, so that the overlap is right in place too.
 */
#ifndef PICOWS_MASK_SHORT_H
#define PICOWS_MASK_SHORT_H

#include "mask.h"

static inline uint32_t ws_load32(const uint8_t *at)
{
    uint32_t word;

    memcpy(&word, at, 4);
    return word;
}

static inline uint64_t ws_load64(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, 8);
    return word;
}

static inline void ws_store32(uint8_t *at, uint32_t word)
{
    memcpy(at, &word, 4);
}

static inline void ws_store64(uint8_t *at, uint64_t word)
{
    memcpy(at, &word, 8);
}

static inline uint64_t ws_mask_key64(uint32_t key)
{
    return (uint64_t)key << 32 | key;
}

static inline void ws_mask_under_8(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key)
{
    if (size >= 4) {
        const uint32_t head = ws_load32(src) ^ key;
        const uint32_t tail = ws_load32(src + size - 4) ^ ws_mask_rotate(key, size);

        ws_store32(dst, head);
        ws_store32(dst + size - 4, tail);
    } else if (size > 0) { /* first, middle and last byte cover 1, 2 and 3 bytes */
        const size_t middle = size >> 1, last = size - 1;
        const uint8_t head = src[0] ^ ws_mask_first(key);
        const uint8_t body = src[middle] ^ ws_mask_first(ws_mask_rotate(key, middle));
        const uint8_t tail = src[last] ^ ws_mask_first(ws_mask_rotate(key, last));

        dst[0] = head;
        dst[middle] = body;
        dst[last] = tail;
    }
}

static inline void ws_mask_under_16(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key)
{
    if (size >= 8) {
        const uint64_t head = ws_load64(src) ^ ws_mask_key64(key);
        const uint64_t tail = ws_load64(src + size - 8) ^ ws_mask_key64(ws_mask_rotate(key, size));

        ws_store64(dst, head);
        ws_store64(dst + size - 8, tail);
    } else {
        ws_mask_under_8(dst, src, size, key);
    }
}

#endif
