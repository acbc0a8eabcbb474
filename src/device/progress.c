/* SPDX-License-Identifier: MIT
 *
 * progress.c -- how far the building of programs is, for whoever listens.
 */
#include "device/builder.h"

#include <time.h>

/* Builds that follow each other within so many seconds are counted together. */
static const double pause = 2.0;

double la__now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void la_device_on_build(la_device *dev, la_build_fn fn, void *payload)
{
    dev->build.fn = fn;
    dev->build.payload = payload;
}

static void tell(la_device *dev, la_build news)
{
    const double spent = la__now() - dev->build.began;
    news.done = dev->build.done;
    news.total = dev->build.total;
    news.spent = spent;
    news.left = news.done > 0 ? spent / news.done * (news.total - news.done) : 0;
    if (dev->build.fn)
        dev->build.fn(dev->build.payload, &news);
}

void la__build_begun(la_device *dev)
{
    const double now = la__now();
    if (dev->build.done == dev->build.total && now - dev->build.ended > pause) {
        dev->build.done = dev->build.total = 0;
        dev->build.began = now;
    }
    dev->build.total++;
}

void la__build_counted(la_device *dev, const char *program, const char *options, double seconds, const char *error)
{
    dev->build.done++;
    dev->build.ended = la__now();
    tell(dev, (la_build){ .program = program, .options = options, .seconds = seconds, .error = error });
}

void la__build_waiting(la_device *dev)
{
    if (dev->build.done < dev->build.total)
        tell(dev, (la_build){ .program = NULL });
}
