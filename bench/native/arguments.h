/* The command line of client and server. */
#ifndef BENCH_ARGUMENTS_H
#define BENCH_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "window.h"

struct arguments {
    const char *role;
    int port;
    size_t size;          /* bytes of payload */
    uint32_t connections;
    uint32_t first;       /* connections before the first pause (role idle) */
    uint32_t window;      /* messages in flight per connection */
    uint32_t rate;        /* messages per second (role tail) */
    bool numbered;        /* the sink checks the numbers of a source */
    bool deflate;         /* permessage-deflate is negotiated and used */
    const char *payloads; /* file of messages of that size, or NULL */
    const char *certificate;
    const char *key;
    const char *authority;
    bool reuse_port; /* several servers share the port */
    bool resume; /* TLS sessions of earlier connections (role churn) */
    const char *target;   /* of the opening handshake */
    const char *greeting; /* sent by each connection first, or NULL (subscribers) */
    uint32_t topics;      /* that messages have in turn (subscribers) */
    uint32_t burst;       /* messages of one credit (subscribers) */
    int credits;          /* descriptor for them (subscribers) */
    struct window timing;
};

/* Fill in what the command line says; ends the program if it says something else. */
void parse_arguments(struct arguments *out, int count, char **words);

/* The payload that everybody sends: letters from a to z, over and over. */
uint8_t *new_message(size_t size);

#endif
