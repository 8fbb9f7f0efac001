/* SPDX-License-Identifier: Apache-2.0 */
#include "wait.h"

#include <sched.h>

#include "engine.h"

void wse_wait_start(struct wse_wait *wait, int epoll, unsigned microseconds)
{
    *wait = (struct wse_wait){.epoll = epoll, .spin = microseconds * UINT64_C(1000)};
}

/*
 * To wake a thread on another processor takes tens of microseconds where that sleeps or is virtual, several times as
 * long as a packet's whole way through a thread. So where packets come in quick steps it is cheaper to look for the
 * next. Whoever else has work gets the processor first, by sched_yield.
 */
static int spin(struct wse_wait *wait, struct epoll_event *events, int most, uint64_t began)
{
    do {
        const int ready = epoll_wait(wait->epoll, events, most, 0);

        if (ready)
            return ready;
        sched_yield();
    } while (wse_nanoseconds() - began < wait->spin);
    return 0;
}

int wse_wait(struct wse_wait *wait, struct epoll_event *events, int most, int milliseconds, int awake)
{
    const uint64_t began = wse_nanoseconds();
    int ready;

    if (awake && wait->brisk && wait->spin) {
        ready = spin(wait, events, most, began);
        if (ready)
            return ready;
    }
    ready = epoll_wait(wait->epoll, events, most, milliseconds);
    wait->brisk = wse_nanoseconds() - began < WSE_BRISK * UINT64_C(1000000);
    return ready;
}
