/* A WebSocket server on epoll, as fast as a straightforward C program gets.

   server ROLE [--port N] [--size N] [--cert FILE --key FILE] ...

   echo       sends every message back
   broadcast  sends every message to all connections
   source     sends numbered frames as fast as the client takes them
   sink       counts frames of --size bytes, for --seconds after the first --warmup ones, and says
              how many there were

   Prints {"port": N} once it listens, and ends when standard input ends. */
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "conn.h"
#include "payloads.h"
#include "stream.h"

static struct arguments arguments;
static bool over;      /* the window is */
static bool told_to_end;

/* echo */

/* The replies of one read, gathered in place: a client's header is 4 bytes longer than ours, so a
   reply is never in front of what it is made of. */
static size_t echo_received(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    uint8_t *replies = NULL;
    uint8_t *end = NULL;
    while (next_frame(conn, data, size, &position, &frame, &payload)) {
        const size_t bytes = (size_t) frame.payload_size;
        const size_t header_size = frame_header_size(bytes, false);
        if (replies) {
            memmove(end + header_size, payload, bytes);
        } else {
            replies = end = payload - header_size;
        }
        frame_encode(end, OP_BINARY, bytes, NULL);
        end += header_size + bytes;
    }
    if (replies) conn_send(conn, replies, (size_t) (end - replies));
    return position;
}

static const struct role ECHO_ROLE = {.received = echo_received};

/* broadcast */

static struct conn **members;
static size_t member_count, member_room;

static void broadcast_opened(struct conn *conn) {
    if (member_count == member_room) {
        member_room = member_room ? 2 * member_room : 1024;
        members = checked(realloc(members, member_room * sizeof *members));
    }
    conn->number = (uint32_t) member_count;
    members[member_count++] = conn;
}

static void broadcast_closed(struct conn *conn) {
    members[conn->number] = members[--member_count];
    members[conn->number]->number = conn->number;
}

static size_t broadcast_received(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    while (next_frame(conn, data, size, &position, &frame, &payload)) {
        const size_t bytes = (size_t) frame.payload_size;
        const size_t header_size = frame_header_size(bytes, false);
        frame_encode(payload - header_size, OP_BINARY, bytes, NULL);
        for (size_t i = member_count; i-- > 0;) {
            conn_send(members[i], payload - header_size, header_size + bytes);
        }
    }
    return position;
}

static const struct role BROADCAST_ROLE = {
    .opened = broadcast_opened, .received = broadcast_received, .closed = broadcast_closed};

/* source and sink */

static size_t source_received(struct conn *conn, uint8_t *data, size_t size) {
    size_t position = 0;
    struct frame frame;
    uint8_t *payload;
    if (next_frame(conn, data, size, &position, &frame, &payload)) {
        fail("a message for a source");
    }
    return position;
}

static const struct role SOURCE_ROLE = {
    .opened = source_write, .received = source_received, .writable = source_write};

static struct conn *sending;

static void sink_opened(struct conn *conn) {
    sending = conn;
}

static void sink_closed(struct conn *conn) {
    (void) conn;
    sending = NULL;
}

static size_t sink_received(struct conn *conn, uint8_t *data, size_t size) {
    const size_t used = sink_receive(conn, data, size);
    const uint64_t now = now_ns();
    window_begin(&arguments.timing, now);
    arguments.timing.compression = sink_compression();
    if (!over && window_tick(&arguments.timing, now, sink_count())) {
        over = true;
        if (sending) conn_send_close(sending);
    }
    return used;
}

static const struct role SINK_ROLE = {
    .opened = sink_opened, .received = sink_received, .closed = sink_closed};

static void stdin_ended(void) {
    told_to_end = true;
}

int main(int count, char **words) {
    parse_arguments(&arguments, count, words);
    if (arguments.payloads) payloads_init(arguments.payloads, arguments.size);
    const struct role *role;
    if (!strcmp(arguments.role, "echo")) {
        role = &ECHO_ROLE;
    } else if (!strcmp(arguments.role, "broadcast")) {
        role = &BROADCAST_ROLE;
    } else if (!strcmp(arguments.role, "source")) {
        source_init(arguments.size, arguments.timing.messages, false, arguments.deflate);
        role = &SOURCE_ROLE;
    } else if (!strcmp(arguments.role, "sink")) {
        sink_init(arguments.size, arguments.numbered);
        role = &SINK_ROLE;
    } else {
        fail("a server has no role %s", arguments.role);
    }
    if (arguments.certificate) tls_serve(arguments.certificate, arguments.key);
    conns_init(role, arguments.certificate != NULL, arguments.deflate);
    conns_watch_stdin(NULL, stdin_ended);
    printf("{\"port\": %d}\n", conns_listen(arguments.port, arguments.reuse_port));
    fflush(stdout);
    while (!told_to_end) conns_poll(-1);
    return 0;
}
