/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a listener's thread waits: where it pays it looks a little longer before it sleeps. To wake a thread that sleeps
 * is its peer's work: an interrupt between processors, in a virtual machine an exit from it, which can cost a sender as
 * much as copying what it sends. A thread that has just had something to do looks again for a while instead, and gives
 * that up for longer and longer while it finds nothing.
 */
#include <sched.h>

#include "../../backend.h"
#include "../../load/listener.h"

enum {
    LONGER = 50000, /* nanoseconds; about what going to sleep and being woken take both sides */
    RESTS = 64      /* sleeps without looking longer, at most, while that finds nothing */
};

/* Asked for once: whether a sender can run while this thread looks. */
static int has_others(void)
{
    static atomic_uint processors;
    unsigned count = atomic_load_explicit(&processors, memory_order_relaxed);

    if (!count) {
        count = wsasec_backend_processors();
        atomic_store_explicit(&processors, count, memory_order_relaxed);
    }
    return count > 1;
}

/* Looks without sleeping, others that want this processor first. */
static int look_longer(struct wsasec_worker *worker, struct wsasec_event *events, int room)
{
    const uint64_t until = wsasec_backend_clock() + LONGER;
    int count;

    do {
        sched_yield();
        count = wsasec_poll_wait(worker->poll, events, room, 0);
    } while (!count && wsasec_backend_clock() < until);
    if (count > 0)
        worker->rests = 0;
    else
        worker->rests = worker->rests ? 2 * worker->rests : 1;
    if (worker->rests > RESTS)
        worker->rests = RESTS;
    worker->rested = 0;
    return count;
}

int wsasec_listener_wait(struct wsasec_worker *worker, struct wsasec_event *events, int room)
{
    /* Asked for first: a thread that never sleeps is to accept again, too. */
    const uint64_t patience = wsasec_listener_patience(worker);
    int count = 0;

    if (has_others()) {
        if (worker->rested >= worker->rests)
            count = look_longer(worker, events, room);
        else
            worker->rested++;
    }
    return count ? count : wsasec_poll_wait(worker->poll, events, room, patience);
}
