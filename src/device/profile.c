/* SPDX-License-Identifier: MIT
 *
 * profile.c -- what each kernel has taken. A row is a kernel's name; builds of one program under several options share
 * it.
 */
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

/* The queue follows at the next launch. */
void la_profile_enable(la_device *dev, bool on)
{
    dev->profiling = on;
}

void la__profile_free(la_device *dev)
{
    for (int i = 0; i < dev->row_count; i++)
        free((char *)dev->rows[i].kernel);
    free(dev->rows);
    dev->rows = NULL;
    dev->row_count = 0;
}

void la_profile_reset(la_device *dev)
{
    la__profile_free(dev);
}

int la__profile_add(la_device *dev, const char *name, double seconds, double bytes, double flops)
{
    int i = 0;
    while (i < dev->row_count && strcmp(dev->rows[i].kernel, name) != 0)
        i++;
    if (i == dev->row_count) {
        la_profile_row *more = realloc(dev->rows, (size_t)(i + 1) * sizeof *more);
        if (more)
            dev->rows = more;
        char *own = more ? strdup(name) : NULL;
        if (!own)
            return la_fail(LA_ENOMEM, "profile: out of host memory");
        dev->rows[i] = (la_profile_row){ .kernel = own };
        dev->row_count++;
    }
    dev->rows[i].calls++;
    dev->rows[i].seconds += seconds;
    dev->rows[i].bytes += bytes;
    dev->rows[i].flops += flops;
    return 0;
}

static int by_seconds(const void *a, const void *b)
{
    const double x = ((const la_profile_row *)a)->seconds, y = ((const la_profile_row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

int la_profile_rows(la_device *dev, const la_profile_row **rows, int *count)
{
    if (dev->row_count > 1)
        qsort(dev->rows, (size_t)dev->row_count, sizeof *dev->rows, by_seconds);
    *rows = dev->rows;
    *count = dev->row_count;
    return 0;
}
