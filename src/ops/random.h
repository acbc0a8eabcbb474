/* SPDX-License-Identifier: MIT
 *
 * random.h -- Philox on the host, as cl/random.cl has it.
 */
#ifndef LA_RANDOM_H
#define LA_RANDOM_H

#include <stdint.h>

/* Four words from a counter and a key: Philox4x32-10. */
void la__philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

#endif
