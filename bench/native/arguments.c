#include "arguments.h"

#include <stdlib.h>
#include <string.h>

#include "conn.h"

static void watch_process(struct window *timing, int pid) {
    for (int i = 0; i < MAX_WATCHED; ++i) {
        if (timing->watched[i]) continue;
        timing->watched[i] = pid;
        return;
    }
    fail("no more than %d processes can be watched", MAX_WATCHED);
}

void parse_arguments(struct arguments *out, int count, char **words) {
    memset(out, 0, sizeof *out);
    out->size = 256;
    out->connections = out->first = out->window = out->topics = out->burst = 1;
    out->target = "/";
    out->timing.warmup = 0.3;
    out->timing.seconds = 1;
    if (count < 2) fail("usage: %s ROLE [--OPTION VALUE ...]", words[0]);
    out->role = words[1];
    for (int i = 2; i < count; i += 2) {
        const char *name = words[i];
        if (i + 1 >= count) fail("%s needs a value", name);
        const char *value = words[i + 1];
        const unsigned long number = strtoul(value, NULL, 10);
        if (!strcmp(name, "--port")) out->port = (int) number;
        else if (!strcmp(name, "--size")) out->size = number;
        else if (!strcmp(name, "--connections")) out->connections = (uint32_t) number;
        else if (!strcmp(name, "--first")) out->first = (uint32_t) number;
        else if (!strcmp(name, "--rate")) out->rate = (uint32_t) number;
        else if (!strcmp(name, "--window")) out->window = (uint32_t) number;
        else if (!strcmp(name, "--numbered")) out->numbered = number != 0;
        else if (!strcmp(name, "--deflate")) out->deflate = number != 0;
        else if (!strcmp(name, "--payloads")) out->payloads = value;
        else if (!strcmp(name, "--cert")) out->certificate = value;
        else if (!strcmp(name, "--key")) out->key = value;
        else if (!strcmp(name, "--ca")) out->authority = value;
        else if (!strcmp(name, "--reuse-port")) out->reuse_port = number != 0;
        else if (!strcmp(name, "--resume")) out->resume = number != 0;
        else if (!strcmp(name, "--target")) out->target = value;
        else if (!strcmp(name, "--greeting")) out->greeting = value;
        else if (!strcmp(name, "--topics")) out->topics = (uint32_t) number;
        else if (!strcmp(name, "--burst")) out->burst = (uint32_t) number;
        else if (!strcmp(name, "--credits")) out->credits = (int) number;
        else if (!strcmp(name, "--warmup")) out->timing.warmup = strtod(value, NULL);
        else if (!strcmp(name, "--seconds")) out->timing.seconds = strtod(value, NULL);
        else if (!strcmp(name, "--messages")) out->timing.messages = number;
        else if (!strcmp(name, "--watch")) watch_process(&out->timing, (int) number);
        else fail("unknown option %s", name);
    }
}

uint8_t *new_message(size_t size) {
    uint8_t *message = checked(malloc(size + 1));
    for (size_t i = 0; i < size; ++i) message[i] = (uint8_t) ('a' + i % 26);
    return message;
}
