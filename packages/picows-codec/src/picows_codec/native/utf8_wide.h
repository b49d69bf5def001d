/* UTF-8 validation of whole vectors. Included by a utf8_<level>.c after it has defined:
 *
 *   WIDE_NAME     name of the kernel         WIDE_LOAD(at)             any alignment
 *   WIDE_TARGET   WS_TARGET(...) or empty    WIDE_TABLE(at)            16 bytes, for every lane
 *   WIDE_TYPE     vector of bytes            WIDE_LOOKUP(table, v)     bytes of v: 0-15
 *   WIDE_SIZE     its size in bytes          WIDE_HIGH(v), WIDE_LOW(v) nibbles of each byte
 *   WIDE_SHORT    kernel for sizes below     WIDE_OR, WIDE_AND, WIDE_XOR
 *                 WIDE_SIZE + 3              WIDE_SPREAD(byte), WIDE_ABOVE(v, byte) see faults()
 *                                            WIDE_ASCII(v), WIDE_ANY(v): int
 *
 * A byte is judged by itself and the three before it, which are simply loaded again from one, two
 * and three bytes further back. Whether two neighbours may stand side by side depends on both
 * nibbles of the first and the high nibble of the second: three tables of what would be wrong,
 * one bit per kind of fault, and the bits that all three agree on are faults. Third and fourth
 * bytes of a code point are told apart from stray ones by the lead two or three bytes earlier.
 */

enum {
    CUT_SHORT = 0x01,   /* C0-FF, then no continuation */
    STRAY = 0x02,       /* 00-7F, then a continuation */
    OVERLONG_2 = 0x04,  /* C0-C1, then a continuation */
    OVERLONG_3 = 0x08,  /* E0, then 80-9F */
    SURROGATE = 0x10,   /* ED, then A0-BF */
    EDGE_4 = 0x20,      /* F0 or F5-FF, then 80-8F: overlong or above U+10FFFF */
    TOO_LARGE = 0x40,   /* F4-FF, then 90-BF */
    CONTINUES = 0x80,   /* two continuations: a fault exactly where no lead asks for it */
    ANY_LOW = CUT_SHORT | STRAY | CONTINUES /* faults whatever the first byte's low nibble */
};

static const uint8_t first_high[16] = {
    STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY,
    CONTINUES, CONTINUES, CONTINUES, CONTINUES,
    CUT_SHORT | OVERLONG_2,
    CUT_SHORT,
    CUT_SHORT | OVERLONG_3 | SURROGATE,
    CUT_SHORT | EDGE_4 | TOO_LARGE,
};

static const uint8_t first_low[16] = {
    ANY_LOW | OVERLONG_2 | OVERLONG_3 | EDGE_4,
    ANY_LOW | OVERLONG_2,
    ANY_LOW, ANY_LOW,
    ANY_LOW | TOO_LARGE,
    ANY_LOW | EDGE_4 | TOO_LARGE, ANY_LOW | EDGE_4 | TOO_LARGE, ANY_LOW | EDGE_4 | TOO_LARGE,
    ANY_LOW | EDGE_4 | TOO_LARGE, ANY_LOW | EDGE_4 | TOO_LARGE, ANY_LOW | EDGE_4 | TOO_LARGE,
    ANY_LOW | EDGE_4 | TOO_LARGE, ANY_LOW | EDGE_4 | TOO_LARGE,
    ANY_LOW | EDGE_4 | TOO_LARGE | SURROGATE,
    ANY_LOW | EDGE_4 | TOO_LARGE, ANY_LOW | EDGE_4 | TOO_LARGE,
};

static const uint8_t second_high[16] = {
    CUT_SHORT, CUT_SHORT, CUT_SHORT, CUT_SHORT, CUT_SHORT, CUT_SHORT, CUT_SHORT, CUT_SHORT,
    STRAY | CONTINUES | OVERLONG_2 | OVERLONG_3 | EDGE_4,
    STRAY | CONTINUES | OVERLONG_2 | OVERLONG_3 | TOO_LARGE,
    STRAY | CONTINUES | OVERLONG_2 | SURROGATE | TOO_LARGE,
    STRAY | CONTINUES | OVERLONG_2 | SURROGATE | TOO_LARGE,
    CUT_SHORT, CUT_SHORT, CUT_SHORT, CUT_SHORT,
};

/* Nonzero bytes where the vector at `at` breaks the rules, given the three bytes before it. */
WIDE_TARGET
static inline WIDE_TYPE faults(const uint8_t *at)
{
    const WIDE_TYPE first = WIDE_LOAD(at - 1);
    const WIDE_TYPE side_by_side =
        WIDE_AND(WIDE_AND(WIDE_LOOKUP(WIDE_TABLE(first_high), WIDE_HIGH(first)),
                          WIDE_LOOKUP(WIDE_TABLE(first_low), WIDE_LOW(first))),
                 WIDE_LOOKUP(WIDE_TABLE(second_high), WIDE_HIGH(WIDE_LOAD(at))));
    /* WIDE_ABOVE: the top bit tells whether a byte is at least that large. */
    const WIDE_TYPE asked_for =
        WIDE_OR(WIDE_ABOVE(WIDE_LOAD(at - 2), 0xE0), WIDE_ABOVE(WIDE_LOAD(at - 3), 0xF0));

    return WIDE_XOR(side_by_side, WIDE_AND(asked_for, WIDE_SPREAD(CONTINUES)));
}

/* 1 if the four vectors at `at` are ASCII. */
WIDE_TARGET
static inline int ascii_4(const uint8_t *at)
{
    return WIDE_ASCII(WIDE_OR(WIDE_OR(WIDE_LOAD(at), WIDE_LOAD(at + WIDE_SIZE)),
                              WIDE_OR(WIDE_LOAD(at + 2 * WIDE_SIZE), WIDE_LOAD(at + 3 * WIDE_SIZE))));
}

WIDE_TARGET
uint32_t WIDE_NAME(uint32_t state, const uint8_t *data, size_t size)
{
    if (size < WIDE_SIZE + 3)
        return WIDE_SHORT(state, data, size);

    const uint8_t *const end = data + size;
    const uint8_t *const last = end - WIDE_SIZE; /* where a whole vector still fits */
    const uint8_t *at = data;

    /* The code point that an earlier piece began: at most three bytes. */
    while (state != WS_UTF8_BOUNDARY) {
        state = ws_utf8_step(state, *at++);
        if (state == WS_UTF8_REJECT)
            return state;
    }

    /* Most texts are ASCII and end here. */
    while (end - at >= 4 * WIDE_SIZE && ascii_4(at))
        at += 4 * WIDE_SIZE;
    while (at <= last && WIDE_ASCII(WIDE_LOAD(at)))
        at += WIDE_SIZE;
    if (at > last && WIDE_ASCII(WIDE_LOAD(last))) {
        WIDE_LEAVE();
        return state;
    }

    /* faults() looks back three bytes: first walk that far, to the next boundary. */
    while (state != WS_UTF8_BOUNDARY || at < data + 3) {
        state = ws_utf8_step(state, *at++);
        if (state == WS_UTF8_REJECT)
            return state;
    }

    WIDE_TYPE found = WIDE_SPREAD(0);

    for (; end - at >= 4 * WIDE_SIZE; at += 4 * WIDE_SIZE) {
        found = WIDE_OR(found, faults(at));
        if (ascii_4(at)) /* then only what stands before it can be cut short */
            continue;
        found = WIDE_OR(found, faults(at + WIDE_SIZE));
        found = WIDE_OR(found, faults(at + 2 * WIDE_SIZE));
        found = WIDE_OR(found, faults(at + 3 * WIDE_SIZE));
    }
    for (; at <= last; at += WIDE_SIZE)
        found = WIDE_OR(found, faults(at));
    found = WIDE_OR(found, faults(last)); /* the rest, and some bytes once more */

    if (WIDE_ANY(found))
        state = WS_UTF8_REJECT;
    else
        state = ws_utf8_walk(WS_UTF8_BOUNDARY, ws_utf8_unfinished(end), end);
    WIDE_LEAVE();
    return state;
}
