/* SPDX-License-Identifier: Apache-2.0 */
/* A backend that does what it is told and writes down what it was asked, for tests of the core alone. */
#ifndef DOUBLE_H
#define DOUBLE_H

#include "../../src/backend.h"

struct double_backend {
    /* what it answers */
    struct wsasec_facts facts;
    uint16_t bound_reason;
    unsigned inspect_fails; /* a reason, or 0 */
    unsigned ready_fails;
    unsigned apply_fails;
    int block_fails;
    /* what it was asked, in order: I inspect, B bound reason, R ready, A apply, X block; q n d i r: the other five */
    char calls[4096];
    size_t count;
};

extern struct double_backend the_double;

#endif
