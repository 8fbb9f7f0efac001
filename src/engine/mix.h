/* SPDX-License-Identifier: Apache-2.0 */
/* A hash of words, one after another, that begins with a seed: for tables whose places nobody outside is to foresee. */
#ifndef WSASEC_ENGINE_MIX_H
#define WSASEC_ENGINE_MIX_H

#include <stdint.h>

static inline uint64_t wse_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 32);
}

#endif
