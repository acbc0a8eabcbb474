/* SPDX-License-Identifier: MIT
 *
 * gemm_gpu.c -- products of matrices on GPUs: tiles in local memory (cl/matmul_gpu.cl).
 */
#include "ops/gemm.h"

#define CEIL(a, b) (((a) + (b)-1) / (b))

int la__gemm_gpu(la_device *dev, const la_gemm *g)
{
    return la__launch(
        dev,
        &(la_launch){ .program = "matmul_gpu",
                      .entry = "matmul_fwd_gpu",
                      .global = { (size_t)CEIL(g->n, 64) * 16, (size_t)CEIL(g->m, 64) * 16, (size_t)g->batch },
                      .local = { 16, 16, 1 },
                      .flops = 2.0 * (double)g->batch * (double)g->m * (double)g->n * (double)g->k,
                      .bytes = 4.0 * (double)g->batch * (double)(g->m * g->k + g->k * g->n + g->m * g->n) },
        (la_karg[]){ LA_BUF(g->c), LA_BUF(g->a), LA_BUF(g->b), LA_BUF(g->bias ? g->bias : g->a), LA_INT(g->m),
                     LA_INT(g->n), LA_INT(g->k), LA_INT(g->a_step), LA_INT(g->ta ? 1 : g->k), LA_INT(g->ta ? g->m : 1),
                     LA_INT(g->b_step), LA_INT(g->tb ? 1 : g->n), LA_INT(g->tb ? g->k : 1), LA_INT(g->bias != NULL) },
        14);
}
