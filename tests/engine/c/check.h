/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs that test the engine have in common: a check that does not go away with NDEBUG, and numbers. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                            \
    do {                                                                                            \
        if (!(condition)) {                                                                         \
            fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, #condition); \
            abort();                                                                                \
        }                                                                                           \
    } while (0)

/* Pseudo-random numbers, the same in each run (xorshift64*); *state is not 0. */
static inline uint64_t drawn(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

#endif
