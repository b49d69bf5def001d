#include "mask_short.h"

#define WIDE_NAME ws_mask_scalar
#define WIDE_TARGET
#define WIDE_TYPE uint64_t
#define WIDE_SIZE 8U
#define WIDE_FROM WIDE_SIZE
#define WIDE_SHORT ws_mask_under_8
#define WIDE_SPREAD(key) ws_mask_key64(key)
#define WIDE_LOAD(at) ws_load64(at)
#define WIDE_STORE(at, v) ws_store64(at, v)
#define WIDE_XOR(a, b) ((a) ^ (b))
#define WIDE_LEAVE() ((void)0)
#include "mask_wide.h"
