/* A WebSocket client on epoll: the load of every server's measurement, and the machine's limit in
   every client's.

   client ROLE --port N [--connections N] [--size N] [--window N] [--watch PID] ...

   echo       each connection keeps --window messages in flight and compares what comes back
   broadcast  the first connection sends a message once all have received the one before
   churn      connects, upgrades, closes, again and again, on --connections at a time; with
              --resume 1 each TLS handshake resumes an earlier session
   idle       opens --first connections, each of which has one message echoed, says so, opens the
              rest of --connections after a line on standard input, says so, and waits
   source     one connection that sends numbered frames as fast as the server takes them
   sink       one connection that counts frames
   tail       one connection that sends --rate numbered messages a second, whether or not echoes
              come back, and takes the time from the moment when each was due to its echo

   Prints its result as a line of JSON; --watch adds the CPU time of a process,
   and may be given again. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "arguments.h"
#include "conn.h"
#include "payloads.h"
#include "stream.h"

enum { MAX_SAMPLES = 1 << 20 };

static struct arguments arguments;
static const uint8_t *message;
static uint8_t message_opcode = OP_BINARY;
static uint8_t *outgoing; /* room for a window of frames */
static size_t frame_size; /* of a masked message */
static struct conn **conns;
static uint32_t open_count;
static uint64_t received_count;
static uint64_t wire_bytes; /* of compressed payloads */
static bool over;
static uint32_t *samples; /* latencies, ns */
static size_t sample_count;

static uint8_t *put_message(uint8_t *out) {
    uint8_t key[4];
    new_key(key);
    const size_t header_size = frame_encode(out, message_opcode, arguments.size, key);
    mask_copy(out + header_size, message, arguments.size, key);
    return out + header_size + arguments.size;
}

static void send_messages(struct conn *conn, uint64_t count) {
    uint8_t *end = outgoing;
    for (uint64_t i = 0; i < count; ++i) end = put_message(end);
    conn_send(conn, outgoing, (size_t) (end - outgoing));
}

static void check_message(const struct frame *frame, const uint8_t *payload) {
    if (frame->payload_size != arguments.size || memcmp(payload, message, arguments.size) != 0) {
        fail("a message of %zu bytes is not what was sent", (size_t) frame->payload_size);
    }
}

static void connect_all(void (*opened_so_far)(uint32_t count)) {
    enum { AT_A_TIME = 64 }; /* fits every server's backlog */
    conns = checked(calloc(arguments.connections, sizeof *conns));
    for (uint32_t i = 0; i < arguments.connections; ++i) {
        while (i >= open_count + AT_A_TIME) conns_poll(-1);
        if (opened_so_far) opened_so_far(i);
        conns[i] = conns_connect(arguments.port, i);
    }
    while (open_count < arguments.connections) conns_poll(-1);
}

static void count_open(struct conn *conn) {
    (void) conn;
    open_count += 1;
}

static void lost(struct conn *conn) {
    if (!over) fail("connection %u was closed", conn->number);
}

/* echo */

static int by_size(const void *left, const void *right) {
    const uint32_t a = *(const uint32_t *) left, b = *(const uint32_t *) right;
    return (a > b) - (a < b);
}

static void set_latencies(struct window *timing) {
    if (!sample_count) return;
    qsort(samples, sample_count, sizeof *samples, by_size);
    timing->latency_p50 = samples[sample_count / 2] * 1e-3;
    timing->latency_p99 = samples[sample_count * 99 / 100] * 1e-3;
    timing->latency_p999 = samples[sample_count * 999 / 1000] * 1e-3;
    timing->latency_max = samples[sample_count - 1] * 1e-3;
}

static size_t echo_received(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    uint64_t count = 0;
    struct frame frame;
    uint8_t *payload;
    while (next_frame(conn, data, size, &position, &frame, &payload)) {
        check_message(&frame, payload);
        count += 1;
    }
    if (!count || over) return position;
    if (count > conn->in_flight) fail("more echoes than messages");
    received_count += count;
    uint64_t again = count;
    if (arguments.timing.messages) {
        const uint64_t left = arguments.timing.messages - received_count;
        const uint64_t others = conn->in_flight - count; /* still on their way */
        again = left > others ? (left - others < count ? left - others : count) : 0;
    } else if (arguments.window == 1) {
        const uint64_t now = now_ns();
        if (window_open(&arguments.timing) && sample_count < MAX_SAMPLES) {
            samples[sample_count++] = (uint32_t) (now - conn->sent_at);
        }
        conn->sent_at = now;
    }
    conn->in_flight -= count - again;
    if (again) send_messages(conn, again);
    return position;
}

static const struct role ECHO_ROLE = {
    .opened = count_open, .received = echo_received, .closed = lost};

static void run_echo(void) {
    struct window *timing = &arguments.timing;
    samples = checked(malloc(MAX_SAMPLES * sizeof *samples));
    if (timing->messages && arguments.connections > 1) fail("--messages is for one connection");
    connect_all(NULL);
    window_begin(timing, now_ns());
    for (uint32_t i = 0; i < arguments.connections; ++i) {
        uint64_t count = arguments.window;
        if (timing->messages && timing->messages < count) count = timing->messages;
        conns[i]->sent_at = now_ns();
        conns[i]->in_flight = count;
        send_messages(conns[i], count);
    }
    for (;;) {
        conns_poll(-1);
        const uint64_t now = now_ns();
        const bool last =
            window_open(timing) && (double) (now - timing->start_ns) * 1e-9 >= timing->seconds;
        if (last && !timing->messages) set_latencies(timing);
        if (window_tick(timing, now, received_count)) return;
    }
}

/* tail */

static int tail_timer;
static uint64_t tail_interval; /* ns */
static uint64_t tail_first;    /* when message 0 is due */
static uint64_t tail_sent;
static uint8_t *tail_message;

static void tail_due(void) {
    uint64_t expired = 0;
    if (read(tail_timer, &expired, sizeof expired) != sizeof expired) return;
    for (; expired; --expired) {
        memcpy(tail_message, &tail_sent, sizeof tail_sent);
        tail_sent += 1;
        send_messages(conns[0], 1);
    }
}

static size_t tail_received(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    while (next_frame(conn, data, size, &position, &frame, &payload)) {
        memcpy(tail_message, &received_count, sizeof received_count);
        check_message(&frame, payload);
        const uint64_t due = tail_first + received_count * tail_interval;
        received_count += 1;
        if (window_open(&arguments.timing) && sample_count < MAX_SAMPLES) {
            samples[sample_count++] = (uint32_t) (now_ns() - due);
        }
    }
    return position;
}

static const struct role TAIL_ROLE = {
    .opened = count_open, .received = tail_received, .closed = lost};

static void run_tail(void) {
    struct window *timing = &arguments.timing;
    struct itimerspec times;
    if (!arguments.rate) fail("--rate is missing");
    samples = checked(malloc(MAX_SAMPLES * sizeof *samples));
    tail_message = new_message(arguments.size);
    message = tail_message;
    connect_all(NULL);
    tail_timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    tail_interval = 1000000000 / arguments.rate;
    tail_first = now_ns() + tail_interval;
    times.it_interval.tv_sec = 0;
    times.it_interval.tv_nsec = (long) tail_interval;
    times.it_value.tv_sec = (time_t) (tail_first / 1000000000);
    times.it_value.tv_nsec = (long) (tail_first % 1000000000);
    if (tail_timer < 0 || timerfd_settime(tail_timer, TFD_TIMER_ABSTIME, &times, NULL) < 0) {
        fail("there is no timer");
    }
    conns_watch(tail_timer, tail_due);
    window_begin(timing, now_ns());
    for (;;) {
        conns_poll(-1);
        const uint64_t now = now_ns();
        if (window_open(timing) && (double) (now - timing->start_ns) * 1e-9 >= timing->seconds) {
            set_latencies(timing);
        }
        if (window_tick(timing, now, received_count)) return;
    }
}

/* broadcast */

static void start_round(void) {
    send_messages(conns[0], 1);
}

/* Every connection gets the same bytes, since all have got the same messages so far. The first one's
   are inflated. */
static void check_compressed(const struct conn *conn, const struct frame *frame,
                             const uint8_t *payload) {
    static uint8_t *same;
    static size_t same_size;
    const size_t size = (size_t) frame->payload_size;
    if (received_count % arguments.connections == 0) {
        same = checked(realloc(same, size + 1));
        memcpy(same, payload, size);
        same_size = size;
    }
    if (!frame->compressed || size != same_size || memcmp(payload, same, size) != 0) {
        fail("connection %u got another message than the others", conn->number);
    }
    if (conn == conns[0]) payload_check(0, frame, payload);
    wire_bytes += size;
}

static size_t broadcast_received(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    while (next_frame(conn, data, size, &position, &frame, &payload)) {
        if (conn->deflates) {
            check_compressed(conn, &frame, payload);
        } else {
            check_message(&frame, payload);
        }
        received_count += 1;
        conn->in_flight += 1; /* rounds seen by this connection */
        if (conn->in_flight * arguments.connections > received_count + arguments.connections) {
            fail("a message was sent twice");
        }
        if (received_count % arguments.connections == 0) start_round();
    }
    return position;
}

static const struct role BROADCAST_ROLE = {
    .opened = count_open, .received = broadcast_received, .closed = lost};

static void run_broadcast(void) {
    connect_all(NULL);
    window_begin(&arguments.timing, now_ns());
    start_round();
    do {
        conns_poll(-1);
        if (wire_bytes) {
            arguments.timing.compression =
                (double) (received_count * arguments.size) / (double) wire_bytes;
        }
    } while (!window_tick(&arguments.timing, now_ns(), received_count));
}

/* churn */

static uint32_t next_number;

static void churn_opened(struct conn *conn) {
    conn_send_close(conn);
}

static void churn_closed(struct conn *conn) {
    (void) conn;
    received_count += 1;
    conns_connect(arguments.port, next_number++);
}

static size_t no_message(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    if (next_frame(conn, data, size, &position, &frame, &payload)) fail("an unexpected message");
    return position;
}

static const struct role CHURN_ROLE = {
    .opened = churn_opened, .received = no_message, .closed = churn_closed};

static void run_churn(void) {
    window_begin(&arguments.timing, now_ns());
    while (next_number < arguments.connections) conns_connect(arguments.port, next_number++);
    do {
        conns_poll(-1);
    } while (!window_tick(&arguments.timing, now_ns(), received_count));
}

/* idle */

static bool go_on, stop;

static void idle_line(void) {
    go_on = true;
}

static void idle_end(void) {
    stop = true;
}

static void idle_opened(struct conn *conn) {
    send_messages(conn, 1);
}

static size_t idle_received(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    while (next_frame(conn, data, size, &position, &frame, &payload)) {
        check_message(&frame, payload);
        open_count += 1;
    }
    return position;
}

static const struct role IDLE_ROLE = {
    .opened = idle_opened, .received = idle_received, .closed = lost};

static void tell_idle(uint32_t count) {
    if (count != arguments.first) return;
    while (open_count < count) conns_poll(-1);
    printf("{\"idle\": %u}\n", count);
    fflush(stdout);
    while (!go_on && !stop) conns_poll(-1);
}

static void run_idle(void) {
    conns_watch_stdin(idle_line, idle_end);
    connect_all(tell_idle);
    printf("{\"idle\": %u}\n", open_count);
    fflush(stdout);
    while (!stop) conns_poll(-1);
}

/* source and sink */

static void stream_closed(struct conn *conn) {
    (void) conn;
    over = true;
}

static const struct role SOURCE_ROLE = {.opened = source_write,
                                        .received = no_message,
                                        .writable = source_write,
                                        .closed = stream_closed};

static void run_source(void) {
    bool told = false;
    conns_connect(arguments.port, 0);
    window_begin(&arguments.timing, now_ns());
    /* The sink closes the connection when it has counted enough. */
    while (!over) {
        conns_poll(-1);
        if (!told) told = window_tick(&arguments.timing, now_ns(), source_count());
    }
}

static size_t sink_received(struct conn *conn, uint8_t *data, size_t size) {
    const size_t used = sink_receive(conn, data, size);
    window_begin(&arguments.timing, now_ns());
    arguments.timing.compression = sink_compression();
    return used;
}

static const struct role SINK_ROLE = {.received = sink_received, .closed = stream_closed};

static void run_sink(void) {
    conns_connect(arguments.port, 0);
    do {
        conns_poll(-1);
        if (window_tick(&arguments.timing, now_ns(), sink_count())) return;
    } while (!over);
    fail("the connection was closed after %llu frames", (unsigned long long) sink_count());
}

int main(int count, char **words) {
    parse_arguments(&arguments, count, words);
    if (arguments.payloads) payloads_init(arguments.payloads, arguments.size);
    const struct role *role;
    void (*run)(void);
    if (!strcmp(arguments.role, "echo")) {
        role = &ECHO_ROLE, run = run_echo;
    } else if (!strcmp(arguments.role, "broadcast")) {
        role = &BROADCAST_ROLE, run = run_broadcast;
    } else if (!strcmp(arguments.role, "churn")) {
        role = &CHURN_ROLE, run = run_churn;
    } else if (!strcmp(arguments.role, "idle")) {
        role = &IDLE_ROLE, run = run_idle;
    } else if (!strcmp(arguments.role, "tail")) {
        role = &TAIL_ROLE, run = run_tail;
    } else if (!strcmp(arguments.role, "source")) {
        source_init(arguments.size, arguments.timing.messages, true, arguments.deflate);
        role = &SOURCE_ROLE, run = run_source;
    } else if (!strcmp(arguments.role, "sink")) {
        sink_init(arguments.size, arguments.numbered);
        role = &SINK_ROLE, run = run_sink;
    } else {
        fail("a client has no role %s", arguments.role);
    }
    frame_size = frame_header_size(arguments.size, true) + arguments.size;
    message = new_message(arguments.size);
    if (arguments.payloads) {
        message = payload_of(0);
        message_opcode = OP_TEXT;
    }
    outgoing = checked(malloc(frame_size * arguments.window));
    if (arguments.authority) tls_trust(arguments.authority);
    if (arguments.resume) tls_resume();
    conns_init(role, arguments.authority != NULL, arguments.deflate);
    run();
    return 0;
}
