/* SPDX-License-Identifier: MIT
 *
 * grad.h -- the tape. A node is one recorded call: it owns the call's inputs and saved tensors, and its output tensors
 * own it. Nodes are numbered as they are made; backward visits them from the highest number down, so every consumer of
 * a value is done before its producer.
 */
#ifndef LA_GRAD_H
#define LA_GRAD_H

#include "ops/op.h"

typedef struct la_node {
    la_node_head head; /* first: tensors hold this */
    bool freed;        /* backward has been through */
    uint64_t number;
    la_call call;
    uint32_t version[LA_MAX_INPUTS]; /* of each input's storage when recorded */
    uint32_t saved_version[LA_MAX_SAVED];
    la_tensor *gout[LA_MAX_OUTPUTS]; /* gradient gathered so far */
} la_node;

/* Runs a prepared call: forward, then note it on the tape if recording is on, the op has a backward and an input
 * depends on a leaf. On failure the call's tensors are released. On success the caller owns c->out[]; everything else
 * in c has been moved to the tape or released. */
int la_apply(la_call *c);

bool la__grad_enabled(void);

#endif
