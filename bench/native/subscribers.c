/* The subscribers of a gateway, and the pace of its publisher.

   subscribers fan-out --port N --connections N --topics N --credits FD [--rate N | --window N
       --burst N] [--target PATH] [--greeting TEXT] [--deflate 1] [--watch PID] ...

   Every connection gets every message. Message k is the (k / topics)-th of topic k % topics, and its
   payload has "#TTTT NNNNNNNNNNNN" in it, topic and number in decimal: in each topic none may be
   missing, none may come twice or out of order. Other messages are not counted.

   A byte written to --credits allows the publisher --burst messages. With --rate so many messages
   become due in a second, one byte each, whatever has come back; and the latency of every delivery
   counts from the moment when its message was due. Without it --window messages are on their way.

   First messages of all topics are published, again and again, until all connections have the latest
   of each: then all of them are subscribed. --greeting is a text that each connection sends when it is open.
   Prints the result as a line of JSON, see window.h; it counts deliveries. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "arguments.h"
#include "conn.h"

#ifdef WITH_DEFLATE
#include <zlib.h>
#endif

enum {
    MAX_SAMPLES = 1 << 22,
    MAX_MESSAGE = 65536,
    TOPIC_DIGITS = 4,
    NUMBER_DIGITS = 12,
    SETTLE_SILENCE = 1000, /* milliseconds without a message, until others are tried */
    SETTLE_MOST = 30,      /* times that they are before it is given up */
    AT_A_TIME = 64,        /* connections that are being opened */
};

static struct arguments arguments;
static uint32_t open_count;
static uint64_t *next_numbers; /* by connection and topic */
static uint64_t received_count;
static uint64_t credited;      /* messages that the publisher may have sent */
static bool settled;
static uint64_t first_due;     /* ns, of message first_paced */
static uint64_t first_paced;
static uint64_t interval;      /* ns */
static uint32_t *samples;      /* latencies, ns */
static size_t sample_count;
static uint64_t wire_bytes, message_bytes;
static int timer;

static void give_credit(uint64_t bytes) {
    static uint8_t some[4096];
    credited += bytes * arguments.burst;
    while (bytes) {
        const size_t part = bytes < sizeof some ? bytes : sizeof some;
        const ssize_t written = write(arguments.credits, some, part);
        if (written <= 0) fail("the publisher has ended");
        bytes -= (uint64_t) written;
    }
}

/* Messages of a topic among the first count ones. */
static uint64_t expected_of(uint32_t topic, uint64_t count) {
    return (count + arguments.topics - 1 - topic) / arguments.topics;
}

static bool read_number(const uint8_t *text, size_t digits, uint64_t *number) {
    *number = 0;
    for (size_t i = 0; i < digits; ++i) {
        if (text[i] < '0' || text[i] > '9') return false;
        *number = *number * 10 + (uint64_t) (text[i] - '0');
    }
    return true;
}

static void count_message(const struct conn *conn, const uint8_t *payload, size_t size) {
    const uint8_t *mark = memchr(payload, '#', size);
    uint64_t topic, number;
    if (!mark || (size_t) (payload + size - mark) < 2 + TOPIC_DIGITS + NUMBER_DIGITS) return;
    if (!read_number(mark + 1, TOPIC_DIGITS, &topic) ||
        !read_number(mark + 2 + TOPIC_DIGITS, NUMBER_DIGITS, &number) ||
        topic >= arguments.topics) {
        fail("a message has no number: %.*s", (int) size, (const char *) payload);
    }
    uint64_t *next = &next_numbers[conn->number * arguments.topics + topic];
    if (settled ? number != *next : number < *next) {
        fail("connection %u got number %llu of topic %u instead of %llu", conn->number,
             (unsigned long long) number, (unsigned) topic, (unsigned long long) *next);
    }
    *next = number + 1;
    received_count += 1;
    if (first_due && window_open(&arguments.timing) && sample_count < MAX_SAMPLES) {
        const uint64_t at = number * arguments.topics + topic;
        samples[sample_count++] = (uint32_t) (now_ns() - first_due - (at - first_paced) * interval);
    }
}

/* Compression: each connection has a context of its own. */

#ifdef WITH_DEFLATE

static z_stream *inflaters;

static const uint8_t *inflated(uint32_t number, const uint8_t *data, size_t *size) {
    static const uint8_t END[4] = {0, 0, 0xff, 0xff};
    static uint8_t out[MAX_MESSAGE];
    if (!inflaters) inflaters = checked(calloc(arguments.connections, sizeof *inflaters));
    z_stream *stream = &inflaters[number];
    if (!stream->state && inflateInit2(stream, -15) != Z_OK) fail("inflateInit2 failed");
    stream->next_out = out;
    stream->avail_out = sizeof out;
    for (int part = 0; part < 2; ++part) {
        stream->next_in = (uint8_t *) (part ? END : data);
        stream->avail_in = (unsigned) (part ? sizeof END : *size);
        const int result = inflate(stream, Z_SYNC_FLUSH);
        if ((result != Z_OK && result != Z_BUF_ERROR) || stream->avail_in) fail("inflate failed");
    }
    *size = sizeof out - stream->avail_out;
    return out;
}

#else

static const uint8_t *inflated(uint32_t number, const uint8_t *data, size_t *size) {
    (void) number, (void) size;
    fail("built without compression: the headers of zlib are missing (package zlib1g-dev)");
    return data;
}

#endif

/* Connections */

static void opened(struct conn *conn) {
    open_count += 1;
    if (!arguments.greeting) return;
    const size_t size = strlen(arguments.greeting);
    uint8_t frame[MAX_HEADER + 125];
    uint8_t key[4];
    if (size > 125) fail("a greeting of %zu bytes", size);
    new_key(key);
    const size_t header = frame_encode(frame, OP_TEXT, size, key);
    mask_copy(frame + header, (const uint8_t *) arguments.greeting, size, key);
    conn_send(conn, frame, header + size);
}

static void lost(struct conn *conn) {
    fail("connection %u was closed", conn->number);
}

static size_t received(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    while (next_frame(conn, data, size, &position, &frame, &payload)) {
        size_t bytes = (size_t) frame.payload_size;
        const uint8_t *message = payload;
        wire_bytes += bytes;
        if (frame.compressed) message = inflated(conn->number, payload, &bytes);
        message_bytes += bytes;
        count_message(conn, message, bytes);
    }
    return position;
}

static const struct role ROLE = {.opened = opened, .received = received, .closed = lost};

static void connect_all(void) {
    for (uint32_t i = 0; i < arguments.connections; ++i) {
        while (i >= open_count + AT_A_TIME) conns_poll(-1);
        conns_connect(arguments.port, i);
    }
    while (open_count < arguments.connections) conns_poll(-1);
}

static bool is_complete(void) {
    for (uint32_t i = 0; i < arguments.connections; ++i) {
        for (uint32_t topic = 0; topic < arguments.topics; ++topic) {
            const uint64_t next = next_numbers[i * arguments.topics + topic];
            if (next != expected_of(topic, credited)) return false;
        }
    }
    return true;
}

/* Let messages of all topics be published until everybody has the latest of each. */
static void settle(void) {
    const uint64_t bytes = (arguments.topics + arguments.burst - 1) / arguments.burst;
    for (int i = 0; i < SETTLE_MOST; ++i) {
        give_credit(bytes);
        uint64_t latest = now_ns();
        while (now_ns() < latest + SETTLE_SILENCE * 1000000ull) {
            const uint64_t before = received_count;
            conns_poll(SETTLE_SILENCE / 10);
            if (received_count == before) continue;
            latest = now_ns();
            settled = is_complete();
            if (settled) return;
        }
    }
    fail("the subscribers got %llu messages, and never all of %llu",
         (unsigned long long) received_count, (unsigned long long) credited);
}

/* Pace */

static void due(void) {
    uint64_t expired = 0;
    if (read(timer, &expired, sizeof expired) == sizeof expired) give_credit(expired);
}

static void start_timer(void) {
    struct itimerspec times;
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    interval = 1000000000 / arguments.rate;
    first_paced = credited;
    first_due = now_ns() + interval;
    times.it_interval.tv_sec = 0;
    times.it_interval.tv_nsec = (long) interval;
    times.it_value.tv_sec = (time_t) (first_due / 1000000000);
    times.it_value.tv_nsec = (long) (first_due % 1000000000);
    if (timer < 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &times, NULL) < 0) {
        fail("there is no timer");
    }
    conns_watch(timer, due);
}

static int by_size(const void *left, const void *right) {
    const uint32_t a = *(const uint32_t *) left, b = *(const uint32_t *) right;
    return (a > b) - (a < b);
}

static void set_latencies(struct window *timing) {
    if (!sample_count) fail("nothing was delivered");
    qsort(samples, sample_count, sizeof *samples, by_size);
    timing->latency_p50 = samples[sample_count / 2] * 1e-3;
    timing->latency_p99 = samples[sample_count * 99 / 100] * 1e-3;
    timing->latency_p999 = samples[sample_count * 999 / 1000] * 1e-3;
    timing->latency_max = samples[sample_count - 1] * 1e-3;
}

static void run(void) {
    struct window *timing = &arguments.timing;
    connect_all();
    settle();
    const uint64_t before = received_count;
    const uint64_t paid = credited;
    if (arguments.rate) {
        samples = checked(malloc(MAX_SAMPLES * sizeof *samples));
        start_timer();
    }
    window_begin(timing, now_ns());
    for (;;) {
        if (!arguments.rate) {
            /* What has reached everybody makes room for others. */
            const uint64_t done = (received_count - before) / arguments.connections;
            const uint64_t wanted = done + arguments.window;
            if (wanted >= credited - paid + arguments.burst) {
                give_credit((wanted - (credited - paid)) / arguments.burst);
            }
        }
        /* Not for ever: a message that is missing must not hide. */
        conns_poll(1000);
        const uint64_t now = now_ns();
        if (window_open(timing) && (double) (now - timing->start_ns) * 1e-9 >= timing->seconds) {
            if (arguments.rate) set_latencies(timing);
            if (arguments.deflate) {
                timing->compression = (double) message_bytes / (double) wire_bytes;
            }
        }
        if (window_tick(timing, now, received_count)) return;
    }
}

int main(int count, char **words) {
    parse_arguments(&arguments, count, words);
    if (!arguments.credits) fail("--credits is missing");
    const size_t counters = (size_t) arguments.connections * arguments.topics;
    next_numbers = checked(calloc(counters, sizeof *next_numbers));
    conns_set_target(arguments.target);
    conns_init(&ROLE, false, arguments.deflate);
    run();
    return 0;
}
