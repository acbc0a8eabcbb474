/* SPDX-License-Identifier: MIT
 *
 * pool.c -- device memory. A block given back is kept for later requests: on the machines that lualign was measured on,
 * fresh memory costs ten times what using it once does. Small blocks, and all on devices with memory of their own, are
 * kept by size class; others are cut from an arena (arena.c).
 */
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

enum { SMALLEST = 256, LARGE = 1 << 20, ARENA_FROM = 32 << 10, PAGE = 4096 };

/* The class of blocks that are as large as asked for and never reused (LUALIGN_POOL=exact), so that a tool such as
 * Oclgrind sees every access past the end. */
enum { EXACT = LA_SIZE_CLASSES - 1 };

/* Classes are 256 bytes times 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, ...: four to each doubling; from 1 MiB on sixteen,
 * so that at most 6 % is wasted where it counts: feature maps of 15 x 15 cells lie just past the 1.75. */
int la__size_class(size_t bytes, size_t *rounded)
{
    size_t power = SMALLEST;
    int c = 0;
    while (power <= bytes / 2) {
        c += power >= LARGE ? 16 : 4;
        power *= 2;
    }
    const size_t steps = power >= LARGE ? 16 : 4;
    for (size_t step = 0; step < steps; step++)
        if (bytes <= power + power / steps * step) {
            *rounded = power + power / steps * step;
            return c + (int)step;
        }
    *rounded = power * 2;
    return c + (int)steps;
}

static void destroy(la_buffer *b)
{
    if (b->mem)
        clReleaseMemObject(b->mem);
    free(b->host);
    free(b);
}

void la__pool_close(la_device *dev)
{
    la__pool_trim(dev, SIZE_MAX);
    la__arena_close(dev);
}

void la__pool_trim(la_device *dev, size_t room)
{
    la__settle(dev, true);
    if (dev->queue)
        clFinish(dev->queue);
    la__arena_trim(dev, room);
    for (int c = LA_SIZE_CLASSES - 1; c >= 0; c--)
        while (dev->free_list[c]) {
            const size_t taken = dev->memory.used + dev->memory.pooled;
            if (taken <= dev->memory.budget && dev->memory.budget - taken >= room)
                return;
            la_buffer *b = dev->free_list[c];
            dev->free_list[c] = b->next;
            dev->memory.pooled -= b->bytes;
            destroy(b);
        }
}

/* A CPU device works in place on memory that we lay out ourselves. All of it is touched, since some later step would
 * otherwise have fresh pages with the first tenant who needs them. */
static cl_int create(la_buffer *b)
{
    cl_int code;
    if (b->dev->is_cpu) {
        const size_t align = b->dev->exact ? PAGE : SMALLEST, bytes = (b->bytes + align - 1) / align * align;
        b->host = aligned_alloc(align, bytes);
        if (!b->host)
            return CL_OUT_OF_HOST_MEMORY;
        if (!b->dev->exact)
            memset(b->host, 0, bytes);
        b->mem = clCreateBuffer(b->dev->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, b->bytes, b->host, &code);
    } else {
        b->mem = clCreateBuffer(b->dev->context, CL_MEM_READ_WRITE, b->bytes, NULL, &code);
    }
    return code;
}

static void press(la_device *dev, size_t bytes, bool urgent)
{
    if (dev->pressure)
        dev->pressure(dev->pressure_payload, bytes, urgent);
}

/* What is asked of the pool. */
typedef struct request {
    size_t bytes;
    int size_class;
    bool arena;
} request;

/* A block that was used before. */
static la_buffer *reuse(la_device *dev, const request *r)
{
    cl_int code;
    if (r->arena)
        return la__arena_take(dev, r->bytes, 0, &code);
    la_buffer *b = dev->free_list[r->size_class];
    if (b) {
        dev->free_list[r->size_class] = b->next;
        dev->memory.pooled -= b->bytes;
    }
    return b;
}

/* Undefined memory full of NaN, so that a kernel that reads what nobody wrote is found out. */
static int poison(la_buffer *b)
{
    const cl_uint pattern = 0xffffffffu;
    if (b->bytes < 4)
        return 0;
    const int err = la__settle_and_report(b->dev);
    if (err < 0)
        return err;
    const cl_int code = clEnqueueFillBuffer(b->dev->queue, b->mem, &pattern, 4, 0, b->bytes / 4 * 4, 0, NULL, NULL);
    return code == CL_SUCCESS ? 0 : la_fail(LA_EDEVICE, "memory: cannot fill a fresh block: %s", la__cl_error(code));
}

static int no_memory(la_device *dev, size_t bytes, const char *why)
{
    return la_fail(LA_ENOMEM, "out of device memory: asked for %.2f MiB, %.2f MiB in use of %.2f MiB (%s)",
                   (double)bytes / 1048576.0, (double)dev->memory.used / 1048576.0,
                   (double)dev->memory.budget / 1048576.0, why);
}

/* A block that was not used before, or not all of it, within the budget; NULL with *over where that says no, or with
 * the driver's code. */
static la_buffer *make(la_device *dev, const request *r, bool *over, cl_int *code)
{
    const size_t taken = dev->memory.used + dev->memory.pooled;
    const size_t room = taken < dev->memory.budget ? dev->memory.budget - taken : 0;
    la_buffer *b = NULL;

    *code = CL_SUCCESS;
    *over = false;
    if (r->arena) {
        b = la__arena_take(dev, r->bytes, room, code);
        *over = !b && *code == CL_SUCCESS;
        return b;
    }
    *over = r->bytes > room;
    if (*over)
        return NULL;
    *code = CL_OUT_OF_HOST_MEMORY;
    b = la__calloc(1, sizeof *b);
    if (!b)
        return NULL;
    *b = (la_buffer){ .dev = dev, .bytes = r->bytes, .size_class = r->size_class };
    *code = create(b);
    if (*code != CL_SUCCESS) {
        destroy(b);
        return NULL;
    }
    dev->memory.allocations++;
    return b;
}

/* Fresh memory, after making room for it if the budget or the driver says no. */
static int fresh(la_buffer **out, la_device *dev, const request *r)
{
    bool over;
    cl_int code;
    press(dev, r->bytes, false);
    if ((*out = reuse(dev, r)) != NULL) /* the caller let go of one that fits */
        return 0;
    for (int attempt = 0;; attempt++) {
        if ((*out = make(dev, r, &over, &code)) != NULL)
            return 0;
        if (attempt == 1)
            return no_memory(dev, r->bytes, over ? "LUALIGN_MEMORY sets the limit" : la__cl_error(code));
        press(dev, r->bytes, true);
        if ((*out = reuse(dev, r)) != NULL)
            return 0;
        la__pool_trim(dev, over ? r->bytes : SIZE_MAX);
    }
}

int la__buffer_take(la_buffer **out, la_device *dev, size_t bytes)
{
    int err = 0;
    request r = { .arena = dev->is_cpu && !dev->exact && bytes >= ARENA_FROM };

    *out = NULL;
    if (bytes > SIZE_MAX / 4)
        return no_memory(dev, bytes, "no device has that");
    r.size_class = la__size_class(bytes ? bytes : 1, &r.bytes);
    if (dev->exact || r.arena)
        r.bytes = bytes ? bytes : 1;
    if (dev->exact)
        r.size_class = EXACT;
    la_buffer *b = reuse(dev, &r);
    if (!b)
        LA_TRY(fresh(&b, dev, &r));
    b->next = NULL;
    dev->memory.used += b->bytes;
    if (dev->memory.used > dev->memory.peak)
        dev->memory.peak = dev->memory.used;
    if (dev->poison && (err = poison(b)) < 0)
        la__buffer_give(b);
    else
        *out = b;
done:
    return err;
}

void la__buffer_give(la_buffer *b)
{
    if (!b)
        return;
    la_device *dev = b->dev;
    dev->memory.used -= b->bytes;
    if (b->arena) {
        la__arena_give(b);
        return;
    }
    if (dev->exact) {
        la__settle(dev, true);
        clFinish(dev->queue);
        destroy(b);
        return;
    }
    b->next = dev->free_list[b->size_class];
    dev->free_list[b->size_class] = b;
    dev->memory.pooled += b->bytes;
}

int la__write_now(const la_device *dev, cl_mem to, size_t offset, size_t bytes, const void *src)
{
    const cl_int code = clEnqueueWriteBuffer(dev->queue, to, CL_TRUE, offset, bytes, src, 0, NULL, NULL);
    return code == CL_SUCCESS ? 0
                              : la_fail(LA_EDEVICE, "memory: writing %zu bytes failed: %s", bytes, la__cl_error(code));
}

int la__buffer_write(la_buffer *b, size_t offset, size_t bytes, const void *src)
{
    enum { SMALL = 1 << 20 };
    if (bytes == 0)
        return 0;
    la__settle(b->dev, bytes > SMALL);
    const int err = la__report_failure(b->dev);
    if (err < 0)
        return err;
    return b->dev->pending ? la__pending_write(b, offset, bytes, src)
                           : la__write_now(b->dev, b->mem, offset, bytes, src);
}

int la__buffer_read(const la_buffer *b, size_t offset, size_t bytes, void *dst)
{
    if (bytes == 0)
        return 0;
    const int err = la__settle_and_report(b->dev);
    if (err < 0)
        return err;
    const cl_int code = clEnqueueReadBuffer(b->dev->queue, b->mem, CL_TRUE, offset, bytes, dst, 0, NULL, NULL);
    return code == CL_SUCCESS ? 0
                              : la_fail(LA_EDEVICE, "memory: reading %zu bytes failed: %s", bytes, la__cl_error(code));
}

la_memory la_device_memory(const la_device *dev)
{
    return dev->memory;
}

void la_device_reset_peak(la_device *dev)
{
    dev->memory.peak = dev->memory.used;
}

void la_device_on_pressure(la_device *dev, la_pressure_fn fn, void *payload)
{
    dev->pressure = fn;
    dev->pressure_payload = payload;
}
