/* SPDX-License-Identifier: MIT
 *
 * pending.c -- launches whose programs are still being built. They, and what is asked of the queue after them, wait
 * here in order, so that a script runs on and names the programs that it needs next, which are then built meanwhile.
 * What has to wait for the queue waits for them first.
 *
 * A program that does not build is the failure of whatever is asked of the device next: the launches that follow it
 * are dropped, as they would not have come had it failed at once; what was written from the host is not.
 */
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

typedef struct la_pending {
    struct la_pending *next;
    la_kernel *kernel; /* NULL: a write */
    la_launch what;    /* its texts are unset; the kernel has them */
    int nargs;
    la_karg *args; /* what they point to lies behind this */
    cl_mem *held;  /* the buffers among them: their blocks may be in other hands when their turn comes, as they may be
                    * when the kernel runs */
    int held_count;
    cl_mem to; /* of a write */
    size_t offset, bytes;
    void *data;
} la_pending;

static void append(la_device *dev, la_pending *p)
{
    la_pending **last = &dev->pending;
    if (dev->last_pending)
        last = &dev->last_pending->next;
    *last = dev->last_pending = p;
}

static void release(la_pending *p)
{
    for (int i = 0; i < p->held_count; i++)
        clReleaseMemObject(p->held[i]);
    if (p->to)
        clReleaseMemObject(p->to);
    free(p->args);
    free(p->held);
    free(p->data);
    free(p);
}

/* Copies the arguments; a buffer's is its memory object. */
static bool copy_arguments(la_pending *p, const la_karg *args, int nargs)
{
    const size_t head = ((size_t)nargs * sizeof *args + 15) / 16 * 16;
    size_t bytes = head;
    for (int i = 0; i < nargs; i++)
        bytes += args[i].data ? (args[i].size + 15) / 16 * 16 : 0;
    p->args = la__calloc(bytes, 1);
    p->held = la__calloc((size_t)nargs + 1, sizeof *p->held);
    if (!p->args || !p->held)
        return false;
    char *at = (char *)p->args + head;
    for (int i = 0; i < nargs; i++) {
        p->args[i] = args[i];
        if (args[i].buffer) {
            cl_mem *held = &p->held[p->held_count++];
            *held = args[i].buffer->mem;
            clRetainMemObject(*held);
            p->args[i] = (la_karg){ .data = held, .size = sizeof *held };
        } else if (args[i].data) {
            memcpy(at, args[i].data, args[i].size);
            p->args[i].data = at;
            at += (args[i].size + 15) / 16 * 16;
        }
    }
    p->nargs = nargs;
    return true;
}

int la__pending_launch(la_device *dev, la_kernel *k, const la_launch *what, const la_karg *args, int nargs)
{
    la_pending *p = la__calloc(1, sizeof *p);
    if (!p)
        return LA_ENOMEM;
    if (!copy_arguments(p, args, nargs)) {
        release(p);
        return LA_ENOMEM;
    }
    p->kernel = k;
    p->what = *what;
    p->what.program = p->what.entry = p->what.options = p->what.source = NULL;
    append(dev, p);
    return 0;
}

int la__pending_write(la_buffer *to, size_t offset, size_t bytes, const void *data)
{
    la_pending *p = la__calloc(1, sizeof *p);
    if (!p)
        return LA_ENOMEM;
    *p = (la_pending){ .offset = offset, .bytes = bytes, .data = malloc(bytes) };
    if (!p->data) {
        free(p);
        return la_fail(LA_ENOMEM, "memory: no room for %zu bytes to be written", bytes);
    }
    memcpy(p->data, data, bytes);
    p->to = to->mem;
    clRetainMemObject(p->to);
    append(to->dev, p);
    return 0;
}

static void keep_failure(la_device *dev, int code)
{
    if (dev->failure)
        return;
    dev->failure = code;
    free(dev->failure_text);
    dev->failure_text = strdup(la_error());
}

/* Queues the first one, if its program is there. False if it is not. */
static bool advance(la_device *dev, bool wait)
{
    bool ready = true;
    int err = 0;
    la_pending *p = dev->pending;
    if (p->kernel && !dev->failure) {
        err = la__kernel_ready(&ready, dev, p->kernel, wait);
        if (err == 0 && !ready)
            return false;
        if (err == 0)
            err = la__enqueue(dev, p->kernel, &p->what, p->args, p->nargs);
    } else if (!p->kernel) {
        err = la__write_now(dev, p->to, p->offset, p->bytes, p->data);
    }
    if (err < 0)
        keep_failure(dev, err);
    dev->pending = p->next;
    if (!dev->pending)
        dev->last_pending = NULL;
    release(p);
    return true;
}

int la__settle(la_device *dev, bool wait)
{
    while (dev->pending && advance(dev, wait))
        continue;
    return dev->failure;
}

int la__report_failure(la_device *dev)
{
    const int code = dev->failure;
    dev->failure = 0;
    return code ? la_fail(code, "%s", dev->failure_text ? dev->failure_text : "device: a launch failed") : 0;
}

int la__settle_and_report(la_device *dev)
{
    la__settle(dev, true);
    return la__report_failure(dev);
}

int la__device_settle(la_device *dev)
{
    return la__settle(dev, true);
}

void la__pending_free(la_device *dev)
{
    while (dev->pending) {
        la_pending *p = dev->pending;
        dev->pending = p->next;
        release(p);
    }
    dev->last_pending = NULL;
    free(dev->failure_text);
    dev->failure_text = NULL;
}
