#include "mask.h"

static const ws_mask_kernel kernels[WS_SIMD_COUNT] = {
    [WS_SIMD_SCALAR] = ws_mask_scalar,
#if WS_HAVE_X86
    [WS_SIMD_SSE2] = ws_mask_sse2,
    [WS_SIMD_AVX2] = ws_mask_avx2,
    [WS_SIMD_AVX512] = ws_mask_avx512,
#endif
#if WS_HAVE_NEON
    [WS_SIMD_NEON] = ws_mask_neon,
#endif
};

ws_mask_kernel ws_mask_active = ws_mask_scalar;

void ws_mask_select(int level)
{
    ws_mask_active = kernels[level];
}
