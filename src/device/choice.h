/* SPDX-License-Identifier: MIT
 *
 * choice.h -- the record of which method is best for a pass of an operation over a shape, as measured on the device.
 * What is public of it (la_choice_set and kin) is in lualign.h.
 */
#ifndef LA_CHOICE_H
#define LA_CHOICE_H

#include "lualign.h"

/* False where la__choice would find nothing and nobody wants to know what is asked: callers need not say the shape. */
bool la__choices_matter(la_device *dev);

/* The name of the method that is on record, or NULL. Valid until the record changes. */
const char *la__choice(la_device *dev, const char *pass, const char *shape);

/* With the device: frees the record. */
void la__choices_free(la_device *dev);

#endif
