/* What a transport does with its socket, each in one system call.
 *
 * Sizes are in bytes. Every function returns what its system call returns: a count of bytes, or -1
 * with errno set. None of them blocks if the socket does not, and none raises SIGPIPE in CPython.
 */
#ifndef PICOWS_SOCKET_H
#define PICOWS_SOCKET_H

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* CPython ignores SIGPIPE */
#endif

/* The most pieces of a write queue that one call sends. */
#define PICOWS_PIECES 64

/* Whether the call failed because there is nothing to do for now. */
static inline int picows_try_later(int error_number) {
    return error_number == EAGAIN || error_number == EINTR;
}

static inline ssize_t picows_receive(int fd, void *data, size_t size) {
    return recv(fd, data, size, 0);
}

/* Fills the first buffer before it uses the second. */
static inline ssize_t picows_receive_two(
    int fd, void *first, size_t first_size, void *second, size_t second_size) {
    struct iovec parts[2];
    parts[0].iov_base = first;
    parts[0].iov_len = first_size;
    parts[1].iov_base = second;
    parts[1].iov_len = second_size;
    return readv(fd, parts, 2);
}

static inline ssize_t picows_send(int fd, const void *data, size_t size) {
    return send(fd, data, size, MSG_NOSIGNAL);
}

static inline ssize_t picows_send_two(
    int fd, const void *head, size_t head_size, const void *data, size_t size) {
    struct iovec parts[2];
    struct msghdr message;
    memset(&message, 0, sizeof message);
    parts[0].iov_base = (void *)head;
    parts[0].iov_len = head_size;
    parts[1].iov_base = (void *)data;
    parts[1].iov_len = size;
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* ``count`` is at most PICOWS_PIECES. */
static inline ssize_t picows_send_pieces(
    int fd, const void *const *data, const size_t *sizes, int count) {
    struct iovec parts[PICOWS_PIECES];
    struct msghdr message;
    memset(&message, 0, sizeof message);
    for (int i = 0; i < count; i++) {
        parts[i].iov_base = (void *)data[i];
        parts[i].iov_len = sizes[i];
    }
    message.msg_iov = parts;
    message.msg_iovlen = (unsigned)count;
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* Half-close: the peer sees the end of the stream after what was sent. */
static inline int picows_end_sending(int fd) {
    return shutdown(fd, SHUT_WR);
}

#endif
