/* The masking algorithm, written once for every vector type. Included by each mask_<level>.c after
 * it has defined:
 *
 *   WIDE_NAME     name of the kernel             WIDE_SPREAD(key)     vector of repeated keys
 *   WIDE_TARGET   WS_TARGET(...) or empty        WIDE_LOAD(at)        any alignment
 *   WIDE_TYPE     vector type                    WIDE_STORE(at, v)    any alignment
 *   WIDE_SIZE     its size in bytes              WIDE_XOR(a, b)
 *   WIDE_FROM     the smallest size masked here, at least WIDE_SIZE
 *   WIDE_SHORT    kernel for smaller sizes
 *
 * The last vector, and in long payloads the first one, overlap their neighbours instead of being
 * cut into smaller pieces. They are loaded and masked before the loop and stored after it: in
 * place, the loop rewrites bytes that they hold.
 */

/* From this size on, dst is aligned: a payload follows a header of 2 to 14 bytes, and stores that
 * straddle cache lines run at half speed. Below, aligning costs more than it saves (measured). */
#define WIDE_ALIGN_FROM 256

WIDE_TARGET
void WIDE_NAME(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key)
{
    if (size < WIDE_FROM) {
        WIDE_SHORT(dst, src, size, key);
        return;
    }

    const size_t last = size - WIDE_SIZE;
    const WIDE_TYPE tail = WIDE_XOR(WIDE_LOAD(src + last), WIDE_SPREAD(ws_mask_rotate(key, size)));
    size_t at = 0;

    if (size < WIDE_ALIGN_FROM) {
        const WIDE_TYPE keys = WIDE_SPREAD(key);

        for (; at < last; at += WIDE_SIZE)
            WIDE_STORE(dst + at, WIDE_XOR(WIDE_LOAD(src + at), keys));
    } else {
        const WIDE_TYPE head = WIDE_XOR(WIDE_LOAD(src), WIDE_SPREAD(key));

        at = WIDE_SIZE - ((uintptr_t)dst & (WIDE_SIZE - 1));
        const WIDE_TYPE keys = WIDE_SPREAD(ws_mask_rotate(key, at));

        for (; at + 4 * WIDE_SIZE <= last; at += 4 * WIDE_SIZE) {
            const WIDE_TYPE a = WIDE_LOAD(src + at);
            const WIDE_TYPE b = WIDE_LOAD(src + at + WIDE_SIZE);
            const WIDE_TYPE c = WIDE_LOAD(src + at + 2 * WIDE_SIZE);
            const WIDE_TYPE d = WIDE_LOAD(src + at + 3 * WIDE_SIZE);

            WIDE_STORE(dst + at, WIDE_XOR(a, keys));
            WIDE_STORE(dst + at + WIDE_SIZE, WIDE_XOR(b, keys));
            WIDE_STORE(dst + at + 2 * WIDE_SIZE, WIDE_XOR(c, keys));
            WIDE_STORE(dst + at + 3 * WIDE_SIZE, WIDE_XOR(d, keys));
        }
        for (; at < last; at += WIDE_SIZE)
            WIDE_STORE(dst + at, WIDE_XOR(WIDE_LOAD(src + at), keys));
        WIDE_STORE(dst, head);
    }
    WIDE_STORE(dst + last, tail);
    WIDE_LEAVE();
}
