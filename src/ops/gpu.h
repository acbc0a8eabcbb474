/* SPDX-License-Identifier: MIT
 *
 * gpu.h -- the tiles that GPU kernels of products and convolutions are built for (cl/common.clh), and the choice.
 */
#ifndef LA_GPU_H
#define LA_GPU_H

#include "ops/variant.h"

/* A work-group of 256 makes m x n sums, k of the depth at a time. */
typedef struct la_gpu_tile {
    la_method method; /* its name */
    int m, n, k;
    const char *options;
    size_t local; /* bytes of local memory */
} la_gpu_tile;

/* The tile that `wish` names, else the one that suits the device and a product of batch x (m, depth) (depth, n) best;
 * NULL where the device has no room for any. */
const la_gpu_tile *la__gpu_tile(const la_device *dev, la_method wish, int64_t batch, int64_t m, int64_t n,
                                int64_t depth);

/* How much of the depth one work-group takes: all of it, or, where a product is too small to fill a GPU, a part, a
 * multiple of 16. The shape alone decides, so that sums are added in the same order on every machine and with every
 * tile. */
int64_t la__gpu_share(int64_t batch, int64_t m, int64_t n, int64_t depth);

/* What follows the sums: the same as `finish` in cl/common.clh. */
enum { LA_FINISH_SCALE = 1, LA_FINISH_SHIFT = 2, LA_FINISH_RESIDUAL = 4, LA_FINISH_CLAMP = 8 };

typedef struct la_gpu_finish {
    int32_t flags;
    float low, high;
} la_gpu_finish;

#endif
