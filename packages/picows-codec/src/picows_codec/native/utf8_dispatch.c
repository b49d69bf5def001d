#include "utf8.h"

static const ws_utf8_kernel kernels[WS_SIMD_COUNT] = {
    [WS_SIMD_SCALAR] = ws_utf8_scalar,
#if WS_HAVE_X86
    [WS_SIMD_SSE2] = ws_utf8_sse2,
    [WS_SIMD_AVX2] = ws_utf8_avx2,
    [WS_SIMD_AVX512] = ws_utf8_avx512,
#endif
#if WS_HAVE_NEON
    [WS_SIMD_NEON] = ws_utf8_neon,
#endif
};

ws_utf8_kernel ws_utf8_active = ws_utf8_scalar;

void ws_utf8_select(int level)
{
    ws_utf8_active = kernels[level];
}
