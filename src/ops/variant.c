/* SPDX-License-Identifier: MIT
 *
 * variant.c -- the choice between plain kernels and variants.
 */
#include "ops/variant.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/choice.h"

/* The method of that name; LA_AUTO if there is none. */
static la_method method_named(const char *name)
{
    const size_t n = strlen(name);
    int method = LA_AUTO;
    for (const char *at = LA_METHODS; *at; method++) {
        const size_t length = strcspn(at, "|");
        if (length == n && strncmp(at, name, n) == 0)
            return (la_method)method;
        at += length + (at[length] == '|');
    }
    return LA_AUTO;
}

/* What LUALIGN_METHOD names, else LA_AUTO. */
static la_method from_environment(void)
{
    const char *wish = getenv("LUALIGN_METHOD");
    return wish ? method_named(wish) : LA_AUTO;
}

la_method la__wish(la_method wish)
{
    return wish == LA_AUTO ? from_environment() : wish;
}

bool la__plain_kernels(void)
{
    return la__wish(LA_AUTO) == LA_PLAIN;
}

la_method la__method(const la_device *dev, la_method wish)
{
    wish = la__wish(wish);
    if (wish == LA_PLAIN || wish == LA_CPU || wish == LA_GPU)
        return wish;
    if (wish == LA_CLBLAST || (wish >= LA_GPU128X128 && wish <= LA_GPU64X64))
        return LA_GPU;
    if (wish >= LA_CPU6X64)
        return LA_CPU;
    return la__device_is_cpu(dev) ? LA_CPU : LA_GPU;
}

/* Tiles for vectors of 16 floats (24 to 28 sums in 32 registers), with the speed that each has been seen to reach,
 * relative to the first, and one for narrower vectors. -DFETCH asks for memory ahead of its use, which simulators of
 * other devices do not know. */
static const struct {
    la_tile tile;
    double speed;
} wide[] = {
    { { 6, 64, "-DMR=6 -DNR=64 -DFETCH" }, 1.0 },
    { { 8, 48, "-DMR=8 -DNR=48 -DFETCH" }, 0.98 },
    { { 12, 32, "-DMR=12 -DNR=32 -DFETCH" }, 0.96 },
    { { 14, 16, "-DMR=14 -DNR=16 -DFETCH" }, 0.8 },
};
static const la_tile narrow = { 6, 16, "-DMR=6 -DNR=16 -DFETCH" };
static const la_tile elsewhere = { 6, 16, "-DMR=6 -DNR=16" };

const la_tile *la__tile_named(la_method method)
{
    return method >= LA_CPU6X64 ? &wide[method - LA_CPU6X64].tile : NULL;
}

const la_tile *la__tile(const la_device *dev, int64_t rows, int64_t columns)
{
    const la_tile *best = &narrow;
    double least = INFINITY;
    if (!la__device_is_cpu(dev))
        return &elsewhere;
    if (la__device_float_width(dev) < 16)
        return best;
    for (int i = 0; i < LA_COUNT(wide); i++) {
        const int64_t mr = wide[i].tile.mr, nr = wide[i].tile.nr;
        const double down = rows ? (double)((rows + mr - 1) / mr * mr) : 1.0;
        const double work = down * (double)((columns + nr - 1) / nr * nr) / wide[i].speed;
        if (work < least) {
            least = work;
            best = &wide[i].tile;
        }
    }
    return best;
}

la_method la__choose(la_device *dev, la_method wish, const char *pass, const char *shape, ...)
{
    char text[160];
    va_list args;
    if (la__wish(wish) != LA_AUTO || !la__choices_matter(dev))
        return wish;
    va_start(args, shape);
    vsnprintf(text, sizeof text, shape, args);
    va_end(args);
    const char *name = la__choice(dev, pass, text);
    return name ? method_named(name) : LA_AUTO;
}

enum { GOOD = 1, BAD = 2 };

bool la__trusted(la_device *dev, const char *program, const char *options, la_trial trial, const void *what)
{
    int verdict = la__program_verdict(dev, program, options);
    if (verdict == 0 && la__program_proven(dev, program, options)) {
        verdict = GOOD;
        la__program_judge(dev, program, options, verdict);
    }
    if (verdict == 0) {
        bool good = false;
        if (la__device_settle(dev) < 0) /* an earlier launch has failed: no matter of this program */
            return false;
        const int err = trial(&good, dev, what);
        verdict = err == 0 && good ? GOOD : BAD;
        la__program_judge(dev, program, options, verdict);
        if (verdict == GOOD)
            la__program_prove(dev, program, options);
    }
    return verdict == GOOD;
}

void la__trial_numbers(float *out, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
}

bool la__trial_within(const float *got, const double *expected, int n, double tolerance)
{
    double largest = 0;
    for (int i = 0; i < n; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (int i = 0; i < n; i++)
        if (!(fabs((double)got[i] - expected[i]) <= tolerance * largest))
            return false;
    return true;
}

bool la__trial_close(const float *got, const double *expected, int n)
{
    return la__trial_within(got, expected, n, 1e-4);
}
