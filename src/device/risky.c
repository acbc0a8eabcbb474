/* SPDX-License-Identifier: MIT
 *
 * risky.c -- trying, in a process of its own, a program that may not come back from the compiler.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "device/builder.h"

enum { GOOD = 1, BAD = 2 };

/* Everything that the verdict depends on. */
static uint64_t key_of(const la_device *dev, const la_launch *what, const char *text, const la_probe_arg *args,
                       int nargs, const float *expected)
{
    uint64_t key = la__cache_key(dev, text, what->options ? what->options : "");
    key = XXH64(what->entry, strlen(what->entry) + 1, key);
    key = XXH64(what->global, sizeof what->global, key);
    key = XXH64(what->local, sizeof what->local, key);
    for (int i = 0; i < nargs; i++)
        key = XXH64(args[i].data, args[i].bytes, key);
    return XXH64(expected, args[0].bytes, key);
}

static bool is_close(const float *got, const float *expected, size_t n, float tolerance)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(expected[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - expected[i]) <= tolerance * largest))
            return false;
    return true;
}

int la__program_probe(bool *works, la_device *dev, const la_launch *what, const la_probe_arg *args, int nargs,
                      const float *expected, float tolerance)
{
    int err = 0;
    bool family;
    char *text = NULL;
    la_job *job = NULL;

    *works = false;
    if (nargs < 1 || nargs > LA_PROBE_ARGS || !args[0].buffer)
        return la_fail(LA_EARG, "device: a probe must have 1 to %d arguments, the first a buffer, got %d",
                       LA_PROBE_ARGS, nargs);
    LA_TRY(la__source(&text, &family, what->program, what->source, what->entry));
    const uint64_t key = key_of(dev, what, text, args, nargs, expected);
    int verdict = la__cache_verdict(what->program, key);
    if (verdict == 0) {
        job = la__job_launch(dev, what, text, args, nargs);
        if (!job || (la__job_done(dev, job, true) && job->unable))
            goto done;
        const size_t n = args[0].bytes / sizeof *expected;
        const bool good = job->code == 0 && job->output.bytes == args[0].bytes &&
                          is_close(job->output.data, expected, n, tolerance);
        verdict = good ? GOOD : BAD;
        la__cache_keep_verdict(verdict, what->program, key);
    }
    *works = verdict == GOOD;
done:
    if (job)
        la__job_free(dev, job);
    free(text);
    return err;
}
