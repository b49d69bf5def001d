#include "payloads.h"

#include <stdio.h>
#include <stdlib.h>

#include "conn.h"

static struct {
    uint8_t *bytes;
    size_t size; /* of each message */
    size_t count;
} payloads;

static struct {
    uint8_t *bytes;
    size_t *ends;
} frames;

void payloads_init(const char *file, size_t size) {
    FILE *stream = fopen(file, "rb");
    long all = 0;
    if (!stream || fseek(stream, 0, SEEK_END) || (all = ftell(stream)) <= 0 || all % (long) size) {
        fail("%s has no messages of %zu bytes", file, size);
    }
    rewind(stream);
    payloads.bytes = checked(malloc((size_t) all));
    payloads.size = size;
    payloads.count = (size_t) all / size;
    if (fread(payloads.bytes, size, payloads.count, stream) != payloads.count) {
        fail("%s cannot be read", file);
    }
    fclose(stream);
}

size_t payloads_count(void) {
    return payloads.count;
}

const uint8_t *payload_of(uint64_t number) {
    return payloads.bytes + number % payloads.count * payloads.size;
}

#ifdef WITH_DEFLATE

#include <zlib.h>

enum { TAIL = 4 /* 00 00 ff ff, which is not sent */ };

static z_stream deflater, inflater;
static bool inflates;
static uint8_t *inflated;

static void deflater_init(void) {
    /* zlib's own defaults, but for the window. */
    if (deflateInit2(&deflater, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -WINDOW_BITS, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        fail("deflateInit2 failed");
    }
}

static size_t deflate_message(const uint8_t *message, bool is_last, uint8_t *out, size_t room) {
    deflater.next_in = (uint8_t *) message;
    deflater.avail_in = (unsigned) payloads.size;
    deflater.next_out = out;
    deflater.avail_out = (unsigned) room;
    if (deflate(&deflater, is_last ? Z_FULL_FLUSH : Z_SYNC_FLUSH) != Z_OK || !deflater.avail_out) {
        fail("deflate failed");
    }
    return room - deflater.avail_out - TAIL;
}

static const uint8_t *inflate_message(const uint8_t *data, size_t size) {
    static const uint8_t END[TAIL] = {0, 0, 0xff, 0xff};
    if (!inflates) {
        inflates = true;
        inflated = checked(malloc(payloads.size + 1));
        if (inflateInit2(&inflater, -15) != Z_OK) fail("inflateInit2 failed");
    }
    inflater.next_out = inflated;
    inflater.avail_out = (unsigned) payloads.size + 1;
    for (int part = 0; part < 2; ++part) {
        inflater.next_in = (uint8_t *) (part ? END : data);
        inflater.avail_in = (unsigned) (part ? TAIL : size);
        const int result = inflate(&inflater, Z_SYNC_FLUSH);
        if ((result != Z_OK && result != Z_BUF_ERROR) || inflater.avail_in) fail("inflate failed");
    }
    if (inflater.avail_out != 1) fail("a message is not %zu bytes long", payloads.size);
    return inflated;
}

#else

static void no_deflate(void) {
    fail("built without compression: the headers of zlib are missing (package zlib1g-dev)");
}

static void deflater_init(void) {
    no_deflate();
}

static size_t deflate_message(const uint8_t *message, bool is_last, uint8_t *out, size_t room) {
    (void) message, (void) is_last, (void) out, (void) room;
    return 0;
}

static const uint8_t *inflate_message(const uint8_t *data, size_t size) {
    (void) size;
    no_deflate();
    return data;
}

#endif

void payload_frames_init(bool masked, bool deflate) {
    const size_t room = payloads.size + payloads.size / 8 + 64;
    uint8_t *const data = checked(malloc(room));
    size_t used = 0;
    frames.bytes = checked(malloc(payloads.count * (MAX_HEADER + room)));
    frames.ends = checked(malloc(payloads.count * sizeof *frames.ends));
    if (deflate) deflater_init();
    for (size_t i = 0; i < payloads.count; ++i) {
        uint8_t key[4];
        uint8_t opcode = OP_TEXT;
        size_t size = payloads.size;
        if (deflate) {
            opcode |= RSV1;
            size = deflate_message(payload_of(i), i + 1 == payloads.count, data, room);
        } else {
            memcpy(data, payload_of(i), size);
        }
        new_key(key);
        used += frame_encode(frames.bytes + used, opcode, size, masked ? key : NULL);
        if (masked) mask_in_place(data, size, key);
        memcpy(frames.bytes + used, data, size);
        used += size;
        frames.ends[i] = used;
    }
    free(data);
}

const uint8_t *payload_frame(uint64_t number, size_t *size) {
    const size_t place = number % payloads.count;
    const size_t start = place ? frames.ends[place - 1] : 0;
    *size = frames.ends[place] - start;
    return frames.bytes + start;
}

void payload_check(uint64_t number, const struct frame *frame, const uint8_t *payload) {
    size_t size = (size_t) frame->payload_size;
    if (frame->compressed) {
        payload = inflate_message(payload, size);
        size = payloads.size;
    }
    if (frame->opcode != OP_TEXT || size != payloads.size ||
        memcmp(payload, payload_of(number), size) != 0) {
        fail("message %llu is another", (unsigned long long) number);
    }
}
