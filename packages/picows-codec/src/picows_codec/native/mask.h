/* Masking of payloads (RFC 6455, 5.3) and the blocks that masking keys are drawn from. */
#ifndef PICOWS_MASK_H
#define PICOWS_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cpu.h"

/* XOR size bytes of src with the key into dst. dst == src, or the ranges do not overlap. key: the
 * four key bytes as they lie in memory, already rotated so that the first one goes with src[0].
 * Touches nothing outside the two ranges; any alignment. */
typedef void (*ws_mask_kernel)(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key);

WS_HIDDEN void ws_mask_scalar(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key);
WS_HIDDEN void ws_mask_sse2(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key);
WS_HIDDEN void ws_mask_avx2(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key);
WS_HIDDEN void ws_mask_avx512(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key);
WS_HIDDEN void ws_mask_neon(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key);

/* The kernel in use: the scalar one until ws_mask_select() was called. */
WS_HIDDEN extern ws_mask_kernel ws_mask_active;

/* Use the kernel of a level (enum ws_simd) from now on; the level must be available. */
WS_HIDDEN void ws_mask_select(int level);

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define WS_BIG_ENDIAN 1
#else
#define WS_BIG_ENDIAN 0
#endif

/* The key for data that begins `bytes` further on. */
static inline uint32_t ws_mask_rotate(uint32_t key, size_t bytes)
{
    const unsigned bits = (unsigned)(bytes & 3U) * 8U, others = (32U - bits) & 31U;

    return WS_BIG_ENDIAN ? (key << bits | key >> others) : (key >> bits | key << others);
}

/* The key byte that comes first in memory. */
static inline uint8_t ws_mask_first(uint32_t key)
{
    return (uint8_t)(WS_BIG_ENDIAN ? key >> 24 : key);
}

static inline void ws_mask_apply(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t *key,
                                 size_t phase)
{
    uint32_t word;

    memcpy(&word, key, 4);
    ws_mask_active(dst, src, size, ws_mask_rotate(word, phase));
}

/* A block of random bytes per thread, handed out once, four bytes at a time. Every thread draws
 * its own block; a forked child finds the copy of its parent's block empty. */
enum { WS_MASK_KEY_BLOCK = 1024 };

/* Call once before the others: 0, or an errno value. */
WS_HIDDEN int ws_mask_keys_init(void);

/* Write the next key of this thread's block to out[0:4] and return 1; return 0 if none is left. */
WS_HIDDEN int ws_mask_keys_take(uint8_t *out);

/* The number of forks between the first process and this one. */
WS_HIDDEN unsigned ws_mask_keys_generation(void);

/* Give this thread a new block of WS_MASK_KEY_BLOCK random bytes. generation: its value before the
 * bytes were drawn; a process that was forked after that does not use them. */
WS_HIDDEN void ws_mask_keys_refill(const uint8_t *bytes, unsigned generation);

#endif
