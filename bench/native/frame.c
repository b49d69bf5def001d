#include "frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static inline uint64_t widened(const uint8_t key[4]) {
    uint64_t wide;
    memcpy(&wide, key, 4);
    memcpy((uint8_t *) &wide + 4, key, 4);
    return wide;
}

/* Plain loops over words: the compiler makes vector code of them (-O3 -march=native). */
void mask_in_place(uint8_t *data, size_t size, const uint8_t key[4]) {
    const uint64_t wide = widened(key);
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < size; ++i) data[i] ^= key[i & 3];
}

void mask_copy(uint8_t *restrict out, const uint8_t *restrict data, size_t size,
               const uint8_t key[4]) {
    const uint64_t wide = widened(key);
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(out + i, &word, 8);
    }
    for (; i < size; ++i) out[i] = data[i] ^ key[i & 3];
}

void new_key(uint8_t key[4]) {
    static uint8_t block[4096];
    static size_t used = sizeof block;
    if (used == sizeof block) {
        if (getrandom(block, sizeof block, 0) != (ssize_t) sizeof block) {
            perror("getrandom");
            exit(1);
        }
        used = 0;
    }
    memcpy(key, block + used, 4);
    used += 4;
}
