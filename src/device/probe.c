/* SPDX-License-Identifier: MIT
 *
 * probe.c -- measures what the device could do at most, for the benchmarks.
 */
#include <time.h>

#include "device/internal.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int la__device_peak(la_device *dev, int repeats, double *flops)
{
    static const struct {
        const char *options;
        int sums;
    } kinds[] = { { "-DACC=12", 12 }, { "-DACC=16", 16 }, { "-DACC=24", 24 }, { "-DACC=28", 28 }, { "-DACC=2", 2 } };
    const int rounds = dev->is_cpu ? 20000 : 2000;
    const size_t items = dev->is_cpu ? 32 * (size_t)dev->info.units : 2048 * (size_t)dev->info.units;
    int err = 0;
    la_buffer *out = NULL;

    *flops = 0;
    LA_TRY(la__buffer_take(&out, dev, items * 64));
    for (int repeat = 0; repeat < repeats; repeat++)
        for (int i = 0; i < LA_COUNT(kinds); i++) {
            LA_TRY(la_device_finish(dev));
            const double start = now(), work = (double)items * rounds * kinds[i].sums * 32;
            LA_TRY(la__launch(dev,
                              &(la_launch){ .program = "probe",
                                            .entry = "probe_fma",
                                            .options = kinds[i].options,
                                            .global = { items },
                                            .local = { dev->is_cpu ? 1 : 64, 1, 1 },
                                            .flops = work },
                              (la_karg[]){ LA_BUF(out), LA_INT(rounds), LA_FLOAT(0.5), LA_FLOAT(0.25) }, 4));
            LA_TRY(la_device_finish(dev));
            const double rate = work / (now() - start);
            *flops = rate > *flops ? rate : *flops;
        }
done:
    la__buffer_give(out);
    return err;
}
