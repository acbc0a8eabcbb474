/* SPDX-License-Identifier: MIT
 *
 * clblast.c -- CLBlast's matrix product, when the library was built with it.
 */
#include "device/internal.h"

#ifdef LUALIGN_CLBLAST
#include <clblast_c.h>

bool la__clblast_available(void)
{
    return true;
}

int la__clblast_gemm(la_device *dev, bool ta, bool tb, size_t m, size_t n, size_t k, const la_buffer *a, size_t a_offset,
                     const la_buffer *b, size_t b_offset, la_buffer *c, size_t c_offset)
{
    const CLBlastStatusCode code =
        CLBlastSgemm(CLBlastLayoutRowMajor, ta ? CLBlastTransposeYes : CLBlastTransposeNo,
                     tb ? CLBlastTransposeYes : CLBlastTransposeNo, m, n, k, 1.0f, a->mem, a_offset, ta ? m : k, b->mem, b_offset,
                     tb ? k : n, 0.0f, c->mem, c_offset, n, &dev->queue, NULL);
    if (code != CLBlastSuccess)
        return la_fail(LA_EDEVICE, "matmul: CLBlast failed with code %d for %zu x %zu x %zu", (int)code, m, n, k);
    return 0;
}
#else
bool la__clblast_available(void)
{
    return false;
}

int la__clblast_gemm(la_device *dev, bool ta, bool tb, size_t m, size_t n, size_t k, const la_buffer *a, size_t a_offset,
                     const la_buffer *b, size_t b_offset, la_buffer *c, size_t c_offset)
{
    (void)dev, (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)a, (void)a_offset, (void)b, (void)b_offset, (void)c;
    (void)c_offset;
    return la_fail(LA_EDEVICE, "matmul: this build has no CLBlast");
}
#endif
