#include "utf8.h"

#if WS_HAVE_X86
#include <immintrin.h>

#define WIDE_NAME ws_utf8_avx512
#define WIDE_TARGET WS_TARGET("avx512f,avx512bw,avx512vl")
#define WIDE_TYPE __m512i
#define WIDE_SIZE 64
#define WIDE_SHORT ws_utf8_avx2
#define WIDE_LOAD(at) _mm512_loadu_si512((const void *)(at))
#define WIDE_TABLE(at) _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(at)))
#define WIDE_LOOKUP(table, v) _mm512_shuffle_epi8(table, v)
#define WIDE_LOW(v) _mm512_and_si512(v, WIDE_SPREAD(0x0F))
#define WIDE_HIGH(v) WIDE_LOW(_mm512_srli_epi16(v, 4))
#define WIDE_OR(a, b) _mm512_or_si512(a, b)
#define WIDE_AND(a, b) _mm512_and_si512(a, b)
#define WIDE_XOR(a, b) _mm512_xor_si512(a, b)
#define WIDE_SPREAD(byte) _mm512_set1_epi8((char)(byte))
#define WIDE_ABOVE(v, byte) _mm512_subs_epu8(v, WIDE_SPREAD((byte) - 0x80))
#define WIDE_ASCII(v) (_mm512_movepi8_mask(v) == 0)
#define WIDE_ANY(v) (_mm512_test_epi8_mask(v, v) != 0)
#define WIDE_LEAVE WS_LEAVE_WIDE
#include "utf8_wide.h"

#else
typedef int ws_no_empty_file;
#endif
