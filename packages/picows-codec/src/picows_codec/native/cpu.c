#include "cpu.h"

#if WS_HAVE_X86 && defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#elif WS_HAVE_X86
#include <cpuid.h>
#endif

const char *const ws_simd_names[WS_SIMD_COUNT] = {
    [WS_SIMD_SCALAR] = "scalar", [WS_SIMD_SSE2] = "sse2", [WS_SIMD_AVX2] = "avx2",
    [WS_SIMD_AVX512] = "avx512", [WS_SIMD_NEON] = "neon",
};

/* 512-bit instructions lowered the clock of the whole core before Ice Lake. VBMI2 came with Ice
 * Lake (and Zen 4), so its presence shows that they make a program faster. */
#define WIDE_IS_CHEAP (1U << WS_SIMD_COUNT)

#if WS_HAVE_X86

/* The processor is asked directly: __builtin_cpu_supports() depends on the compiler's run-time
 * library, and reports nothing at all if that library does not fill in its table. */

enum { EAX, EBX, ECX, EDX };

#if defined(_MSC_VER)

static void ask(int leaf, unsigned answer[4])
{
    int registers[4], i;

    __cpuidex(registers, leaf, 0);
    for (i = 0; i < 4; i++)
        answer[i] = (unsigned)registers[i];
}

WS_TARGET("xsave")
static unsigned saved_by_system(void)
{
    return (unsigned)_xgetbv(0);
}

#else

static void ask(int leaf, unsigned answer[4])
{
    __cpuid_count(leaf, 0, answer[EAX], answer[EBX], answer[ECX], answer[EDX]);
}

static unsigned saved_by_system(void)
{
    unsigned low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

#endif

static unsigned detect(void)
{
    /* Registers that the operating system keeps across a task switch. */
    const unsigned ymm = 0x06U, zmm = 0xE6U;
    unsigned base[4], extended[4], saved, leaves, found = 0;

    ask(0, base);
    leaves = base[EAX];
    ask(1, base);
    if (base[EDX] >> 26 & 1U)
        found |= 1U << WS_SIMD_SSE2;
    if (!(base[ECX] >> 27 & 1U) || leaves < 7) /* 27: OSXSAVE, xgetbv may be used */
        return found;
    ask(7, extended);
    saved = saved_by_system();
    if ((saved & ymm) != ymm || !(base[ECX] >> 28 & 1U) || !(extended[EBX] >> 5 & 1U))
        return found;
    found |= 1U << WS_SIMD_AVX2;
    /* 16: F, 30: BW, 31: VL */
    if ((saved & zmm) != zmm || (extended[EBX] & 0xC0010000U) != 0xC0010000U)
        return found;
    found |= 1U << WS_SIMD_AVX512;
    if (extended[ECX] >> 6 & 1U) /* VBMI2 */
        found |= WIDE_IS_CHEAP;
    return found;
}

#elif WS_HAVE_NEON

static unsigned detect(void)
{
    return 1U << WS_SIMD_NEON;
}

#else

static unsigned detect(void)
{
    return 0;
}

#endif

unsigned ws_simd_available(void)
{
    return (detect() | 1U << WS_SIMD_SCALAR) & ((1U << WS_SIMD_COUNT) - 1U);
}

enum ws_simd ws_simd_best(void)
{
    const unsigned found = detect();

    if (found & 1U << WS_SIMD_NEON)
        return WS_SIMD_NEON;
    if (found & WIDE_IS_CHEAP)
        return WS_SIMD_AVX512;
    if (found & 1U << WS_SIMD_AVX2)
        return WS_SIMD_AVX2;
    if (found & 1U << WS_SIMD_SSE2)
        return WS_SIMD_SSE2;
    return WS_SIMD_SCALAR;
}
