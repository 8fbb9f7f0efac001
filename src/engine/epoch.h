/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read without a lock is unlinked by the control thread first, and freed when no worker can have it any more: each
 * worker says at the start of a batch in which epoch it is, and at the end that it is in none.
 */
#ifndef WSASEC_ENGINE_EPOCH_H
#define WSASEC_ENGINE_EPOCH_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

enum { WSE_READERS_MAX = 32 };

struct wse_reader {
    alignas(64) _Atomic(uint64_t) epoch; /* 0: in none */
};

struct wse_epochs {
    _Atomic(uint64_t) now;
    struct wse_reader readers[WSE_READERS_MAX];
    struct wse_retired *oldest, *newest;
};

/* What waits for its end; the first member of what is freed, or beside it. */
struct wse_retired {
    struct wse_retired *next;
    uint64_t epoch;
    void (*end)(struct wse_retired *retired);
};

void wse_epochs_start(struct wse_epochs *epochs);

/* A worker's: what it reads in between is not freed. */
static inline void wse_enter(struct wse_epochs *epochs, struct wse_reader *reader)
{
    uint64_t now = atomic_load_explicit(&epochs->now, memory_order_acquire);

    /* The epoch must be seen before what is read next: a store, and then loads, which only a full barrier keeps apart. */
#ifdef __SANITIZE_THREAD__
    (void)atomic_exchange(&reader->epoch, now);
#else
    atomic_store_explicit(&reader->epoch, now, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static inline void wse_leave(struct wse_reader *reader)
{
    atomic_store_explicit(&reader->epoch, 0, memory_order_release);
}

/* The control thread's: has end called once no worker can have it. It was unlinked before. */
void wse_retire(struct wse_epochs *epochs, struct wse_retired *retired, void (*end)(struct wse_retired *retired));

/*
 * Calls the ends that are due, and before the first of them `before`: what workers said of it earlier can be read
 * then. Returns whether others still wait.
 */
int wse_reclaim(struct wse_epochs *epochs, void (*before)(void *context), void *context);

#endif
