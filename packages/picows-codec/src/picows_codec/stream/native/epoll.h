/* One epoll descriptor, as a poller uses it; only Linux has it (PICOWS_HAS_EPOLL).
 *
 * Functions return -1 with errno set where a system call failed.
 */
#ifndef PICOWS_EPOLL_H
#define PICOWS_EPOLL_H

#include <errno.h>
#include <string.h>

/* What a descriptor is watched for, and what has occurred. A broken one is both. */
#define PICOWS_READABLE 1u
#define PICOWS_WRITABLE 2u

/* The most descriptors that one wait reports. */
#define PICOWS_BATCH 128

#ifdef __linux__
#include <sys/epoll.h>
#define PICOWS_HAS_EPOLL 1

static inline int picows_epoll_create(void) {
    return epoll_create1(EPOLL_CLOEXEC);
}

/* Watch a descriptor for these events, or no longer if there are none. */
static inline int picows_epoll_set(int epoll, int fd, int was_member, unsigned events) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    if (events & PICOWS_READABLE)
        event.events |= EPOLLIN | EPOLLRDHUP;
    if (events & PICOWS_WRITABLE)
        event.events |= EPOLLOUT;
    event.data.fd = fd;
    if (!events)
        return was_member ? epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event) : 0;
    return epoll_ctl(epoll, was_member ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

/* Which descriptors are ready now, and for what. Returns how many, at most PICOWS_BATCH. */
static inline int picows_epoll_wait(int epoll, int *fds, unsigned *ready) {
    struct epoll_event events[PICOWS_BATCH];
    int count = epoll_wait(epoll, events, PICOWS_BATCH, 0);
    for (int i = 0; i < count; i++) {
        fds[i] = events[i].data.fd;
        ready[i] = 0;
        if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            ready[i] |= PICOWS_READABLE;
        if (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
            ready[i] |= PICOWS_WRITABLE;
    }
    return count;
}
#else
#define PICOWS_HAS_EPOLL 0

static inline int picows_epoll_create(void) {
    errno = ENOSYS;
    return -1;
}

static inline int picows_epoll_set(int epoll, int fd, int was_member, unsigned events) {
    (void)epoll;
    (void)fd;
    (void)was_member;
    (void)events;
    return -1;
}

static inline int picows_epoll_wait(int epoll, int *fds, unsigned *ready) {
    (void)epoll;
    (void)fds;
    (void)ready;
    return -1;
}
#endif

#endif
