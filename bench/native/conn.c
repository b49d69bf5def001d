#define _GNU_SOURCE
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    READ_SIZE = 256 * 1024, /* bytes asked of the kernel at a time */
    LARGE_FRAME = 16 * 1024,
    BATCH = 512, /* events per epoll_wait */
    BACKLOG = 4096,
    SOURCE_ADDRESSES = 200,
};

static const struct role *role;
static bool secure, with_deflate;
static const char *target = "/";
static int poller;
static int listener = -1;
static int listener_mark, stdin_mark, watched_mark; /* their addresses tell events apart */
static void (*on_stdin_line)(void);
static void (*on_stdin_end)(void);
static void (*on_watched)(void);
static struct conn *gone;
static uint8_t shared[READ_SIZE] __attribute__((aligned(4096))); /* copies into it are faster */

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *checked(void *pointer) {
    if (!pointer) fail("out of memory");
    return pointer;
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static void watch(int operation, int fd, uint32_t events, void *mark) {
    struct epoll_event event = {.events = events, .data.ptr = mark};
    if (epoll_ctl(poller, operation, fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

void conns_init(const struct role *the_role, bool is_secure, bool uses_deflate) {
    role = the_role;
    secure = is_secure;
    with_deflate = uses_deflate;
    poller = epoll_create1(0);
    if (poller < 0) fail("epoll_create1: %s", strerror(errno));
}

void conns_set_target(const char *the_target) {
    target = the_target;
}

static void prepare_socket(int fd) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static struct conn *new_conn(int fd, bool is_client) {
    struct conn *conn = checked(calloc(1, sizeof *conn));
    conn->is_client = is_client;
    conn->phase = secure ? PHASE_TLS : PHASE_UPGRADE;
    link_open(&conn->link, fd, secure, is_client);
    watch(EPOLL_CTL_ADD, fd, EPOLLIN, conn);
    return conn;
}

int conns_listen(int port, bool shared) {
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared) setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (listener < 0 || bind(listener, (struct sockaddr *) &address, size) ||
        listen(listener, BACKLOG) || getsockname(listener, (struct sockaddr *) &address, &size)) {
        fail("cannot listen: %s", strerror(errno));
    }
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, &listener_mark);
    return ntohs(address.sin_port);
}

static void accept_all(void) {
    for (;;) {
        const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED) return;
            fail("accept4: %s", strerror(errno));
        }
        prepare_socket(fd);
        new_conn(fd, false);
    }
}

static void start_upgrade(struct conn *conn, int port) {
    char head[MAX_HEAD];
    const size_t size = handshake_request(head, "127.0.0.1", port, target, with_deflate,
                                          conn->key);
    conn_send(conn, (const uint8_t *) head, size);
}

static void advance_tls(struct conn *conn) {
    const int result = link_handshake(&conn->link);
    if (result == LINK_END) {
        if (conn->is_client) fail("the TLS handshake failed");
        conn_drop(conn); /* a client that has seen enough */
    }
    if (result != 1) return;
    conn->phase = PHASE_UPGRADE;
    if (conn->is_client) {
        struct sockaddr_in peer = {0};
        socklen_t size = sizeof peer;
        getpeername(conn->link.fd, (struct sockaddr *) &peer, &size);
        start_upgrade(conn, ntohs(peer.sin_port));
    }
}

struct conn *conns_connect(int port, uint32_t number) {
    const int on = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % SOURCE_ADDRESSES);
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *) &source, sizeof source)) {
        fail("cannot make a socket: %s", strerror(errno));
    }
    /* Blocking: on the loopback the kernel completes it at once unless the backlog is full. */
    if (connect(fd, (struct sockaddr *) &target, sizeof target)) {
        fail("cannot connect: %s", strerror(errno));
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    prepare_socket(fd);
    struct conn *conn = new_conn(fd, true);
    conn->number = number;
    if (secure) {
        advance_tls(conn);
    } else {
        start_upgrade(conn, port);
    }
    return conn;
}

void conns_watch_stdin(void (*line)(void), void (*ended)(void)) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &stdin_mark};
    on_stdin_line = line;
    on_stdin_end = ended;
    /* Not for a file or /dev/null, because no line will come from there. */
    (void) epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
}

void conns_watch(int fd, void (*ready)(void)) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &watched_mark};
    on_watched = ready;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) fail("cannot watch %d", fd);
}

static void stdin_ready(void) {
    char text[64];
    const ssize_t size = read(STDIN_FILENO, text, sizeof text);
    if (size > 0) {
        if (on_stdin_line) on_stdin_line();
    } else {
        epoll_ctl(poller, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        if (on_stdin_end) on_stdin_end();
    }
}

/* Sending */

static void set_writable_events(struct conn *conn, bool on) {
    if (conn->wants_writable == on) return;
    conn->wants_writable = on;
    watch(EPOLL_CTL_MOD, conn->link.fd, EPOLLIN | (on ? (uint32_t) EPOLLOUT : 0u), conn);
}

void conn_want_writable(struct conn *conn) {
    set_writable_events(conn, true);
}

size_t conn_send_some(struct conn *conn, const uint8_t *data, size_t size) {
    const ssize_t sent = link_write(&conn->link, data, size);
    if (sent == LINK_END && size) conn_drop(conn);
    if (sent > 0 && conn->link.ssl && link_flush(&conn->link) == LINK_AGAIN) {
        conn_want_writable(conn);
    }
    return sent > 0 ? (size_t) sent : 0;
}

void conn_send(struct conn *conn, const uint8_t *data, size_t size) {
    if (conn->phase == PHASE_GONE) return;
    if (!conn->queue) {
        const size_t sent = conn_send_some(conn, data, size);
        if (sent == size || conn->phase == PHASE_GONE) return;
        data += sent;
        size -= sent;
    }
    conn->queue = checked(realloc(conn->queue, conn->queue_size + size));
    memcpy(conn->queue + conn->queue_size, data, size);
    conn->queue_size += size;
    conn_want_writable(conn);
}

void conn_send_close(struct conn *conn) {
    uint8_t frame[MAX_HEADER + 2] = {0};
    uint8_t key[4];
    const uint8_t code[2] = {1000 >> 8, 1000 & 0xFF};
    if (conn->close_sent) return;
    conn->close_sent = true;
    new_key(key);
    const size_t size = frame_encode(frame, OP_CLOSE, 2, conn->is_client ? key : NULL);
    memcpy(frame + size, code, 2);
    if (conn->is_client) mask_in_place(frame + size, 2, key);
    conn_send(conn, frame, size + 2);
}

void conn_drop(struct conn *conn) {
    if (conn->phase == PHASE_GONE) return;
    const bool was_open = conn->phase == PHASE_OPEN;
    conn->phase = PHASE_GONE;
    link_close(&conn->link);
    conn->next_gone = gone;
    gone = conn;
    if (was_open && role->closed) role->closed(conn);
}

static void writable(struct conn *conn) {
    const int flushed = link_flush(&conn->link);
    if (flushed == LINK_AGAIN) return;
    if (flushed == LINK_END) {
        conn_drop(conn);
        return;
    }
    if (conn->queue) {
        const size_t sent = conn_send_some(
            conn, conn->queue + conn->queue_start, conn->queue_size - conn->queue_start);
        if (conn->phase == PHASE_GONE) return;
        conn->queue_start += sent;
        if (conn->queue_start < conn->queue_size) return;
        free(conn->queue);
        conn->queue = NULL;
        conn->queue_start = conn->queue_size = 0;
    }
    set_writable_events(conn, false);
    if (conn->phase == PHASE_OPEN && role->writable) role->writable(conn);
}

/* Receiving */

static void control_frame(struct conn *conn, const struct frame *frame, const uint8_t *payload) {
    if (frame->opcode == OP_CLOSE) {
        conn_send_close(conn);
        conn_drop(conn);
    } else if (frame->opcode == OP_PING) {
        uint8_t reply[MAX_HEADER + 125];
        uint8_t key[4];
        const size_t bytes = (size_t) frame->payload_size;
        if (bytes > 125) fail("a PING frame of %zu bytes", bytes);
        new_key(key);
        const size_t size = frame_encode(reply, OP_PONG, bytes, conn->is_client ? key : NULL);
        memcpy(reply + size, payload, bytes);
        if (conn->is_client) mask_in_place(reply + size, bytes, key);
        conn_send(conn, reply, size + bytes);
    } else if (frame->opcode != OP_PONG) {
        fail("a frame with opcode %d", frame->opcode);
    }
}

bool next_frame(struct conn *conn, uint8_t *data, size_t size, size_t *position,
                struct frame *frame, uint8_t **payload) {
    while (conn->phase == PHASE_OPEN) {
        const int header = frame_decode(data + *position, size - *position, frame);
        if (header < 0) fail("a malformed frame header");
        if (header == 0 || size - *position - (size_t) header < frame->payload_size) return false;
        if (frame->masked == conn->is_client) fail("a frame masked in the wrong direction");
        if (!frame->fin) fail("a fragment");
        if (frame->compressed && !conn->deflates) fail("a compressed frame, unasked");
        *payload = data + *position + header;
        *position += (size_t) header + (size_t) frame->payload_size;
        if (frame->masked) mask_in_place(*payload, (size_t) frame->payload_size, frame->key);
        if (frame->opcode == OP_BINARY || frame->opcode == OP_TEXT) return true;
        control_frame(conn, frame, *payload);
    }
    *position = size; /* nothing is read after a CLOSE frame */
    return false;
}

static size_t upgrade(struct conn *conn, const uint8_t *data, size_t size) {
    if (conn->is_client) {
        const int head = handshake_check(data, size, conn->key, &conn->deflates);
        if (head < 0) fail("the upgrade was refused: %.*s", (int) size, (const char *) data);
        if (head == 0) return 0;
        size = (size_t) head;
    } else {
        char response[MAX_HEAD];
        size_t response_size;
        const int head = handshake_accept(data, size, response, &response_size, with_deflate,
                                          &conn->deflates);
        if (head < 0) fail("not an upgrade request: %.*s", (int) size, (const char *) data);
        if (head == 0) return 0;
        conn_send(conn, (const uint8_t *) response, response_size);
        size = (size_t) head;
    }
    if (conn->deflates != with_deflate) fail("the sides did not agree about compression");
    if (conn->phase == PHASE_GONE) return size;
    conn->phase = PHASE_OPEN;
    conn->sent_at = conn->in_flight = 0;
    if (role->opened) role->opened(conn);
    return size;
}

static size_t consume(struct conn *conn, uint8_t *data, size_t size) {
    size_t used = 0;
    if (conn->phase == PHASE_UPGRADE) {
        used = upgrade(conn, data, size);
        if (used == 0) return 0;
    }
    if (conn->phase == PHASE_GONE) return size;
    return used == size ? used : used + role->received(conn, data + used, size - used);
}

/* Bytes that the frame or head which starts at data will need. */
static size_t whole_size(const struct conn *conn, const uint8_t *data, size_t size) {
    struct frame frame;
    const int header = conn->phase == PHASE_OPEN ? frame_decode(data, size, &frame) : 0;
    if (header > 0) return (size_t) header + (size_t) frame.payload_size;
    return MAX_HEAD;
}

static void set_part(struct conn *conn, const uint8_t *data, size_t size) {
    const size_t room = whole_size(conn, data, size);
    uint8_t *part = checked(malloc(room));
    memcpy(part, data, size);
    free(conn->part);
    conn->part = part;
    conn->part_size = size;
    conn->part_room = room;
    conn->expected = room >= LARGE_FRAME ? room : 0;
}

static void free_part(struct conn *conn) {
    free(conn->part);
    conn->part = NULL;
    conn->part_size = conn->part_room = 0;
}

/* Read once and handle the bytes; false when there are no more for now. */
static bool receive(struct conn *conn) {
    if (!conn->part && conn->expected) {
        conn->part = checked(malloc(conn->expected));
        conn->part_room = conn->expected;
    }
    const bool in_part = conn->part != NULL;
    uint8_t *target = in_part ? conn->part + conn->part_size : shared;
    const size_t room = in_part ? conn->part_room - conn->part_size : sizeof shared;
    bool more;
    const ssize_t got = link_read(&conn->link, target, room, &more);
    if (got == LINK_AGAIN) return false;
    if (got == LINK_END) {
        conn_drop(conn);
        return false;
    }
    uint8_t *data = in_part ? conn->part : shared;
    const size_t size = conn->part_size + (size_t) got;
    if (in_part) conn->part_size = size;
    /* A part has room for one frame: once that is whole, epoll tells of further bytes. */
    const bool again = more || (!in_part && (size_t) got == room);
    /* Large frames arrive in many reads: no look before they are whole. */
    if (conn->phase == PHASE_OPEN && conn->part_room > size &&
        size < whole_size(conn, data, size)) {
        return again;
    }
    const size_t used = consume(conn, data, size);
    if (conn->phase == PHASE_GONE) return false;
    if (used == size) {
        if (in_part) free_part(conn);
    } else if (used || !in_part || conn->part_room == size) {
        set_part(conn, data + used, size - used);
    }
    return again;
}

static void readable(struct conn *conn) {
    if (conn->phase == PHASE_TLS) {
        advance_tls(conn);
        if (conn->phase != PHASE_UPGRADE) return;
    }
    while (conn->phase != PHASE_GONE && receive(conn)) {}
}

void conns_poll(int timeout) {
    static struct epoll_event events[BATCH];
    const int count = epoll_wait(poller, events, BATCH, timeout);
    for (int i = 0; i < count; ++i) {
        void *mark = events[i].data.ptr;
        if (mark == &listener_mark) {
            accept_all();
        } else if (mark == &stdin_mark) {
            stdin_ready();
        } else if (mark == &watched_mark) {
            on_watched();
        } else {
            struct conn *conn = mark;
            if (conn->phase != PHASE_GONE && events[i].events & EPOLLOUT) writable(conn);
            if (conn->phase != PHASE_GONE && events[i].events & ~(uint32_t) EPOLLOUT) {
                readable(conn);
            }
        }
    }
    while (gone) {
        struct conn *conn = gone;
        gone = conn->next_gone;
        free(conn->part);
        free(conn->queue);
        free(conn);
    }
}
