/* One-way streams of small frames: a source that sends as fast as the kernel takes, a sink. */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include "conn.h"

/* The first 8 bytes of a source's payload are the frame's number from 0, little-endian; the rest
   is as in new_message. So a receiver that has counted n frames and sees number n - 1 has lost
   none. */
enum { NUMBER_SIZE = 8 };

/* limit: frames after which a CLOSE frame is sent, or 0. With payloads (payloads.h) these are sent,
   compressed if deflate says so, and have no numbers. */
void source_init(size_t size, uint64_t limit, bool masked, bool deflate);
void source_write(struct conn *conn);
uint64_t source_count(void); /* frames handed over so far */

/* With payloads, these are expected. Compressed ones are inflated and compared at the beginning only,
   which is enough to see that the sender does what it should. */
void sink_init(size_t size, bool numbered);
size_t sink_receive(struct conn *conn, uint8_t *data, size_t size);
uint64_t sink_count(void);

/* Bytes of messages per byte of payload so far; 0 without payloads. */
double sink_compression(void);

#endif
