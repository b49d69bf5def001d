#include "mask_short.h"

#if WS_HAVE_X86
#include <emmintrin.h>

#define WIDE_NAME ws_mask_sse2
#define WIDE_TARGET WS_TARGET("sse2")
#define WIDE_TYPE __m128i
#define WIDE_SIZE 16U
#define WIDE_FROM WIDE_SIZE
#define WIDE_SHORT ws_mask_under_16
#define WIDE_SPREAD(key) _mm_set1_epi32((int)(key))
#define WIDE_LOAD(at) _mm_loadu_si128((const void *)(at))
#define WIDE_STORE(at, v) _mm_storeu_si128((void *)(at), v)
#define WIDE_XOR(a, b) _mm_xor_si128(a, b)
#define WIDE_LEAVE() ((void)0)
#include "mask_wide.h"

#else
typedef int ws_no_empty_file;
#endif
