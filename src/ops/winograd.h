/* SPDX-License-Identifier: MIT
 *
 * winograd.h -- 3 x 3 convolutions of stride 1 with fewer multiplications (cl/winograd.cl): 4 of the direct sum's 9
 * with tiles of 2 x 2, 1 of 4 with tiles of 4 x 4.
 */
#ifndef LA_WINOGRAD_H
#define LA_WINOGRAD_H

#include "ops/conv2d.h"

/* 3 x 3 taps, stride, dilation and groups 1. */
bool la__winograd_fits(const la_conv *s);

/* Whether it is faster than the direct sum on CPUs: LA_WINOGRAD4, LA_WINOGRAD2, or LA_AUTO where it is not. bfloat16
 * counts as default here. */
la_method la__winograd_pays(const la_conv *s, la_precision precision);

/* The kernels for method LA_WINOGRAD4 or LA_WINOGRAD2, untried: plan.tile is that of the fused kernel with family
 * LA_CPU; any other family takes three plain kernels and a batched product, and no tile. */
la_conv_plan la__winograd_plan(const la_device *dev, la_method method, la_method family);

/* True if a pass should go this way, because `wish` says so or leaves it to us and it pays: *p is then tried. */
bool la__winograd_choose(la_conv_plan *p, la_device *dev, const la_conv *s, la_method wish, la_precision precision);

/* The same with factors rounded to bfloat16 after the transforms, F(4x4), where the device multiplies them
 * (la__conv_bf16_works): *p is for la__winograd_forward, tried. */
bool la__winograd_bf16(la_conv_plan *p, la_device *dev);

/* y = clamp(norm(conv(x, f)) + residual) for a convolution that fits; e may be NULL. All tensors are dense. */
int la__winograd_forward(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *y, const la_tensor *x,
                         const la_filter *f, const la_epilogue *e);

/* dx from dy, the gradient of norm(conv(x, f)): the norm's scale counts, bias and shift do not. */
int la__winograd_backward_x(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dx, const la_tensor *dy,
                            const la_filter *f);

/* dw from dy and x, and whether that is faster than the direct sum on CPUs: LA_WINOGRAD4, or LA_AUTO where it is not.
 */
int la__winograd_backward_weight(la_device *dev, const la_conv *s, const la_conv_plan *p, la_tensor *dw,
                                 const la_tensor *dy, const la_tensor *x);
la_method la__winograd_pays_weight(const la_conv *s, la_precision precision);

/* As la__winograd_choose, for the weight gradient. */
bool la__winograd_choose_weight(la_conv_plan *p, la_device *dev, const la_conv *s, la_method wish,
                                la_precision precision);

#endif
