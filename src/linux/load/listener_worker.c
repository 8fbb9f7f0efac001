/* SPDX-License-Identifier: Apache-2.0 */
/* A thread of a listener: its epoll, and what it does for each event. It waits for nothing else. */
#include <errno.h>
#include <sys/epoll.h>

#include "listener.h"

enum { EVENTS = 128 };

int wsasec_listener_watch(struct wsasec_worker *worker)
{
    /* A waiting connection wakes one thread, not all. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = WSASEC_EVENT_LISTENER};

    return epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->listener->fd, &event) ? -errno : 0;
}

static void serve(struct wsasec_worker *worker, const struct epoll_event *event)
{
    if (event->data.u64 == WSASEC_EVENT_WAKE)
        return;
    if (event->data.u64 != WSASEC_EVENT_LISTENER)
        wsasec_connection_serve(worker, (int)event->data.u64);
    else if (worker->listener->stream)
        wsasec_accept_some(worker);
    else
        wsasec_datagrams_serve(worker);
}

void *wsasec_worker_main(void *argument)
{
    struct wsasec_worker *worker = argument;
    struct epoll_event events[EVENTS];

    while (!atomic_load_explicit(&worker->listener->stopping, memory_order_acquire)) {
        const int count = wsasec_listener_wait(worker, events, EVENTS);

        for (int i = 0; i < count; i++)
            serve(worker, &events[i]);
    }
    return NULL;
}
