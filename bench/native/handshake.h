/* The opening handshake (RFC 6455, 4), both sides. */
#ifndef BENCH_HANDSHAKE_H
#define BENCH_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KEY_SIZE = 24,    /* Sec-WebSocket-Key: 16 bytes as base64 */
    ACCEPT_SIZE = 28, /* Sec-WebSocket-Accept: a SHA-1 as base64 */
    WINDOW_BITS = 12, /* of what is sent compressed: no peer asks for less */
    MAX_HEAD = 4096,  /* bytes of a request or response that we are ready to read or write */
};

/* Write a request for target with a fresh key, which is also stored in key. Returns its size.
   with_deflate: it offers permessage-deflate as browsers do. */
size_t handshake_request(char out[MAX_HEAD], const char *host, int port, const char *target,
                         bool with_deflate, char key[KEY_SIZE]);

/* Both look at data[0:size] and return the size of the head that is there, 0 while bytes are
   missing, -1 if it is not an upgrade that we understand. *deflates is set: whether the sides have
   agreed on permessage-deflate, with a server's window of WINDOW_BITS if the client wants one. */

/* Write the response to out, its size to *response_size. */
int handshake_accept(const uint8_t *data, size_t size, char out[MAX_HEAD], size_t *response_size,
                     bool with_deflate, bool *deflates);

/* Compare the response with what the key demands. */
int handshake_check(const uint8_t *data, size_t size, const char key[KEY_SIZE], bool *deflates);

#endif
