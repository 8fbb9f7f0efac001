/* SPDX-License-Identifier: Apache-2.0 */
#include "epoch.h"

#include <stddef.h>

void wse_epochs_start(struct wse_epochs *epochs)
{
    atomic_store(&epochs->now, 1);
}

void wse_retire(struct wse_epochs *epochs, struct wse_retired *retired, void (*end)(struct wse_retired *retired))
{
    retired->next = NULL;
    retired->end = end;
    /* Who enters from now on is of a later epoch, and cannot find it. */
    retired->epoch = atomic_fetch_add(&epochs->now, 1);
    if (epochs->newest)
        epochs->newest->next = retired;
    else
        epochs->oldest = retired;
    epochs->newest = retired;
}

/* The oldest epoch that a worker is in. */
static uint64_t oldest_of(struct wse_epochs *epochs)
{
    uint64_t oldest = UINT64_MAX;

    for (int i = 0; i < WSE_READERS_MAX; i++) {
        uint64_t epoch = atomic_load(&epochs->readers[i].epoch);

        if (epoch && epoch < oldest)
            oldest = epoch;
    }
    return oldest;
}

int wse_reclaim(struct wse_epochs *epochs, void (*before)(void *context), void *context)
{
    const uint64_t now = atomic_load(&epochs->now);
    uint64_t oldest;

    if (!epochs->oldest)
        return 0;
    oldest = oldest_of(epochs);
    /* What `before` retires is looked at the next time: somebody may have come in, and found it, since. */
    if (oldest > now)
        oldest = now;
    if (epochs->oldest->epoch < oldest)
        before(context);
    while (epochs->oldest && epochs->oldest->epoch < oldest) {
        struct wse_retired *retired = epochs->oldest;

        epochs->oldest = retired->next;
        if (!epochs->oldest)
            epochs->newest = NULL;
        retired->end(retired);
    }
    return epochs->oldest != NULL;
}
