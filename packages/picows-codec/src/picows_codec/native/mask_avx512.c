#include "mask_short.h"

#if WS_HAVE_X86
#include <immintrin.h>

#define WIDE_NAME ws_mask_avx512
#define WIDE_TARGET WS_TARGET("avx512f")
#define WIDE_TYPE __m512i
#define WIDE_SIZE 64U
#define WIDE_FROM 2048U /* measured: a reader of a short payload waits longer for wide stores */
#define WIDE_SHORT ws_mask_avx2
#define WIDE_SPREAD(key) _mm512_set1_epi32((int)(key))
#define WIDE_LOAD(at) _mm512_loadu_si512((const void *)(at))
#define WIDE_STORE(at, v) _mm512_storeu_si512((void *)(at), v)
#define WIDE_XOR(a, b) _mm512_xor_si512(a, b)
#define WIDE_LEAVE WS_LEAVE_WIDE
#include "mask_wide.h"

#else
typedef int ws_no_empty_file;
#endif
