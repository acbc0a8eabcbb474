/* SPDX-License-Identifier: MIT
 *
 * conv2d.h -- what the files of the convolution share.
 *
 * conv2d.c checks and chooses; conv2d_sweep.c runs the forward pass and the data gradient, which are the same sweep
 * over different maps; conv2d_weight.c the weight gradient; conv2d_trial.c tries the variants on a small problem.
 */
#ifndef LA_CONV2D_H
#define LA_CONV2D_H

#include "ops/filter.h"
#include "ops/gemm.h"
#include "ops/gpu.h"

#define LA_CEIL(a, b) (((a) + (b)-1) / (b))

/* The same as `shape` in cl/conv2d.cl. x (n, h, w, c), w (o, kh, kw, c / groups), y (n, oh, ow, o). */
typedef struct la_conv {
    int32_t n, h, w, c, o, kh, kw, oh, ow;
    int32_t sh, sw, top, left, dh, dw, groups;
} la_conv;

/* The same as `after` in cl/common.clh: where scale and shift lie in their buffer (-1: there is none), whether there is
 * a residual, and the bounds. */
typedef struct la_after {
    int32_t scale, shift, residual;
    float low, high;
} la_after;

/* The same as `sweep` and `taps` in cl/conv2d_sweep.cl, where they are explained. */
typedef struct la_sweep {
    int32_t rows, ph, pw;
    int32_t h, w, pitch, run;
    int32_t th, tw, sh, sw, oh, ow, dh, dw;
    int32_t yh, yw, ysh, ysw, yoh, yow;
    int32_t ypitch, cols;
    int32_t clears;
    int32_t panels_first;
} la_sweep;

typedef struct la_taps {
    int32_t start, sg, sn, si, sj, sc;
    int32_t scale, shift, by_run;
} la_taps;

/* One sweep with its weights; flops and bytes for the profile. */
typedef struct la_sweep_job {
    la_sweep sweep;
    la_taps taps;
    int32_t groups;
    double flops, bytes;
} la_sweep_job;

/* The same as `span` in cl/conv2d_weight.cl. */
typedef struct la_span {
    int32_t rows, yh, yw;
    int32_t h, w, pitch, cols;
    int32_t th, tw, sh, sw, oh, ow, dh, dw;
    int32_t ypitch, ycols;
    int32_t pieces, piece, gap;
    int32_t split;
    int32_t tiles;
    int32_t turned, gathers, in_place;
} la_span;

/* How exact a convolution has to be. */
typedef enum la_precision {
    LA_DEFAULT, /* float32, F(4x4, 3x3) allowed */
    LA_STRICT,  /* float32, sums as they are defined or F(2x2, 3x3) */
    /* forward: factors rounded to bfloat16 (8 bits), sums float32: 0.2 % of error (rms), or 1.2 % by Winograd's F(4x4,
     * 3x3), which rounds what its transforms make of them; gradients, depthwise ones and few channels: as LA_DEFAULT */
    LA_BFLOAT16
} la_precision;

#define LA_PRECISIONS "default|strict|bfloat16" /* in the order of la_precision */

/* Checks x, weight and bias (slots 0 to 2) and the options from parameter `first` on: stride, padding, dilation,
 * groups. */
int la__conv_check(la_conv *s, const la_call *c, int first);

/* A 1 x 1 kernel that looks at every pixel once: a product of matrices. */
bool la__conv_is_product(const la_conv *s);

/* A filter's scale and shift as kernels take them. */
typedef struct la_norm {
    la_derived held[2];
    const la_buffer *buffer; /* a bias alone is its own buffer; NULL where there is nothing */
    int32_t scale, shift;    /* as in la_after */
    const la_buffer *alone;  /* the shift in a buffer of its own, or NULL */
} la_norm;

int la__conv_norm(la_norm *out, la_device *dev, const la_filter *f);
void la__conv_norm_give(la_norm *norm);

/* The forward pass and the data gradient by what is best, or asked for by the parameters `precision` and, after it,
 * method; la__conv_forward and la__conv_backward_x say the rest. */
int la__conv_apply(const la_call *c, const la_conv *s, int precision, la_tensor *y, const la_tensor *x,
                   const la_filter *f, const la_epilogue *e);
int la__conv_apply_x(const la_call *c, const la_conv *s, int precision, la_tensor *dx, const la_tensor *dy,
                     const la_filter *f);

/* A build of cl/conv2d_depthwise.cl: for kernel x kernel taps, `stride` pixels apart, or for any (0). */
typedef struct la_whole {
    const char *options;
    int32_t kernel, stride;
} la_whole;

/* The kernels for one pass over one convolution. */
typedef struct la_conv_plan {
    la_method method;
    bool depthwise;        /* with method LA_CPU or LA_GPU: the kernels for one channel per group */
    const la_whole *whole; /* depthwise, with method LA_CPU: by whole rows, or NULL */
    bool turned;         /* weight gradient, with method LA_CPU: rows of tiles are channels of x, columns those of y */
    bool narrow;         /* data gradient, with method LA_CPU: the kernels for few channels */
    const la_tile *tile; /* with method LA_CPU */
    const la_gpu_tile *gpu; /* with method LA_GPU, unless depthwise */
    const char *options;    /* how the program of the variant is built */
    bool bf16;              /* the forward pass in bfloat16 */
} la_conv_plan;

/* What the record of choices has for a pass ("conv2d.weight"). */
la_method la__conv_choose(la_device *dev, const la_conv *s, la_method wish, const char *pass);

/* Which kernels suit the convolution, untried: for a product of so many rows (0: plenty) and columns. */
la_conv_plan la__conv_plan(la_device *dev, const la_conv *s, la_method wish, int64_t rows, int64_t columns);

/* The same for a pass, tried: the plain kernels where a variant does not compute what it should. */
la_conv_plan la__conv_plan_sweep(la_device *dev, const la_conv *s, la_method wish, la_precision precision,
                                 bool data_gradient);
la_conv_plan la__conv_plan_weight(la_device *dev, const la_conv *s, la_method wish, la_precision precision);

/* The three passes on dense tensors. `e` may be NULL: no residual, no bounds. The data gradient is that of the sums
 * before residual and bounds, by x: only the filter's weight and scale matter. The weight gradient is by the weight as
 * the sums see it, that is times the scale. */
int la__conv_forward(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *y, const la_tensor *x,
                     const la_filter *f, const la_epilogue *e);
int la__conv_backward_x(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dx, const la_tensor *dy,
                        const la_filter *f);
int la__conv_backward_weight(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dw,
                             const la_tensor *dy, const la_tensor *x);

/* dw = the sum of so many parts, each as large, in their order; nothing to do where there is one. `options`: the build
 * of cl/conv2d_weight.cl that is in use anyway, or NULL. */
int la__conv_sum_parts(la_device *dev, const char *options, la_tensor *dw, const la_buffer *part, int32_t parts);

/* The data gradient of a convolution from few channels (conv2d_narrow.c). The plan is tried; false where it does not
 * suit. */
bool la__conv_plan_narrow(la_conv_plan *p, la_device *dev, const la_conv *s, la_method wish);
int la__conv_narrow_x(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dx, const la_tensor *dy,
                      const la_filter *f);

/* The forms for GPUs (conv2d_gpu.c), in local memory: need work-groups of 256. norm holds scale and shift where the
 * job's taps say; norm and residual are any buffers where there is none. */
const la_gpu_tile *la__conv_gpu_tile(const la_device *dev, const la_conv *s, la_method wish, int64_t rows,
                                     int64_t columns); /* rows, columns as for la__conv_plan */
int la__conv_sweep_gpu(la_device *dev, const la_gpu_tile *tile, const la_sweep_job *j, const la_after *e,
                       const la_buffer *y, const la_buffer *x, const la_buffer *w, const la_buffer *norm,
                       const la_buffer *residual);
int la__conv_weight_gpu(la_device *dev, const la_gpu_tile *tile, const la_conv *s, la_tensor *dw, const la_tensor *dy,
                        const la_tensor *x);

/* Channels narrow enough that a row of the kernel (kw x c floats, next to each other in a padded x) is better taken as
 * one tap: the first layer of a network. */
bool la__conv_merges_rows(const la_conv *s);

/* x with its padding written out, (n, h + top + bottom, w + left + right, c) as far as the kernel reaches; sets *s to
 * the convolution of that. */
int la__conv_pad(la_buffer **out, la_conv *s, la_device *dev, const la_tensor *x);

/* The forward pass as a sweep, and what follows it but for scale and shift. */
la_sweep_job la__conv_sweep(const la_conv *s);
la_after la__conv_after(const la_epilogue *e);

/* bfloat16 (conv2d_bf16.c): whether the device can, and the forward pass; not for depthwise convolutions, which wait
 * for memory and not for multiplications. */
int la__conv_bf16_works(bool *works, la_device *dev);
int la__conv_bf16_forward(la_device *dev, const la_conv *s, la_tensor *y, const la_tensor *x, const la_filter *f,
                          const la_epilogue *e);

/* Trials of a plan's program: la_trial with a la_conv_plan. */
int la__conv_trial_sweep(bool *good, la_device *dev, const void *plan);
int la__conv_trial_weight(bool *good, la_device *dev, const void *plan);
int la__conv_trial_narrow(bool *good, la_device *dev, const void *plan);
int la__conv_trial_bf16(bool *good, la_device *dev, const void *plan);
int la__conv_trial_whole(bool *good, la_device *dev, const void *plan);

double la__conv_flops(const la_conv *s);

/* Bytes of x, y and the weights: what has to move at least. */
double la__conv_bytes(const la_conv *s);

#endif
