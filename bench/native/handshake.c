#define _GNU_SOURCE
#include "handshake.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static uint32_t rotated(uint32_t value, int bits) {
    return value << bits | value >> (32 - bits);
}

/* SHA-1 (RFC 3174) of at most 119 bytes: two blocks. */
static void sha1(const uint8_t *data, size_t size, uint8_t digest[20]) {
    uint8_t blocks[128] = {0};
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    const size_t total = size + 9 <= 64 ? 64 : 128;
    memcpy(blocks, data, size);
    blocks[size] = 0x80;
    blocks[total - 2] = (uint8_t) (size * 8 >> 8);
    blocks[total - 1] = (uint8_t) (size * 8);
    for (size_t start = 0; start < total; start += 64) {
        uint32_t w[80];
        for (size_t i = 0; i < 16; ++i) {
            const uint8_t *p = blocks + start + 4 * i;
            w[i] = (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
        }
        for (size_t i = 16; i < 80; ++i) {
            w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        }
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (size_t i = 0; i < 80; ++i) {
            uint32_t f, k;
            if (i < 20) {
                f = (b & c) | (~b & d), k = 0x5A827999;
            } else if (i < 40) {
                f = b ^ c ^ d, k = 0x6ED9EBA1;
            } else if (i < 60) {
                f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
            } else {
                f = b ^ c ^ d, k = 0xCA62C1D6;
            }
            const uint32_t next = rotated(a, 5) + f + e + k + w[i];
            e = d, d = c, c = rotated(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (size_t i = 0; i < 20; ++i) digest[i] = (uint8_t) (h[i / 4] >> (24 - 8 * (i % 4)));
}

/* Base64 with padding, no terminator. */
static void base64(const uint8_t *data, size_t size, char *out) {
    static const char ALPHABET[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const size_t have = size - i < 3 ? size - i : 3;
        const uint32_t bits = (uint32_t) data[i] << 16 |
                              (have > 1 ? (uint32_t) data[i + 1] << 8 : 0) |
                              (have > 2 ? data[i + 2] : 0u);
        *out++ = ALPHABET[bits >> 18];
        *out++ = ALPHABET[bits >> 12 & 63];
        *out++ = have > 1 ? ALPHABET[bits >> 6 & 63] : '=';
        *out++ = have > 2 ? ALPHABET[bits & 63] : '=';
    }
}

static void accept_for_key(const char key[KEY_SIZE], char accept[ACCEPT_SIZE]) {
    uint8_t joined[KEY_SIZE + sizeof GUID - 1];
    uint8_t digest[20];
    memcpy(joined, key, KEY_SIZE);
    memcpy(joined + KEY_SIZE, GUID, sizeof GUID - 1);
    sha1(joined, sizeof joined, digest);
    base64(digest, sizeof digest, accept);
}

/* The size of the head, 0 while its empty line is missing, -1 if it cannot become one. */
static int head_size(const uint8_t *data, size_t size) {
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (end) return (int) (end - data) + 4;
    return size >= MAX_HEAD ? -1 : 0;
}

/* Find a header line; false if it is absent. *value[0:*size] is without surrounding spaces. */
static bool find_field(const char *head, size_t head_bytes, const char *name, const char **value,
                       size_t *size) {
    const size_t name_size = strlen(name);
    const char *end = head + head_bytes;
    const char *line = memmem(head, head_bytes, "\r\n", 2);
    while (line && line + 2 + name_size < end) {
        line += 2;
        const char *stop = memmem(line, (size_t) (end - line), "\r\n", 2);
        if (!stop) return false;
        if (line[name_size] == ':' && strncasecmp(line, name, name_size) == 0) {
            const char *first = line + name_size + 1;
            const char *last = stop;
            while (first < last && (*first == ' ' || *first == '\t')) ++first;
            while (last > first && (last[-1] == ' ' || last[-1] == '\t')) --last;
            *value = first;
            *size = (size_t) (last - first);
            return true;
        }
        line = stop;
    }
    return false;
}

/* Whether the line has the extension; *limits tells whether a parameter limits the server's window.
   Each of our peers offers it once, first, and with a value of WINDOW_BITS if with one. */
static bool find_deflate(const char *head, size_t head_bytes, bool *limits) {
    static const char NAME[] = "permessage-deflate", LIMIT[] = "server_max_window_bits=";
    const char *value;
    size_t size;
    *limits = false;
    if (!find_field(head, head_bytes, "Sec-WebSocket-Extensions", &value, &size) ||
        size < sizeof NAME - 1 || memcmp(value, NAME, sizeof NAME - 1) != 0) {
        return false;
    }
    const char *limit = memmem(value, size, LIMIT, sizeof LIMIT - 1);
    *limits = limit != NULL;
    return !limit || atoi(limit + sizeof LIMIT - 1) >= WINDOW_BITS;
}

size_t handshake_request(char out[MAX_HEAD], const char *host, int port, const char *target,
                         bool with_deflate, char key[KEY_SIZE]) {
    uint8_t nonce[16];
    if (getrandom(nonce, sizeof nonce, 0) != (ssize_t) sizeof nonce) {
        perror("getrandom");
        exit(1);
    }
    base64(nonce, sizeof nonce, key);
    return (size_t) snprintf(out, MAX_HEAD,
                             "GET %s HTTP/1.1\r\n"
                             "Host: %s:%d\r\n"
                             "Upgrade: websocket\r\n"
                             "Connection: Upgrade\r\n"
                             "Sec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: %.*s\r\n%s\r\n",
                             target, host, port, (int) KEY_SIZE, key,
                             with_deflate ? "Sec-WebSocket-Extensions: permessage-deflate; "
                                            "client_max_window_bits\r\n"
                                          : "");
}

int handshake_accept(const uint8_t *data, size_t size, char out[MAX_HEAD], size_t *response_size,
                     bool with_deflate, bool *deflates) {
    const int head = head_size(data, size);
    const char *value;
    size_t value_size;
    char accept[ACCEPT_SIZE];
    char extension[128] = "";
    bool limits;
    if (head <= 0) return head;
    if (memcmp(data, "GET ", 4) != 0) return -1;
    if (!find_field((const char *) data, (size_t) head, "Upgrade", &value, &value_size) ||
        value_size != 9 || strncasecmp(value, "websocket", 9) != 0) {
        return -1;
    }
    if (!find_field((const char *) data, (size_t) head, "Sec-WebSocket-Version", &value,
                    &value_size) ||
        value_size != 2 || memcmp(value, "13", 2) != 0) {
        return -1;
    }
    if (!find_field((const char *) data, (size_t) head, "Sec-WebSocket-Key", &value,
                    &value_size) ||
        value_size != KEY_SIZE) {
        return -1;
    }
    accept_for_key(value, accept);
    *deflates = with_deflate && find_deflate((const char *) data, (size_t) head, &limits);
    if (*deflates && limits) {
        snprintf(extension, sizeof extension,
                 "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=%d\r\n",
                 WINDOW_BITS);
    } else if (*deflates) {
        strcpy(extension, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    *response_size = (size_t) snprintf(out, MAX_HEAD,
                                       "HTTP/1.1 101 Switching Protocols\r\n"
                                       "Upgrade: websocket\r\n"
                                       "Connection: Upgrade\r\n"
                                       "Sec-WebSocket-Accept: %.*s\r\n%s\r\n",
                                       (int) ACCEPT_SIZE, accept, extension);
    return head;
}

int handshake_check(const uint8_t *data, size_t size, const char key[KEY_SIZE], bool *deflates) {
    const int head = head_size(data, size);
    const char *value;
    size_t value_size;
    char accept[ACCEPT_SIZE];
    bool limits;
    if (head <= 0) return head;
    if (memcmp(data, "HTTP/1.1 101", 12) != 0) return -1;
    if (!find_field((const char *) data, (size_t) head, "Sec-WebSocket-Accept", &value,
                    &value_size) ||
        value_size != ACCEPT_SIZE) {
        return -1;
    }
    *deflates = find_deflate((const char *) data, (size_t) head, &limits);
    accept_for_key(key, accept);
    return memcmp(value, accept, ACCEPT_SIZE) == 0 ? head : -1;
}
