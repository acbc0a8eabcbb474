/* SPDX-License-Identifier: MIT
 *
 * arena.c -- memory for the larger blocks of a device that works in place on memory of ours. A chunk is a long range of
 * addresses whose pages come with their first use. It is cut into blocks; a free one is joined with free neighbours, so
 * that what a step has used for one purpose serves the next whatever its size, and the pages in use grow little beyond
 * the bytes in use at the worst moment.
 *
 * The block taken is one of the smallest that fit, from its lowest address on. One that was never used lies at the end
 * of its chunk and is the largest: it is touched only where no other fits.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "device/internal.h"

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

/* Addresses that a chunk reserves at most. */
static const size_t LARGEST = (size_t)1 << 36;

struct la_chunk {
    la_chunk *next;
    void *map; /* as mmap gave it */
    size_t mapped;
    la_buffer *first; /* its blocks, by address */
};

/* ---- free blocks, in one list for each class of sizes ---- */

/* The largest class that is not above that size. */
static int bin_of(size_t bytes)
{
    size_t rounded;
    const int c = la__size_class(bytes, &rounded);
    return rounded > bytes ? c - 1 : c;
}

static void enter(la_buffer *b)
{
    la_buffer **head = &b->dev->free_block[bin_of(b->bytes)];
    b->is_free = true;
    b->prev = NULL;
    b->next = *head;
    if (*head)
        (*head)->prev = b;
    *head = b;
}

static void leave(la_buffer *b)
{
    if (b->prev)
        b->prev->next = b->next;
    else
        b->dev->free_block[bin_of(b->bytes)] = b->next;
    if (b->next)
        b->next->prev = b->prev;
    b->is_free = false;
    b->next = b->prev = NULL;
}

/* ---- chunks ---- */

/* A chunk with room for a block: as many addresses as the budget has, or fewer where the system refuses them. */
static bool chunk_open(la_device *dev, size_t need)
{
    size_t bytes = dev->memory.budget < LARGEST ? dev->memory.budget / HUGE_PAGE * HUGE_PAGE : LARGEST;
    la_chunk *k = la__calloc(1, sizeof *k);
    la_buffer *b = la__calloc(1, sizeof *b);
    void *map = MAP_FAILED;

    need = (need + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    if (bytes < need)
        bytes = need;
    while (k && b && map == MAP_FAILED && bytes >= need) {
        map = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED)
            bytes = bytes > need && bytes / 4 < need ? need : bytes / 4 / HUGE_PAGE * HUGE_PAGE;
    }
    if (map == MAP_FAILED) {
        free(k);
        free(b);
        return false;
    }
    const uintptr_t start = ((uintptr_t)map + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
#ifdef MADV_HUGEPAGE
    madvise((void *)start, bytes, MADV_HUGEPAGE);
#endif
    *b = (la_buffer){ .dev = dev, .host = (void *)start, .bytes = bytes, .arena = true };
    *k = (la_chunk){ .next = dev->chunks, .map = map, .mapped = bytes + HUGE_PAGE, .first = b };
    dev->chunks = k;
    enter(b);
    return true;
}

void la__arena_close(la_device *dev)
{
    while (dev->chunks) {
        la_chunk *k = dev->chunks;
        dev->chunks = k->next;
        while (k->first) {
            la_buffer *b = k->first;
            k->first = b->after;
            if (b->mem)
                clReleaseMemObject(b->mem);
            free(b);
        }
        munmap(k->map, k->mapped);
        free(k);
    }
}

/* ---- blocks ---- */

/* Bytes of a free block's first `need` that were never used. */
static size_t cold(const la_buffer *b, size_t need)
{
    return b->warm < need ? need - b->warm : 0;
}

/* The free block to take `need` bytes from: the first whose bytes were all used before, else the one with the fewest
 * that were not. */
static la_buffer *find(const la_device *dev, size_t need)
{
    la_buffer *best = NULL;
    for (int c = bin_of(need); c < LA_SIZE_CLASSES; c++)
        for (la_buffer *b = dev->free_block[c]; b; b = b->next) {
            if (b->bytes < need)
                continue;
            if (cold(b, need) == 0)
                return b;
            if (!best || cold(b, need) < cold(best, need))
                best = b;
        }
    return best;
}

/* Cuts a free block after `need` bytes; the rest stays free. */
static bool cut(la_buffer *b, size_t need)
{
    if (b->bytes == need)
        return true;
    la_buffer *rest = la__calloc(1, sizeof *rest);
    if (!rest)
        return false;
    *rest = (la_buffer){ .dev = b->dev,
                         .host = (char *)b->host + need,
                         .bytes = b->bytes - need,
                         .warm = b->warm > need ? b->warm - need : 0,
                         .arena = true,
                         .before = b,
                         .after = b->after };
    if (b->after)
        b->after->before = rest;
    b->after = rest;
    b->bytes = need;
    b->warm = b->warm < need ? b->warm : need;
    enter(rest);
    return true;
}

la_buffer *la__arena_take(la_device *dev, size_t bytes, size_t room, cl_int *code)
{
    const size_t need = (bytes + PAGE - 1) / PAGE * PAGE;
    la_buffer *b = find(dev, need);

    *code = CL_SUCCESS;
    if (!b && need <= room && chunk_open(dev, need))
        b = find(dev, need);
    if (!b && need <= room)
        *code = CL_OUT_OF_HOST_MEMORY;
    if (!b || cold(b, need) > room)
        return NULL;
    leave(b);
    if (!cut(b, need)) {
        enter(b);
        *code = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    b->mem = clCreateBuffer(dev->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, b->bytes, b->host, code);
    dev->memory.pooled -= b->warm;
    dev->memory.allocations += b->warm < b->bytes;
    if (*code != CL_SUCCESS) {
        b->mem = NULL;
        la__arena_give(b);
        return NULL;
    }
    return b;
}

/* Adds the block after b to b; neither is in a list. */
static void join(la_buffer *b, la_buffer *after)
{
    b->bytes += after->bytes;
    b->warm += after->warm;
    b->after = after->after;
    if (b->after)
        b->after->before = b;
    free(after);
}

void la__arena_give(la_buffer *b)
{
    la_buffer *before = b->before, *after = b->after;
    if (b->mem)
        clReleaseMemObject(b->mem); /* lives on for the kernels that are queued */
    b->mem = NULL;
    b->warm = b->bytes;
    b->dev->memory.pooled += b->bytes;
    if (after && after->is_free) {
        leave(after);
        join(b, after);
    }
    if (before && before->is_free) {
        leave(before);
        join(before, b);
        b = before;
    }
    enter(b);
}

void la__arena_trim(la_device *dev, size_t room)
{
    for (int c = LA_SIZE_CLASSES - 1; c >= 0; c--)
        for (la_buffer *b = dev->free_block[c]; b; b = b->next) {
            const size_t taken = dev->memory.used + dev->memory.pooled;
            if (taken <= dev->memory.budget && dev->memory.budget - taken >= room)
                return;
            if (b->warm == 0 || madvise(b->host, b->bytes, MADV_DONTNEED) != 0)
                continue;
            dev->memory.pooled -= b->warm;
            b->warm = 0;
        }
}
