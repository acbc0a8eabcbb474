/* SPDX-License-Identifier: MIT
 *
 * variant.h -- which of an op's kernels to use. Every op has a plain kernel, right on any device; the hot ones have
 * faster variants, one family for CPUs (register tiles) and one for GPUs (tiles in local memory).
 *
 * A variant's program is used on a device only after it has matched a reference computed on the host, on a small
 * problem with odd sizes; a program that has is noted in the cache on disk: there are drivers that miscompile arrays of
 * float16 without an error.
 */
#ifndef LA_VARIANT_H
#define LA_VARIANT_H

#include "ops/op.h"

typedef enum la_method {
    LA_AUTO,
    LA_PLAIN,
    LA_CPU,
    LA_GPU,
    LA_GPU128X128, /* one tile of the gpu kernels: sums of a work-group */
    LA_GPU128X64,
    LA_GPU64X64,
    LA_WINOGRAD4, /* F(4x4, 3x3) and F(2x2, 3x3), of the device's family */
    LA_WINOGRAD2,
    LA_CLBLAST,
    LA_CPU6X64, /* the cpu kernels with that tile */
    LA_CPU8X48,
    LA_CPU12X32,
    LA_CPU14X16
} la_method;

/* The choices of an op's `method`, in the order of la_method. An op that has no such kernels refuses. */
#define LA_METHODS \
    "auto|plain|cpu|gpu|gpu128x128|gpu128x64|gpu64x64|winograd4|winograd2|clblast|cpu6x64|cpu8x48|cpu12x32|cpu14x16"

/* What is wished for: LA_AUTO becomes what the environment's LUALIGN_METHOD names, such as "plain", or "gpu" to try a
 * GPU's kernels on a CPU; without that it stays. */
la_method la__wish(la_method wish);

/* Whether that is LA_PLAIN where nothing else was wished for. */
bool la__plain_kernels(void);

/* The family of kernels that `wish` means on this device: LA_PLAIN, LA_CPU or LA_GPU. */
la_method la__method(const la_device *dev, la_method wish);

/* A register tile of the cpu kernels. */
typedef struct la_tile {
    int mr, nr;
    const char *options; /* "-DMR=6 -DNR=64" */
} la_tile;

/* The tile that does a rows x columns product with the least work; rows 0: as many as you like. On a device that is
 * no CPU (where only tests ask) one that needs nothing special. */
const la_tile *la__tile(const la_device *dev, int64_t rows, int64_t columns);

/* The tile that a method names, or NULL. */
const la_tile *la__tile_named(la_method method);

/* `wish`, or where that is LA_AUTO the method on record for the pass ("conv2d.forward") over the shape that the rest
 * prints: LA_AUTO if there is none. LUALIGN_METHOD goes before the record. */
la_method la__choose(la_device *dev, la_method wish, const char *pass, const char *shape, ...) LA_PRINTF(4, 5);

/* A variant's program and how to try it: `trial` computes a small problem with it and with a reference on the host and
 * sets *good. It must not ask for a verdict on the same program. */
typedef int (*la_trial)(bool *good, la_device *dev, const void *what);

/* True if the program may be used: the verdict of its trial, which runs when first asked for. A trial that fails (the
 * program does not build, say) is a verdict, not an error. */
bool la__trusted(la_device *dev, const char *program, const char *options, la_trial trial, const void *what);

/* For trials: n pseudo-random numbers in (-1, 1), the same every time. */
void la__trial_numbers(float *out, int n, uint32_t seed);

/* For trials: |got - expected| <= tolerance max |expected| everywhere, 1e-4 for "close"; false where anything is NaN.
 */
bool la__trial_within(const float *got, const double *expected, int n, double tolerance);
bool la__trial_close(const float *got, const double *expected, int n);

#endif
