#include "utf8.h"

#if WS_HAVE_NEON
#include <arm_neon.h>

#define WIDE_NAME ws_utf8_neon
#define WIDE_TARGET
#define WIDE_TYPE uint8x16_t
#define WIDE_SIZE 16
#define WIDE_SHORT ws_utf8_scalar
#define WIDE_LOAD(at) vld1q_u8(at)
#define WIDE_TABLE(at) vld1q_u8(at)
#define WIDE_LOOKUP(table, v) vqtbl1q_u8(table, v)
#define WIDE_LOW(v) vandq_u8(v, WIDE_SPREAD(0x0F))
#define WIDE_HIGH(v) vshrq_n_u8(v, 4)
#define WIDE_OR(a, b) vorrq_u8(a, b)
#define WIDE_AND(a, b) vandq_u8(a, b)
#define WIDE_XOR(a, b) veorq_u8(a, b)
#define WIDE_SPREAD(byte) vdupq_n_u8((uint8_t)(byte))
#define WIDE_ABOVE(v, byte) vqsubq_u8(v, WIDE_SPREAD((byte) - 0x80))
#define WIDE_ASCII(v) (vmaxvq_u8(v) < 0x80)
#define WIDE_ANY(v) (vmaxvq_u8(v) != 0)
#define WIDE_LEAVE() ((void)0)
#include "utf8_wide.h"

#else
typedef int ws_no_empty_file;
#endif
