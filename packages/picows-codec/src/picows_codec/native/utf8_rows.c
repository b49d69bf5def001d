#include "utf8.h"

/* RFC 3629, 4, read as an automaton. Every transition that is not named leads to REJECT. */

#define PLACE(from, to) ((uint64_t)(to) << (from))

#define NOWHERE                                                                                    \
    (PLACE(WS_UTF8_BOUNDARY, WS_UTF8_REJECT) | PLACE(WS_UTF8_REJECT, WS_UTF8_REJECT) |             \
     PLACE(WS_UTF8_TAIL_1, WS_UTF8_REJECT) | PLACE(WS_UTF8_TAIL_2, WS_UTF8_REJECT) |               \
     PLACE(WS_UTF8_TAIL_3, WS_UTF8_REJECT) | PLACE(WS_UTF8_AFTER_E0, WS_UTF8_REJECT) |             \
     PLACE(WS_UTF8_AFTER_ED, WS_UTF8_REJECT) | PLACE(WS_UTF8_AFTER_F0, WS_UTF8_REJECT) |           \
     PLACE(WS_UTF8_AFTER_F4, WS_UTF8_REJECT))

/* XORed with NOWHERE, this replaces the REJECT in one slot; no slot is replaced twice. */
#define GO(from, to) PLACE(from, WS_UTF8_REJECT ^ (to))

#define LEAD(to) (NOWHERE ^ GO(WS_UTF8_BOUNDARY, to))

#define TAIL                                                                                       \
    (NOWHERE ^ GO(WS_UTF8_TAIL_1, WS_UTF8_BOUNDARY) ^ GO(WS_UTF8_TAIL_2, WS_UTF8_TAIL_1) ^         \
     GO(WS_UTF8_TAIL_3, WS_UTF8_TAIL_2))
#define TAIL_80_8F                                                                                 \
    (TAIL ^ GO(WS_UTF8_AFTER_ED, WS_UTF8_TAIL_1) ^ GO(WS_UTF8_AFTER_F4, WS_UTF8_TAIL_2))
#define TAIL_90_9F                                                                                 \
    (TAIL ^ GO(WS_UTF8_AFTER_ED, WS_UTF8_TAIL_1) ^ GO(WS_UTF8_AFTER_F0, WS_UTF8_TAIL_2))
#define TAIL_A0_BF                                                                                 \
    (TAIL ^ GO(WS_UTF8_AFTER_E0, WS_UTF8_TAIL_1) ^ GO(WS_UTF8_AFTER_F0, WS_UTF8_TAIL_2))

#define TWICE(row) row, row
#define X4(row) TWICE(row), TWICE(row)
#define X8(row) X4(row), X4(row)
#define X16(row) X8(row), X8(row)
#define X32(row) X16(row), X16(row)
#define X64(row) X32(row), X32(row)

const uint64_t ws_utf8_rows[256] = {
    X64(LEAD(WS_UTF8_BOUNDARY)), X64(LEAD(WS_UTF8_BOUNDARY)),     /* 00-7F */
    X16(TAIL_80_8F), X16(TAIL_90_9F), X32(TAIL_A0_BF),            /* 80-BF */
    TWICE(NOWHERE),                                               /* C0-C1: overlong */
    TWICE(LEAD(WS_UTF8_TAIL_1)), X4(LEAD(WS_UTF8_TAIL_1)),        /* C2-C7 */
    X8(LEAD(WS_UTF8_TAIL_1)), X16(LEAD(WS_UTF8_TAIL_1)),          /* C8-DF */
    LEAD(WS_UTF8_AFTER_E0),                                       /* E0 */
    X8(LEAD(WS_UTF8_TAIL_2)), X4(LEAD(WS_UTF8_TAIL_2)),           /* E1-EC */
    LEAD(WS_UTF8_AFTER_ED),                                       /* ED */
    TWICE(LEAD(WS_UTF8_TAIL_2)),                                  /* EE-EF */
    LEAD(WS_UTF8_AFTER_F0),                                       /* F0 */
    TWICE(LEAD(WS_UTF8_TAIL_3)), LEAD(WS_UTF8_TAIL_3),            /* F1-F3 */
    LEAD(WS_UTF8_AFTER_F4),                                       /* F4 */
    TWICE(NOWHERE), NOWHERE, X8(NOWHERE),                         /* F5-FF: above U+10FFFF */
};
