/* SPDX-License-Identifier: MIT
 *
 * wire.h -- messages between a process and the one that builds programs for it: lists of byte strings over a socket.
 */
#ifndef LA_WIRE_H
#define LA_WIRE_H

#include <stddef.h>

typedef struct la_blob {
    const void *data;
    size_t bytes;
} la_blob;

enum { LA_WIRE_PARTS = 40 };

/* Sends n parts, at most LA_WIRE_PARTS: 0, or -1 where the other end is gone. */
int la__wire_send(int fd, const la_blob *parts, int n);

/* Receives a message: the number of its parts, or -1. Parts lie in *block, malloc'ed, each with a NUL behind its end,
 * aligned to 16 bytes. */
int la__wire_receive(int fd, void **block, la_blob *parts);

#endif
