/* The measured window: a warm-up, then so many seconds or messages; and the result as JSON. */
#ifndef BENCH_WINDOW_H
#define BENCH_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum { MAX_WATCHED = 16 };

struct window {
    double warmup;          /* seconds that are not counted */
    double seconds;         /* that are */
    uint64_t messages;      /* if not 0: count all messages, until there are as many */
    int watched[MAX_WATCHED]; /* pids of processes whose CPU time is reported too, then 0 */
    uint64_t first_ns;      /* 0 before window_begin */
    uint64_t start_ns;      /* 0 during the warm-up */
    uint64_t start_count;
    double start_cpu;
    double start_watched[MAX_WATCHED];
    double latency_p50;     /* microseconds, set by the caller; 0: not reported */
    double latency_p99;
    double latency_p999;
    double latency_max;
    double compression;     /* bytes of messages per byte of payload; 0: not reported */
};

/* Start the warm-up; does nothing when it has been started. */
void window_begin(struct window *window, uint64_t now);

/* To be called now and then with the number of messages so far. True when the window is over; the
   result has then been printed. */
bool window_tick(struct window *window, uint64_t now, uint64_t count);

/* Whether messages are counted now. */
static inline bool window_open(const struct window *window) {
    return window->start_ns != 0;
}

#endif
