/* The messages that a stream or broadcast consists of: text, all of one size, over and over. */
#ifndef BENCH_PAYLOADS_H
#define BENCH_PAYLOADS_H

#include <stddef.h>
#include <stdint.h>

#include "frame.h"

/* Read a file of whole messages of that size; ends the program if it is not one. */
void payloads_init(const char *file, size_t size);

/* How many there are; 0 without a file. */
size_t payloads_count(void);

/* The n-th message of an endless stream of them. */
const uint8_t *payload_of(uint64_t number);

/* The messages as a cycle of frames that can be repeated for ever. deflate: they are compressed with
   context takeover (RFC 7692, 7.2.1), and at the end of the cycle the context is dropped. */
void payload_frames_init(bool masked, bool deflate);

/* The frame of the n-th message of the stream. */
const uint8_t *payload_frame(uint64_t number, size_t *size);

/* Compare a frame's payload with the n-th message of the stream; a compressed one is inflated, so
   that of a sender with context takeover none may be left out. */
void payload_check(uint64_t number, const struct frame *frame, const uint8_t *payload);

#endif
