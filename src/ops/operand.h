/* SPDX-License-Identifier: MIT
 *
 * operand.h -- operands that are tensors or numbers.
 */
#ifndef LA_OPERAND_H
#define LA_OPERAND_H

#include "ops/op.h"

/* Operand number arg of a call, which sits in `slot`, as a tensor of the given type: a number becomes a tensor without
 * dimensions. */
int la__operand(la_tensor **out, const la_call *c, int arg, int slot, la_dtype dtype);

/* Whether operands `first` and `first + 1` (parameters and slots with the same numbers) are integers: tensors of an
 * integer type, or a whole number beside one. */
bool la__operands_whole(const la_call *c, int first);

/* The parameters a and b of an op that takes two operands and nothing else. */
extern const la_param la__binary_params[];

/* Forward of such an op: out = f(a, b), broadcast, in dtype. f is the kernel <op>_fwd of the program, or <op>_fwd_int
 * on operands as int32 where ints is true. */
int la__binary_forward(la_call *c, const char *program, bool ints, la_dtype dtype);

#endif
