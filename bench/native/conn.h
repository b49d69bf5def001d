/* Connections on one epoll descriptor: handshakes, incomplete frames, bytes that the kernel has not
   taken. A connection owns memory for frames only while one is incomplete. */
#ifndef BENCH_CONN_H
#define BENCH_CONN_H

#include "frame.h"
#include "handshake.h"
#include "link.h"

enum phase { PHASE_TLS, PHASE_UPGRADE, PHASE_OPEN, PHASE_GONE };

struct conn {
    struct link link;
    uint8_t phase;
    bool is_client;
    bool close_sent;
    bool deflates; /* permessage-deflate was agreed on */
    bool wants_writable; /* EPOLLOUT is on */
    uint32_t number;     /* the caller's */
    uint8_t *part;       /* the beginning of a frame or head, else NULL */
    size_t part_size;    /* bytes that are there */
    size_t part_room;    /* bytes allocated */
    size_t expected;     /* size of the last large frame: the next one is received in place */
    uint8_t *queue;      /* what the kernel did not take, else NULL */
    size_t queue_start;
    size_t queue_size;
    union {
        char key[KEY_SIZE]; /* until the connection is open */
        struct {
            uint64_t sent_at;   /* the caller's, ns */
            uint64_t in_flight; /* the caller's */
        };
    };
    struct conn *next_gone;
};

/* What a role does. opened, writable and closed may be NULL. */
struct role {
    void (*opened)(struct conn *conn);
    /* Look at data[0:size] with next_frame until it returns false, and return its position. */
    size_t (*received)(struct conn *conn, uint8_t *data, size_t size);
    /* The kernel takes bytes again; asked for with conn_want_writable. */
    void (*writable)(struct conn *conn);
    void (*closed)(struct conn *conn);
};

/* Print a message and end the program: in a bench, whatever is unexpected is fatal. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* End the program if an allocation failed. */
void *checked(void *pointer);

/* with_deflate: permessage-deflate is offered or accepted, and a peer that goes without is fatal. */
void conns_init(const struct role *role, bool secure, bool with_deflate);

/* What clients ask for; else "/". */
void conns_set_target(const char *target);

/* Listen on 127.0.0.1, beside other servers if the port is shared; returns the port. */
int conns_listen(int port, bool shared);

/* Connect to 127.0.0.1, from an address that depends on number: one address has some 28,000 ports
   only. The role's opened is called when the connection is upgraded. */
struct conn *conns_connect(int port, uint32_t number);

/* Have ended called once standard input ends or a line arrives there. */
void conns_watch_stdin(void (*line)(void), void (*ended)(void));

/* Have ready called whenever a descriptor is readable; there may be one. */
void conns_watch(int fd, void (*ready)(void));

/* Handle what is ready, waiting up to timeout milliseconds (-1: for ever). */
void conns_poll(int timeout);

/* The next whole data frame at or after *position, unmasked where it lies; false if there is none.
   Answers control frames on the way. *position is then behind the frame. */
bool next_frame(struct conn *conn, uint8_t *data, size_t size, size_t *position,
                struct frame *frame, uint8_t **payload);

/* Send bytes in order; what the kernel does not take is copied. */
void conn_send(struct conn *conn, const uint8_t *data, size_t size);

/* Send as much as the kernel takes now; returns how much. */
size_t conn_send_some(struct conn *conn, const uint8_t *data, size_t size);

void conn_want_writable(struct conn *conn);

/* Send a CLOSE frame with code 1000, once. */
void conn_send_close(struct conn *conn);

/* Close the socket; the memory is freed after the current conns_poll. */
void conn_drop(struct conn *conn);

/* Nanoseconds since some fixed moment. */
uint64_t now_ns(void);

#endif
