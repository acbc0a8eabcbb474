/* SPDX-License-Identifier: MIT
 *
 * wire.c -- messages over a socket between two processes of one machine.
 */
#include "device/wire.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* A message that is larger is none of ours. */
static const uint64_t most = (uint64_t)1 << 30;

static int send_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        const ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int receive_all(int fd, void *data, size_t bytes)
{
    char *at = data;
    while (bytes > 0) {
        const ssize_t n = recv(fd, at, bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

int la__wire_send(int fd, const la_blob *parts, int n)
{
    uint64_t head[1 + LA_WIRE_PARTS] = { (uint64_t)n };
    for (int i = 0; i < n; i++)
        head[1 + i] = parts[i].bytes;
    if (send_all(fd, head, sizeof head) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (send_all(fd, parts[i].data, parts[i].bytes) < 0)
            return -1;
    return 0;
}

int la__wire_receive(int fd, void **block, la_blob *parts)
{
    uint64_t head[1 + LA_WIRE_PARTS], total = 0;
    *block = NULL;
    if (receive_all(fd, head, sizeof head) < 0 || head[0] > LA_WIRE_PARTS)
        return -1;
    const int n = (int)head[0];
    for (int i = 0; i < n; i++) {
        if (head[1 + i] > most || total > most)
            return -1;
        total += (head[1 + i] + 16) / 16 * 16;
    }
    char *at = calloc((size_t)total + 16, 1);
    if (!at)
        return -1;
    *block = at;
    for (int i = 0; i < n; i++) {
        parts[i] = (la_blob){ at, (size_t)head[1 + i] };
        if (receive_all(fd, at, parts[i].bytes) < 0) {
            free(*block);
            *block = NULL;
            return -1;
        }
        at += (parts[i].bytes + 16) / 16 * 16;
    }
    return n;
}
