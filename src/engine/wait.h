/* SPDX-License-Identifier: Apache-2.0 */
/* How a worker waits for its descriptors: awake for a while, then asleep. */
#ifndef WSASEC_ENGINE_WAIT_H
#define WSASEC_ENGINE_WAIT_H

#include <stdint.h>
#include <sys/epoll.h>

enum {
    WSE_SPIN = 200, /* microseconds, by default */
    WSE_SPIN_MAX = 1000,
    WSE_BRISK = 1 /* milliseconds: a shorter wait is brisk */
};

struct wse_wait {
    int epoll;
    uint64_t spin; /* nanoseconds that it stays awake; 0: it sleeps at once */
    int brisk;     /* the last wait was short */
};

void wse_wait_start(struct wse_wait *wait, int epoll, unsigned microseconds);

/* As epoll_wait, milliseconds: -1 for without end. awake: it may stay so for a while. */
int wse_wait(struct wse_wait *wait, struct epoll_event *events, int most, int milliseconds, int awake);

#endif
