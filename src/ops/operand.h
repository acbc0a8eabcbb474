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

#endif
