/* Which SIMD levels this build and this processor offer, and the macros that kernels need.
 *
 * No file here needs an -m flag: each kernel names its instruction set in a function-level
 * target attribute and is called only where ws_simd_available() says so.
 */
#ifndef PICOWS_CPU_H
#define PICOWS_CPU_H

#if (defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)) && \
    !defined(_M_ARM64EC)
#define WS_HAVE_X86 1
#else
#define WS_HAVE_X86 0
#endif

/* Advanced SIMD is part of every AArch64; big-endian lanes are not worth a kernel of their own. */
#if (defined(__aarch64__) || defined(_M_ARM64)) && !defined(__AARCH64EB__)
#define WS_HAVE_NEON 1
#else
#define WS_HAVE_NEON 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define WS_TARGET(features) __attribute__((target(features)))
#else
#define WS_TARGET(features) /* MSVC compiles every intrinsic everywhere */
#endif

/* Shared by the files of one extension, invisible to other shared objects (and no PLT call). */
#if defined(__GNUC__) && !defined(_WIN32)
#define WS_HIDDEN __attribute__((visibility("hidden")))
#else
#define WS_HIDDEN
#endif

/* Leave the upper halves of the vector registers clean: SSE code that follows would stall. GCC
 * and Clang add this by themselves to functions with a target attribute. */
#if defined(_MSC_VER) && !defined(__clang__)
#define WS_LEAVE_WIDE() _mm256_zeroupper()
#else
#define WS_LEAVE_WIDE() ((void)0)
#endif

enum ws_simd {
    WS_SIMD_SCALAR,
    WS_SIMD_SSE2,
    WS_SIMD_AVX2,
    WS_SIMD_AVX512, /* F, BW and VL */
    WS_SIMD_NEON,
    WS_SIMD_COUNT
};

/* Lower-case names as users see them, indexed by level. */
WS_HIDDEN extern const char *const ws_simd_names[WS_SIMD_COUNT];

/* One bit (1 << level) per level that may be called here. Asks the processor each time. */
WS_HIDDEN unsigned ws_simd_available(void);

/* The level to use when nobody chose one. */
WS_HIDDEN enum ws_simd ws_simd_best(void);

#endif
