#include "mask.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

#if defined(_MSC_VER)
#define PER_THREAD __declspec(thread)
#else
#define PER_THREAD _Thread_local
#endif

static unsigned current_generation;

static PER_THREAD struct {
    uint8_t bytes[WS_MASK_KEY_BLOCK];
    unsigned left; /* bytes not handed out yet, at the end of the block */
    unsigned generation;
} block;

#if !defined(_WIN32)
static void forked(void) /* in the child, where no other thread runs yet */
{
    current_generation++;
}
#endif

int ws_mask_keys_init(void)
{
#if defined(_WIN32)
    return 0;
#else
    return pthread_atfork(NULL, NULL, forked);
#endif
}

int ws_mask_keys_take(uint8_t *out)
{
    if (block.left == 0 || block.generation != current_generation)
        return 0;
    memcpy(out, block.bytes + WS_MASK_KEY_BLOCK - block.left, 4);
    block.left -= 4;
    return 1;
}

unsigned ws_mask_keys_generation(void)
{
    return current_generation;
}

void ws_mask_keys_refill(const uint8_t *bytes, unsigned generation)
{
    memcpy(block.bytes, bytes, WS_MASK_KEY_BLOCK);
    block.left = WS_MASK_KEY_BLOCK;
    block.generation = generation;
}
