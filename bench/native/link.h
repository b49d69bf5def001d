/* Bytes in and out of a non-blocking socket, plain or over TLS. */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef WITH_TLS
#include <openssl/ssl.h>
#else
typedef struct no_ssl SSL;
#endif

enum {
    LINK_END = 0,    /* the peer has closed its side, or the connection is lost */
    LINK_AGAIN = -1, /* nothing can be read or written now */
};

struct link {
    int fd;
    SSL *ssl; /* NULL for a plain connection */
    bool resumes; /* its handshake must resume a session */
};

/* Once, before any link over TLS: with a certificate and key (PEM) for a server, with the
   authority that signed the server's certificate for a client. Ends the program on failure. */
void tls_serve(const char *certificate, const char *key);
void tls_trust(const char *authority);

/* After tls_trust: each link resumes the latest session of the links before it, once there is one.
   A handshake that should have resumed one and did not ends the program. */
void tls_resume(void);

void link_open(struct link *link, int fd, bool secure, bool is_client);
void link_close(struct link *link);

/* Advance the TLS handshake: 1 when done (at once on a plain link), LINK_AGAIN or LINK_END. */
int link_handshake(struct link *link);

/* Up to room bytes: their number, LINK_AGAIN or LINK_END. *more is set when further bytes wait
   inside of TLS, where epoll does not see them. */
ssize_t link_read(struct link *link, uint8_t *out, size_t room, bool *more);

/* The number of bytes taken, possibly fewer than given, or LINK_AGAIN or LINK_END. Over TLS all are
   taken, and link_flush writes what the kernel did not take. */
ssize_t link_write(struct link *link, const uint8_t *data, size_t size);

/* 1 when nothing is left inside, LINK_AGAIN or LINK_END. */
int link_flush(struct link *link);

#endif
