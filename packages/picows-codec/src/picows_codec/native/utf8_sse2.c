#include "utf8.h"

#if WS_HAVE_X86
#include <emmintrin.h>

/* SSE2 has no table lookup; the few processors without AVX2 walk through what is not ASCII. */
#define BLOCK_NAME ws_utf8_sse2
#define BLOCK_TARGET WS_TARGET("sse2")
#define BLOCK_ASCII(at) (_mm_movemask_epi8(_mm_loadu_si128((const void *)(at))) == 0)
#include "utf8_blocks.h"

#else
typedef int ws_no_empty_file;
#endif
