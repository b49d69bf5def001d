#include "utf8.h"

static inline int ascii_16(const uint8_t *at)
{
    uint64_t words[2];

    memcpy(words, at, 16);
    return ((words[0] | words[1]) & 0x8080808080808080U) == 0;
}

#define BLOCK_NAME ws_utf8_scalar
#define BLOCK_TARGET
#define BLOCK_ASCII(at) ascii_16(at)
#include "utf8_blocks.h"
