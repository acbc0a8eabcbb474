/* SPDX-License-Identifier: MIT
 *
 * gemm_mma.c -- products of matrices on the tensor cores of NVIDIA's GPUs (cl/matmul_mma.cl).
 */
#include "ops/gemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The kernel for some factors. LUALIGN_MMA=emulate: one that does without tensor cores, slowly, for tests. */
static la_gemm_kernel kernel_of(la_factors factors, bool emulated)
{
    static const char *const options[2][2] = { { "-DTF32", "-DTF32 -DEMULATE" }, { "-DBF16", "-DBF16 -DEMULATE" } };
    const bool half = factors == LA_BFLOAT16_FACTORS;
    return (la_gemm_kernel){ .program = "matmul_mma",
                             .options = options[half][emulated],
                             .entry = "matmul_fwd_mma",
                             .m = 128,
                             .n = 128,
                             .k = half ? 32 : 16 };
}

enum { M = 21, N = 140, K = 68 }; /* of the trial */

/* The product of x (M, K) and y (N, K), transposed; exact for small whole numbers. */
static bool is_product(const float *z, const float *x, const float *y)
{
    for (int at = 0; at < M * N; at++) {
        float sum = 0.0f;
        for (int k = 0; k < K; k++)
            sum += x[at / N * K + k] * y[at % N * K + k];
        if (z[at] != sum)
            return false;
    }
    return true;
}

/* A product of whole numbers up to 16, which all factors hold exactly: the result has to be exact too. */
static int trial(bool *good, la_device *dev, const void *what)
{
    int err = 0;
    la_buffer *a = NULL, *b = NULL, *c = NULL;
    float *x = la__calloc(M * K + N * K + M * N, sizeof *x);

    if (!x)
        return LA_ENOMEM;
    float *y = x + M * K, *z = y + N * K;
    la__trial_numbers(x, M * K + N * K, 3);
    for (int i = 0; i < M * K + N * K; i++)
        x[i] = roundf(x[i] * 16.0f);
    LA_TRY(la__buffer_take(&a, dev, M * K * sizeof *x));
    LA_TRY(la__buffer_take(&b, dev, N * K * sizeof *x));
    LA_TRY(la__buffer_take(&c, dev, M * N * sizeof *x));
    LA_TRY(la__buffer_write(a, 0, M * K * sizeof *x, x));
    LA_TRY(la__buffer_write(b, 0, N * K * sizeof *x, y));
    LA_TRY(la__gemm_in_tiles(dev, &(la_gemm){ .batch = 1, .m = M, .n = N, .k = K, .tb = true, .a = a, .b = b, .c = c },
                             what));
    LA_TRY(la__buffer_read(c, 0, M * N * sizeof *x, z));
    *good = is_product(z, x, y);
done:
    la__buffer_give(a);
    la__buffer_give(b);
    la__buffer_give(c);
    free(x);
    return err;
}

int la__gemm_mma(la_device *dev, const la_gemm *g)
{
    const char *wish = getenv("LUALIGN_MMA");
    const bool emulated = wish && strcmp(wish, "emulate") == 0;
    const la_gemm_kernel kernel = kernel_of(g->factors, emulated);
    const la_device_info *info = la_device_get_info(dev);
    const bool nvidia = strcmp(info->type, "gpu") == 0 && strncasecmp(info->vendor, "nvidia", 6) == 0;

    if (la__device_max_group(dev) < 256 || !(nvidia || emulated) ||
        !la__trusted(dev, kernel.program, kernel.options, trial, &kernel))
        return la_fail(LA_EARG,
                       "matmul: precision %s needs tensor cores (NVIDIA, compute capability 8.0 on); %s has none",
                       g->factors == LA_TF32_FACTORS ? "tf32" : "bfloat16", info->name);
    return la__gemm_in_tiles(dev, g, &kernel);
}
