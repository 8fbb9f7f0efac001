/* SPDX-License-Identifier: Apache-2.0 */
/* Counters that one thread writes and any may read, without a lock. */
#ifndef WSASEC_LOAD_TALLY_H
#define WSASEC_LOAD_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

/* Who sees the new value sees all that was counted before it. */
static inline void wsasec_count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_release);
}

static inline uint64_t wsasec_counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

#endif
