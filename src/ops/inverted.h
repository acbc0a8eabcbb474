/* SPDX-License-Identifier: MIT
 *
 * inverted.h -- what the files of the inverted residual block share: inverted.c checks and chooses, inverted_trial.c
 * tries the kernel.
 */
#ifndef LA_INVERTED_H
#define LA_INVERTED_H

#include "ops/variant.h"

enum {
    LA_BLOCK_X,
    LA_BLOCK_DEPTHWISE,
    LA_BLOCK_DEPTHWISE_BIAS,
    LA_BLOCK_PROJECT,
    LA_BLOCK_PROJECT_BIAS,
    LA_BLOCK_EXPAND,
    LA_BLOCK_EXPAND_BIAS,
    LA_BLOCK_INPUTS
};

/* A block: x (n, h, w, c) is widened to `wide` channels, swept by kh x kw taps, and becomes y (n, oh, ow, o). */
typedef struct la_block {
    int32_t n, h, w, c, wide, o;
    int32_t kh, kw, stride, dilation, pad[4]; /* top, bottom, left, right */
    int32_t oh, ow;
    bool residual;
    float low, high;
    la_tensor *in[LA_BLOCK_INPUTS]; /* dense; NULL where there is none */
} la_block;

/* A build of cl/inverted.cl. */
typedef struct la_block_kernel {
    const char *options;
    int32_t kernel, stride;
} la_block_kernel;

/* The block by bands of rows, untried: with that kernel's taps and stride, no dilation, at least 16 channels each and 5
 * columns of y. */
int la__block_bands(la_device *dev, const la_block *b, const la_block_kernel *k, la_tensor *y);

/* Its la_trial, with the la_block_kernel. */
int la__block_trial(bool *good, la_device *dev, const void *kernel);

#endif
