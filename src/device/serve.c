/* SPDX-License-Identifier: MIT
 *
 * serve.c -- the side of builder.h that is asked: the process that builds programs for another one, and may die of it.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/builder.h"

enum { PATIENCE = 10000 /* ms without a request */ };

/* The device of the request; the last one stays open. */
static int device_of(la_device **dev, int index)
{
    int err = 0;
    char which[16];
    if (*dev && (*dev)->index == index)
        return 0;
    la_device_close(*dev);
    snprintf(which, sizeof which, "%d", index + 1);
    LA_TRY(la_device_open(dev, which));
done:
    return err;
}

/* Runs a probe's launch and reads its first argument back. */
static int run_launch(void **output, size_t *bytes, la_device *dev, const la_request *r, const la_blob *part)
{
    int err = 0;
    la_karg args[LA_PROBE_ARGS];
    la_buffer *buffers[LA_PROBE_ARGS] = { NULL };
    const la_blob *given = part + LA_REQUEST_HEAD;

    for (int i = 0; i < r->nargs; i++) {
        args[i] = (la_karg){ .data = given[i].data, .size = given[i].bytes };
        if (!r->buffer[i])
            continue;
        LA_TRY(la__buffer_take(&buffers[i], dev, given[i].bytes));
        LA_TRY(la__buffer_write(buffers[i], 0, given[i].bytes, given[i].data));
        args[i] = LA_BUF(buffers[i]);
    }
    la_launch what = {
        .program = part[1].data, .options = part[2].data, .entry = part[3].data, .source = part[4].data
    };
    memcpy(what.global, r->global, sizeof what.global);
    memcpy(what.local, r->local, sizeof what.local);
    LA_TRY(la__launch(dev, &what, args, r->nargs));
    *bytes = given[0].bytes;
    *output = la__calloc(*bytes, 1);
    if (!*output) {
        err = LA_ENOMEM;
        goto done;
    }
    LA_TRY(la__buffer_read(buffers[0], 0, *bytes, *output));
done:
    for (int i = 0; i < r->nargs; i++)
        la__buffer_give(buffers[i]);
    return err;
}

/* Whether the request is one of ours: counts of parts and bytes as they must be. */
static bool well_formed(la_request *r, const la_blob *part, int n)
{
    if (n < LA_REQUEST_HEAD || part[0].bytes != sizeof *r)
        return false;
    memcpy(r, part[0].data, sizeof *r);
    return r->nargs >= 0 && r->nargs <= LA_PROBE_ARGS && n == LA_REQUEST_HEAD + r->nargs &&
           (r->kind == LA_REQUEST_BUILD || (r->kind == LA_REQUEST_LAUNCH && r->nargs > 0 && r->buffer[0]));
}

/* Answers one request: 0, or -1 where the other end has gone. */
static int serve_one(int fd, la_device **dev)
{
    int err = 0;
    la_request r;
    la_blob part[LA_WIRE_PARTS];
    void *block, *output = NULL;
    size_t bytes = 0;
    const int n = la__wire_receive(fd, &block, part);
    la_reply reply = { .code = 0 };

    if (n < 0)
        return -1;
    const double began = la__now();
    if (!well_formed(&r, part, n)) {
        err = la_fail(LA_EFORMAT, "device: the request is not one that lualign %s knows", LA_VERSION);
        reply.unable = true;
        goto done;
    }
    err = device_of(dev, r.device);
    reply.unable = err < 0;
    if (err == 0 && r.kind == LA_REQUEST_BUILD)
        err = la__program_binary(&output, &bytes, *dev, part[1].data, part[2].data, part[4].data, part[3].data);
    else if (err == 0)
        err = run_launch(&output, &bytes, *dev, &r, part);
done:
    reply.code = err;
    reply.seconds = la__now() - began;
    const char *message = err < 0 ? la_error() : "";
    const la_blob answer[LA_REPLY_PARTS] = { { &reply, sizeof reply },
                                             { message, strlen(message) + 1 },
                                             { output, output ? bytes : 0 } };
    err = la__wire_send(fd, answer, LA_REPLY_PARTS);
    free(output);
    free(block);
    return err;
}

void la__builder_serve(void)
{
    la_device *dev = NULL;
    struct pollfd polled = { .fd = LA_BUILDER_FD, .events = POLLIN };
    const la_blob greeting = { "", 0 };
    setenv("LUALIGN_BUILDER", "", 1); /* itself it builds at home */
    if (la__wire_send(LA_BUILDER_FD, &greeting, 1) < 0)
        _exit(1);
    while (poll(&polled, 1, PATIENCE) > 0 && serve_one(LA_BUILDER_FD, &dev) == 0)
        continue;
    _exit(0); /* what the driver does at a proper exit takes longer, and nobody waits for it */
}
