/* SPDX-License-Identifier: Apache-2.0 */
/* How a listener's thread waits: where it pays it looks a little longer before it sleeps. */
/* To wake a thread that sleeps is its peer's work: an interrupt between processors, in a virtual machine an exit
   from it, which can cost a sender as much as copying what it sends. A thread that has just had something to do
   looks again for a while instead, and gives that up for longer and longer while it finds nothing. */
#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>

#include "listener.h"

enum {
    LONGER = 50000, /* nanoseconds; about what going to sleep and being woken take both sides */
    RESTS = 64      /* sleeps without looking longer, at most, while that finds nothing */
};

/* Milliseconds until accepting goes on again; -1: it does. */
static int until_resumed(struct wsasec_worker *worker)
{
    const uint64_t now = worker->resume ? wsasec_backend_clock() : 0;

    if (!worker->resume)
        return -1;
    if (now < worker->resume)
        return (int)((worker->resume - now) / 1000000 + 1);
    /* No memory even for this: the same again later. */
    worker->resume = wsasec_listener_watch(worker) ? now + UINT64_C(20000000) : 0;
    return worker->resume ? 20 : -1;
}

/* Looks without sleeping, others that want this processor first. */
static int look_longer(struct wsasec_worker *worker, struct epoll_event *events, int room)
{
    const uint64_t until = wsasec_backend_clock() + LONGER;
    int count;

    do {
        sched_yield();
        count = epoll_wait(worker->epoll, events, room, 0);
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

int wsasec_listener_wait(struct wsasec_worker *worker, struct epoll_event *events, int room)
{
    int count = 0;

    if (worker->listener->processors > 1) {
        if (worker->rested >= worker->rests)
            count = look_longer(worker, events, room);
        else
            worker->rested++;
    }
    return count ? count : epoll_wait(worker->epoll, events, room, until_resumed(worker));
}
