#include "stream.h"

#include <stdlib.h>

#include "arguments.h"
#include "payloads.h"

enum {
    CHUNK = 256 * 1024, /* bytes that are written at a time */
    WRITES = 16,        /* writes before the clock is read again */
    CHECK_EVERY = 64,   /* the rest of a payload is compared in every so many frames */
    INFLATED = 2048,    /* compressed messages that a sink inflates */
};

static const uint8_t *message;
static size_t message_size;

static struct {
    uint8_t *chunk;
    size_t header_size;
    size_t filled; /* bytes of the chunk that are in use */
    size_t sent;   /* bytes of them that are written */
    uint64_t count;
    uint64_t limit;
    bool masked;
} source;

static struct {
    uint64_t count;
    uint64_t wire_bytes; /* of payload */
    bool numbered;
} sink;

void source_init(size_t size, uint64_t limit, bool masked, bool deflate) {
    if (size < NUMBER_SIZE) fail("a numbered frame has at least %d bytes", NUMBER_SIZE);
    message_size = size;
    message = new_message(size);
    source.header_size = frame_header_size(size, masked);
    source.chunk = checked(malloc(CHUNK + MAX_HEADER + size));
    source.limit = limit;
    source.masked = masked;
    if (payloads_count()) {
        payload_frames_init(masked, deflate);
        return;
    }
    if (masked) return;
    /* Unmasked frames stay as they are, but for their numbers. */
    for (size_t used = 0; used < CHUNK; used += source.header_size + size) {
        frame_encode(source.chunk + used, OP_BINARY, size, NULL);
        memcpy(source.chunk + used + source.header_size, message, size);
    }
}

static void fill_with_payloads(void) {
    size_t used = 0, size;
    while (used < CHUNK && (!source.limit || source.count < source.limit)) {
        const uint8_t *frame = payload_frame(source.count, &size);
        /* The chunk has room for one more than fits: a frame is hardly larger than its message. */
        if (used + size > CHUNK + MAX_HEADER + message_size) break;
        memcpy(source.chunk + used, frame, size);
        source.count += 1;
        used += size;
    }
    source.filled = used;
    source.sent = 0;
}

static void fill(void) {
    if (payloads_count()) {
        fill_with_payloads();
        return;
    }
    const size_t whole = source.header_size + message_size;
    size_t used = 0;
    while (used < CHUNK && (!source.limit || source.count < source.limit)) {
        uint8_t *payload = source.chunk + used + source.header_size;
        if (source.masked) {
            uint8_t key[4];
            new_key(key);
            frame_encode(source.chunk + used, OP_BINARY, message_size, key);
            memcpy(payload, &source.count, NUMBER_SIZE);
            mask_in_place(payload, NUMBER_SIZE, key);
            mask_copy(payload + NUMBER_SIZE, message + NUMBER_SIZE, message_size - NUMBER_SIZE,
                      key);
        } else {
            memcpy(payload, &source.count, NUMBER_SIZE);
        }
        source.count += 1;
        used += whole;
    }
    source.filled = used;
    source.sent = 0;
}

void source_write(struct conn *conn) {
    /* A sink as fast as this one would keep it here for ever. */
    for (int i = 0; i < WRITES; i++) {
        if (source.sent == source.filled) {
            fill();
            if (source.filled == 0) {
                conn_send_close(conn);
                return;
            }
        }
        source.sent +=
            conn_send_some(conn, source.chunk + source.sent, source.filled - source.sent);
        if (conn->phase == PHASE_GONE) return;
        if (source.sent < source.filled || conn->wants_writable) break;
    }
    conn_want_writable(conn);
}

uint64_t source_count(void) {
    return source.count;
}

void sink_init(size_t size, bool numbered) {
    message_size = size;
    message = new_message(size);
    sink.numbered = numbered;
}

static void check_payload(const struct conn *conn, const struct frame *frame,
                          const uint8_t *payload) {
    sink.wire_bytes += frame->payload_size;
    if (sink.count < INFLATED || (!conn->deflates && sink.count % CHECK_EVERY == 0)) {
        payload_check(sink.count, frame, payload);
    }
}

static void check_number(const struct frame *frame, const uint8_t *payload) {
    if (frame->payload_size != message_size) {
        fail("a frame of %zu bytes, not %zu", (size_t) frame->payload_size, message_size);
    }
    if (sink.numbered && memcmp(payload, &sink.count, NUMBER_SIZE) != 0) {
        fail("frame %llu has another number", (unsigned long long) sink.count);
    }
    if (sink.count % CHECK_EVERY == 0 && message_size > NUMBER_SIZE &&
        memcmp(payload + NUMBER_SIZE, message + NUMBER_SIZE, message_size - NUMBER_SIZE) != 0) {
        fail("frame %llu has another payload", (unsigned long long) sink.count);
    }
}

size_t sink_receive(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    while (next_frame(conn, data, size, &position, &frame, &payload)) {
        if (payloads_count()) {
            check_payload(conn, &frame, payload);
        } else {
            check_number(&frame, payload);
        }
        sink.count += 1;
    }
    return position;
}

uint64_t sink_count(void) {
    return sink.count;
}

double sink_compression(void) {
    if (!sink.wire_bytes) return 0;
    return (double) (sink.count * message_size) / (double) sink.wire_bytes;
}
