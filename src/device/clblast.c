/* SPDX-License-Identifier: MIT
 *
 * clblast.c -- CLBlast's matrix product, when the library was built with it.
 */
#include "device/internal.h"

#ifdef LUALIGN_CLBLAST
#include <clblast_c.h>
#include <time.h>

bool la__clblast_available(void)
{
    return true;
}

void la__clblast_forget(void)
{
    CLBlastClearCache();
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int la__clblast_gemm(la_device *dev, bool ta, bool tb, size_t m, size_t n, size_t k, const la_buffer *a,
                     size_t a_offset, const la_buffer *b, size_t b_offset, la_buffer *c, size_t c_offset)
{
    int err = 0;
    double start = 0.0;

    if (dev->profiling) { /* it launches several kernels: the clock times them together */
        LA_TRY(la_device_finish(dev));
        start = now();
    }
    LA_TRY(la__settle_and_report(dev));
    dev->used_clblast = true;
    const CLBlastStatusCode code = CLBlastSgemm(CLBlastLayoutRowMajor, ta ? CLBlastTransposeYes : CLBlastTransposeNo,
                                                tb ? CLBlastTransposeYes : CLBlastTransposeNo, m, n, k, 1.0f, a->mem,
                                                a_offset, ta ? m : k, b->mem, b_offset, tb ? k : n, 0.0f, c->mem,
                                                c_offset, n, &dev->queue, NULL);
    if (code != CLBlastSuccess) {
        err = la_fail(LA_EDEVICE, "matmul: CLBlast failed with code %d for %zu x %zu x %zu", (int)code, m, n, k);
        goto done;
    }
    if (dev->profiling) {
        LA_TRY(la_device_finish(dev));
        const double x = (double)m, y = (double)n, z = (double)k;
        LA_TRY(la__profile_add(dev, "clblast_sgemm", now() - start, 4.0 * (x * z + z * y + x * y), 2.0 * x * y * z));
    }
done:
    return err;
}
#else
bool la__clblast_available(void)
{
    return false;
}

void la__clblast_forget(void) {}

int la__clblast_gemm(la_device *dev, bool ta, bool tb, size_t m, size_t n, size_t k, const la_buffer *a,
                     size_t a_offset, const la_buffer *b, size_t b_offset, la_buffer *c, size_t c_offset)
{
    (void)dev, (void)ta, (void)tb, (void)a, (void)a_offset, (void)b, (void)b_offset, (void)c, (void)c_offset;
    return la_fail(LA_EDEVICE, "matmul: this build has no CLBlast (for %zu x %zu x %zu)", m, n, k);
}
#endif
