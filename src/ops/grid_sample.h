/* SPDX-License-Identifier: MIT
 *
 * grid_sample.h -- the parts of grid_sample that other ops use: dense float32 tensors in, fresh tensors out.
 */
#ifndef LA_GRID_SAMPLE_H
#define LA_GRID_SAMPLE_H

#include "ops/op.h"

/* image (N, H, W, C) at grid (N, h, w, 2) -> (N, h, w, C) */
int la__sample(la_tensor **out, la_tensor *image, la_tensor *grid);

/* g (N, h, w, C) -> the gradient of grid, and of the image: H, W of shape `like` */
int la__sample_grad_grid(la_tensor **out, la_tensor *g, la_tensor *image, la_tensor *grid);
int la__sample_grad_image(la_tensor **out, la_tensor *g, la_tensor *grid, const la_tensor *like);

/* "op: grid must be (N, h, w, 2) ..." for the tensor in `slot`, float32, with a batch of N. */
int la__check_grid(const la_call *c, int slot, int64_t N);

#endif
