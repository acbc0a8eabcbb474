/* SPDX-License-Identifier: MIT
 *
 * gpu.c -- the choice among the tiles of the GPU kernels.
 */
#include "ops/gpu.h"

#include <string.h>
#include <strings.h>

#define CEIL(a, b) (((a) + (b)-1) / (b))
#define TILE(m, n, k)                                                                               \
    {                                                                                               \
        LA_GPU##m##X##n, m, n, k, "-DTM=" #m " -DTN=" #n " -DTK=" #k, 8 * (size_t)(k) * (m + n + 8) \
    }

/* From the largest to the smallest: each operand that is read serves more sums in a larger one, but there are fewer. */
static const la_gpu_tile tiles[] = { TILE(128, 128, 8), TILE(128, 64, 16), TILE(64, 64, 16) };

/* The largest tile for the devices of a vendor (a part of the name, in any case). 64 sums of a work-item and what goes
 * with them are 128 registers: two work-groups on a multiprocessor of NVIDIA, where 32 run in step and that is plenty.
 * AMD's older cards run 64 in step and hide less with two, and the registers of Intel's and of mobile devices are
 * fewer. */
static const struct {
    const char *vendor;
    int largest;
} defaults[] = { { "nvidia", 0 }, { "advanced micro", 1 }, { "amd", 1 }, { "", 2 } };

static int largest_for(const char *vendor)
{
    int i = 0;
    for (; *defaults[i].vendor; i++) {
        const size_t n = strlen(defaults[i].vendor);
        for (const char *at = vendor; *at; at++)
            if (strncasecmp(at, defaults[i].vendor, n) == 0)
                return defaults[i].largest;
    }
    return defaults[i].largest;
}

int64_t la__gpu_share(int64_t batch, int64_t m, int64_t n, int64_t depth)
{
    enum { GROUPS = 256, LEAST = 256 };
    const int64_t groups = batch * CEIL(m, 64) * CEIL(n, 64);
    if (groups == 0)
        return depth;
    const int64_t wish = GROUPS / groups, most = depth / LEAST, splits = wish < most ? wish : most;
    return splits <= 1 ? depth : CEIL(CEIL(depth, splits), 16) * 16;
}

const la_gpu_tile *la__gpu_tile(const la_device *dev, la_method wish, int64_t batch, int64_t m, int64_t n,
                                int64_t depth)
{
    const int last = LA_COUNT(tiles) - 1;
    const size_t room = la__device_local_memory(dev);
    const int64_t enough = 2 * (int64_t)la__device_units(dev);
    const int64_t groups = depth > 0 ? batch * CEIL(depth, la__gpu_share(batch, m, n, depth)) : batch;
    if (la__device_max_group(dev) < 256 || tiles[last].local > room)
        return NULL;
    for (int i = 0; i <= last; i++)
        if (tiles[i].method == la__wish(wish) && tiles[i].local <= room)
            return &tiles[i];
    for (int i = largest_for(la_device_get_info(dev)->vendor); i < last; i++) {
        const la_gpu_tile *t = &tiles[i];
        const int64_t across = CEIL(n, t->n), down = CEIL(m, t->m);
        /* enough of them for every multiprocessor, at most a quarter of the work for nothing */
        if (t->local <= room && groups * across * down >= enough && 4 * across * t->n * down * t->m <= 5 * m * n)
            return t;
    }
    return &tiles[last];
}
