#include "mask_short.h"

#if WS_HAVE_NEON
#include <arm_neon.h>

#define WIDE_NAME ws_mask_neon
#define WIDE_TARGET
#define WIDE_TYPE uint8x16_t
#define WIDE_SIZE 16U
#define WIDE_FROM WIDE_SIZE
#define WIDE_SHORT ws_mask_under_16
#define WIDE_SPREAD(key) vreinterpretq_u8_u32(vdupq_n_u32(key))
#define WIDE_LOAD(at) vld1q_u8(at)
#define WIDE_STORE(at, v) vst1q_u8(at, v)
#define WIDE_XOR(a, b) veorq_u8(a, b)
#define WIDE_LEAVE() ((void)0)
#include "mask_wide.h"

#else
typedef int ws_no_empty_file;
#endif
