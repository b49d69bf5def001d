#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t plain_result(ssize_t result) {
    if (result >= 0) return result;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? LINK_AGAIN : LINK_END;
}

#ifdef WITH_TLS

#include <openssl/bio.h>
#include <openssl/err.h>

/* Several records leave in one send and arrive in one recv. */
enum { READ_AHEAD = 128 * 1024, WRITE_TOGETHER = 64 * 1024 };

static SSL_CTX *context;
static bool resumes;
static SSL_SESSION *latest; /* NULL while no server has given one */

static void give_up(const char *what) {
    fprintf(stderr, "%s failed\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void new_context(const SSL_METHOD *method) {
    context = SSL_CTX_new(method);
    if (!context) give_up("SSL_CTX_new");
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
    /* An idle connection keeps no buffers. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
}

void tls_serve(const char *certificate, const char *key) {
    new_context(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        give_up("loading the certificate");
    }
}

void tls_trust(const char *authority) {
    new_context(TLS_client_method());
    if (SSL_CTX_load_verify_locations(context, authority, NULL) != 1) {
        give_up("loading the authority");
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    (void) ssl;
    SSL_SESSION_free(latest);
    latest = session;
    return 1; /* it is ours now */
}

void tls_resume(void) {
    resumes = true;
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
}

void link_open(struct link *link, int fd, bool secure, bool is_client) {
    link->fd = fd;
    link->ssl = NULL;
    if (!secure) return;
    link->ssl = SSL_new(context);
    BIO *in = BIO_new_socket(fd, BIO_NOCLOSE);
    BIO *out = BIO_new(BIO_s_mem());
    if (!link->ssl || !in || !out) give_up("SSL_new");
    SSL_set_bio(link->ssl, in, out);
    link->resumes = resumes && latest;
    if (link->resumes) {
        /* OpenSSL gives up a session once it was resumed; several links may use it at a time. */
        SSL_SESSION *copy = SSL_SESSION_dup(latest);
        if (!copy || SSL_set_session(link->ssl, copy) != 1) give_up("SSL_set_session");
        SSL_SESSION_free(copy);
    }
    if (is_client) {
        SSL_set_connect_state(link->ssl);
    } else {
        SSL_set_accept_state(link->ssl);
    }
}

void link_close(struct link *link) {
    if (link->ssl) {
        if (SSL_is_init_finished(link->ssl)) {
            SSL_shutdown(link->ssl);
            link_flush(link);
        }
        SSL_free(link->ssl);
        link->ssl = NULL;
    }
    close(link->fd);
    link->fd = -1;
}

static ssize_t tls_result(struct link *link, int result) {
    const int error = SSL_get_error(link->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return LINK_AGAIN;
    ERR_clear_error();
    return LINK_END;
}

int link_handshake(struct link *link) {
    if (!link->ssl) return 1;
    const int result = SSL_do_handshake(link->ssl);
    if (link_flush(link) == LINK_END) return LINK_END;
    if (result != 1) return (int) tls_result(link, result);
    if (link->resumes && !SSL_session_reused(link->ssl)) give_up("resuming a session");
    return 1;
}

ssize_t link_read(struct link *link, uint8_t *out, size_t room, bool *more) {
    *more = false;
    if (!link->ssl) return plain_result(recv(link->fd, out, room, 0));
    size_t size = 0;
    while (size < room) {
        size_t got;
        const int result = SSL_read_ex(link->ssl, out + size, room - size, &got);
        if (result <= 0) {
            const ssize_t why = tls_result(link, result);
            return size ? (ssize_t) size : why;
        }
        size += got;
        if (!SSL_has_pending(link->ssl)) return (ssize_t) size;
    }
    *more = SSL_has_pending(link->ssl);
    return (ssize_t) size;
}

ssize_t link_write(struct link *link, const uint8_t *data, size_t size) {
    if (!link->ssl) return plain_result(send(link->fd, data, size, MSG_NOSIGNAL));
    size_t taken = 0;
    while (taken < size) {
        size_t put;
        const size_t piece = size - taken < WRITE_TOGETHER ? size - taken : WRITE_TOGETHER;
        const size_t stop = taken + piece;
        while (taken < stop) {
            const int result = SSL_write_ex(link->ssl, data + taken, stop - taken, &put);
            if (result <= 0) return tls_result(link, result);
            taken += put;
        }
        if (link_flush(link) == LINK_END) return LINK_END;
    }
    return (ssize_t) taken;
}

int link_flush(struct link *link) {
    if (!link->ssl) return 1;
    BIO *out = SSL_get_wbio(link->ssl);
    for (;;) {
        char *data;
        const long size = BIO_get_mem_data(out, &data);
        if (size <= 0) return 1;
        const ssize_t sent = plain_result(send(link->fd, data, (size_t) size, MSG_NOSIGNAL));
        if (sent == LINK_AGAIN || sent == LINK_END) return (int) sent;
        if (sent == size) {
            (void) BIO_reset(out);
            return 1;
        }
        /* A memory BIO forgets bytes by having them read. */
        static char sink[64 * 1024];
        for (ssize_t left = sent; left > 0;) {
            const int step = left < (ssize_t) sizeof sink ? (int) left : (int) sizeof sink;
            left -= BIO_read(out, sink, step);
        }
    }
}

#else

static void no_tls(void) {
    fputs("built without TLS: the headers of OpenSSL are missing (package libssl-dev)\n", stderr);
    exit(1);
}

void tls_serve(const char *certificate, const char *key) {
    (void) certificate, (void) key;
    no_tls();
}

void tls_trust(const char *authority) {
    (void) authority;
    no_tls();
}

void tls_resume(void) {
    no_tls();
}

void link_open(struct link *link, int fd, bool secure, bool is_client) {
    (void) secure, (void) is_client;
    link->fd = fd;
    link->ssl = NULL;
}

void link_close(struct link *link) {
    close(link->fd);
    link->fd = -1;
}

int link_handshake(struct link *link) {
    (void) link;
    return 1;
}

ssize_t link_read(struct link *link, uint8_t *out, size_t room, bool *more) {
    *more = false;
    return plain_result(recv(link->fd, out, room, 0));
}

ssize_t link_write(struct link *link, const uint8_t *data, size_t size) {
    return plain_result(send(link->fd, data, size, MSG_NOSIGNAL));
}

int link_flush(struct link *link) {
    (void) link;
    return 1;
}

#endif
