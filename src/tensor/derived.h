/* SPDX-License-Identifier: MIT
 *
 * derived.h -- what an op makes of tensors before it can use them (weights packed into panels, or transformed), kept
 * with the first of them until one of them changes.
 *
 *   la_derived d;
 *   LA_TRY(la__derived_take(&d, "conv2d.panels 6x64", bytes, 2, (const la_tensor *[]){ weight, bias }));
 *   if (!d.ready)
 *       LA_TRY(launch the kernel that fills d.buffer);
 *   ... launch what reads d.buffer ...
 *   la__derived_give(&d);
 *
 * Kept are derivations of tensors that are neither trained nor computed: those that are change before they are used
 * often, and what was made of them would only take memory. Theirs come from the pool and go back to it.
 */
#ifndef LA_DERIVED_H
#define LA_DERIVED_H

#include "tensor/tensor.h"

enum { LA_DERIVED_FROM = 6 };

typedef struct la_derived {
    la_buffer *buffer;
    bool ready; /* filled already, from the tensors as they are now */
    bool owned; /* to be given back to the pool */
} la_derived;

/* The buffer of `bytes` under `key`, which says all that its contents depend on but the n <= LA_DERIVED_FROM tensors
 * (dense; NULL where an optional one is missing, but not the first). After an error *out holds nothing. */
int la__derived_take(la_derived *out, const char *key, size_t bytes, int n, const la_tensor *const *from);

/* Ends the use of a derivation; of one that holds nothing too. */
void la__derived_give(la_derived *d);

/* Gives back all that is kept with a storage: when it goes, and where filling a derivation failed, so that it is not
 * taken for ready the next time. */
void la__derived_forget(la_storage *s);

#endif
