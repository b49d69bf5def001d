#include "utf8.h"

#if WS_HAVE_X86
#include <immintrin.h>

#define WIDE_NAME ws_utf8_avx2
#define WIDE_TARGET WS_TARGET("avx2")
#define WIDE_TYPE __m256i
#define WIDE_SIZE 32
#define WIDE_SHORT ws_utf8_sse2
#define WIDE_LOAD(at) _mm256_loadu_si256((const void *)(at))
#define WIDE_TABLE(at) _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(at)))
#define WIDE_LOOKUP(table, v) _mm256_shuffle_epi8(table, v)
#define WIDE_LOW(v) _mm256_and_si256(v, WIDE_SPREAD(0x0F))
#define WIDE_HIGH(v) WIDE_LOW(_mm256_srli_epi16(v, 4))
#define WIDE_OR(a, b) _mm256_or_si256(a, b)
#define WIDE_AND(a, b) _mm256_and_si256(a, b)
#define WIDE_XOR(a, b) _mm256_xor_si256(a, b)
#define WIDE_SPREAD(byte) _mm256_set1_epi8((char)(byte))
#define WIDE_ABOVE(v, byte) _mm256_subs_epu8(v, WIDE_SPREAD((byte) - 0x80))
#define WIDE_ASCII(v) (_mm256_movemask_epi8(v) == 0)
#define WIDE_ANY(v) (!_mm256_testz_si256(v, v))
#define WIDE_LEAVE WS_LEAVE_WIDE
#include "utf8_wide.h"

#else
typedef int ws_no_empty_file;
#endif
