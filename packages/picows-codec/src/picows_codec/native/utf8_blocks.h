/* The automaton with a short cut over blocks of ASCII. Included by a utf8_<level>.c after it has
 * defined:
 *
 *   BLOCK_NAME     name of the kernel
 *   BLOCK_TARGET   WS_TARGET(...) or empty
 *   BLOCK_ASCII    1 if the 16 bytes at a pointer are ASCII
 */

BLOCK_TARGET
uint32_t BLOCK_NAME(uint32_t state, const uint8_t *data, size_t size)
{
    for (; size >= 16; data += 16, size -= 16) {
        if (state == WS_UTF8_BOUNDARY && BLOCK_ASCII(data))
            continue;
        state = ws_utf8_walk(state, data, data + 16);
        if (state == WS_UTF8_REJECT)
            return state;
    }
    if (state == WS_UTF8_BOUNDARY && ws_ascii_under_16(data, size))
        return state;
    return ws_utf8_walk(state, data, data + size);
}
