/* UTF-8 validation (RFC 3629): a byte-wise automaton that defines it, and faster kernels. */
#ifndef PICOWS_UTF8_H
#define PICOWS_UTF8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cpu.h"

/* State after a byte: what the next byte must be. Numbers are bit offsets into the rows below. */
enum ws_utf8_state {
    WS_UTF8_BOUNDARY = 0,  /* the first byte of a code point */
    WS_UTF8_REJECT = 6,    /* nothing: the text is not UTF-8, and stays so */
    WS_UTF8_TAIL_1 = 12,   /* one more 80-BF */
    WS_UTF8_TAIL_2 = 18,   /* two more */
    WS_UTF8_TAIL_3 = 24,   /* three more */
    WS_UTF8_AFTER_E0 = 30, /* A0-BF, or the code point had a shorter encoding; then one more */
    WS_UTF8_AFTER_ED = 36, /* 80-9F, or it is a surrogate; then one more */
    WS_UTF8_AFTER_F0 = 42, /* 90-BF, or it had a shorter encoding; then two more */
    WS_UTF8_AFTER_F4 = 48  /* 80-8F, or it is above U+10FFFF; then two more */
};

/* One row per byte: the next state for each state, six bits each. The load does not depend on the
 * state, so that a step costs one shift of latency. */
WS_HIDDEN extern const uint64_t ws_utf8_rows[256];

static inline uint32_t ws_utf8_step(uint32_t state, uint8_t byte)
{
    return (uint32_t)(ws_utf8_rows[byte] >> (state & 63U)) & 63U;
}

/* Byte by byte, without looking for an early end. */
static inline uint32_t ws_utf8_walk(uint32_t state, const uint8_t *at, const uint8_t *end)
{
    uint64_t bits = state;

    while (at < end)
        bits = ws_utf8_rows[*at++] >> (bits & 63U);
    return (uint32_t)bits & 63U;
}

/* 1 if data[0:size], size < 16, is ASCII. Words overlap in the middle. */
static inline int ws_ascii_under_16(const uint8_t *data, size_t size)
{
    if (size >= 8) {
        uint64_t head, tail;

        memcpy(&head, data, 8);
        memcpy(&tail, data + size - 8, 8);
        return ((head | tail) & 0x8080808080808080U) == 0;
    }
    if (size >= 4) {
        uint32_t head, tail;

        memcpy(&head, data, 4);
        memcpy(&tail, data + size - 4, 4);
        return ((head | tail) & 0x80808080U) == 0;
    }
    return size == 0 || (data[0] | data[size >> 1] | data[size - 1]) < 0x80;
}

/* Where the last code point begins, if data[..end) may leave it unfinished; else end. At least
 * three bytes must lie before end, and all before the last code point must be valid. */
static inline const uint8_t *ws_utf8_unfinished(const uint8_t *end)
{
    int back;

    for (back = 1; back <= 3; back++) {
        if (end[-back] >= 0xC0)
            return end - back;
        if (end[-back] < 0x80)
            break;
    }
    return end;
}

/* The state after a piece, given the state before it. Reads nothing outside data[0:size]. */
typedef uint32_t (*ws_utf8_kernel)(uint32_t state, const uint8_t *data, size_t size);

WS_HIDDEN uint32_t ws_utf8_scalar(uint32_t state, const uint8_t *data, size_t size);
WS_HIDDEN uint32_t ws_utf8_sse2(uint32_t state, const uint8_t *data, size_t size);
WS_HIDDEN uint32_t ws_utf8_avx2(uint32_t state, const uint8_t *data, size_t size);
WS_HIDDEN uint32_t ws_utf8_avx512(uint32_t state, const uint8_t *data, size_t size);
WS_HIDDEN uint32_t ws_utf8_neon(uint32_t state, const uint8_t *data, size_t size);

/* The kernel in use: the scalar one until ws_utf8_select() was called. */
WS_HIDDEN extern ws_utf8_kernel ws_utf8_active;

/* Use the kernel of a level (enum ws_simd) from now on; the level must be available. */
WS_HIDDEN void ws_utf8_select(int level);

#endif
