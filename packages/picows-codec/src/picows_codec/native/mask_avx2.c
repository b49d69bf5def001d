#include "mask_short.h"

#if WS_HAVE_X86
#include <immintrin.h>

#define WIDE_NAME ws_mask_avx2
#define WIDE_TARGET WS_TARGET("avx2")
#define WIDE_TYPE __m256i
#define WIDE_SIZE 32U
#define WIDE_FROM WIDE_SIZE
#define WIDE_SHORT under_32
#define WIDE_SPREAD(key) _mm256_set1_epi32((int)(key))
#define WIDE_LOAD(at) _mm256_loadu_si256((const void *)(at))
#define WIDE_STORE(at, v) _mm256_storeu_si256((void *)(at), v)
#define WIDE_XOR(a, b) _mm256_xor_si256(a, b)
#define WIDE_LEAVE WS_LEAVE_WIDE

WIDE_TARGET
static inline void under_32(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key)
{
    if (size >= 16) {
        const __m128i head = _mm_loadu_si128((const void *)src);
        const __m128i tail = _mm_loadu_si128((const void *)(src + size - 16));
        const __m128i tail_keys = _mm_set1_epi32((int)ws_mask_rotate(key, size));

        _mm_storeu_si128((void *)dst, _mm_xor_si128(head, _mm_set1_epi32((int)key)));
        _mm_storeu_si128((void *)(dst + size - 16), _mm_xor_si128(tail, tail_keys));
    } else {
        ws_mask_under_16(dst, src, size, key);
    }
}

#include "mask_wide.h"

#else
typedef int ws_no_empty_file;
#endif
