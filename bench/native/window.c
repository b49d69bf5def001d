#include "window.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double own_cpu(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double) used.tv_sec + (double) used.tv_nsec * 1e-9;
}

/* Seconds of CPU that all threads of a process have used: the scheduler's count in nanoseconds. */
static double cpu_of(int pid) {
    char path[64];
    double total = 0;
    if (!pid) return 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) return 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char file[sizeof path + sizeof task->d_name + 16];
        unsigned long long nanoseconds;
        if (task->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s/schedstat", path, task->d_name);
        FILE *stream = fopen(file, "r");
        if (!stream) continue;
        if (fscanf(stream, "%llu", &nanoseconds) == 1) total += (double) nanoseconds * 1e-9;
        fclose(stream);
    }
    closedir(tasks);
    return total;
}

static long resident_bytes(void) {
    long pages = 0;
    FILE *stream = fopen("/proc/self/statm", "r");
    if (stream) {
        if (fscanf(stream, "%*d %ld", &pages) != 1) pages = 0;
        fclose(stream);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

static void start(struct window *window, uint64_t now, uint64_t count) {
    window->start_ns = now;
    window->start_count = count;
    window->start_cpu = own_cpu();
    for (int i = 0; i < MAX_WATCHED && window->watched[i]; ++i) {
        window->start_watched[i] = cpu_of(window->watched[i]);
    }
}

static void print_watched(const struct window *window) {
    double total = 0;
    printf(", \"each_cpu\": [");
    for (int i = 0; i < MAX_WATCHED && window->watched[i]; ++i) {
        const double used = cpu_of(window->watched[i]) - window->start_watched[i];
        printf("%s%.9f", i ? ", " : "", used);
        total += used;
    }
    printf("], \"watched_cpu\": %.9f", total);
}

void window_begin(struct window *window, uint64_t now) {
    if (window->first_ns) return;
    window->first_ns = now;
    if (window->messages) start(window, now, 0);
}

bool window_tick(struct window *window, uint64_t now, uint64_t count) {
    if (!window->first_ns) return false;
    if (!window->start_ns) {
        if ((double) (now - window->first_ns) * 1e-9 >= window->warmup) start(window, now, count);
        return false;
    }
    const double seconds = (double) (now - window->start_ns) * 1e-9;
    if (window->messages ? count < window->messages : seconds < window->seconds) return false;
    const double cpu = own_cpu() - window->start_cpu;
    printf("{\"count\": %llu, \"seconds\": %.9f, \"cpu\": %.9f, \"rss\": %ld",
           (unsigned long long) (count - window->start_count), seconds, cpu, resident_bytes());
    if (window->watched[0]) print_watched(window);
    if (window->latency_p50 > 0) {
        printf(", \"p50_us\": %.3f, \"p99_us\": %.3f", window->latency_p50, window->latency_p99);
        printf(", \"p999_us\": %.3f, \"max_us\": %.3f", window->latency_p999, window->latency_max);
    }
    if (window->compression > 0) printf(", \"compression\": %.4f", window->compression);
    puts("}");
    fflush(stdout);
    return true;
}
