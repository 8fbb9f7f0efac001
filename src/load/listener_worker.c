/* SPDX-License-Identifier: Apache-2.0 */
/* A thread of a listener: what it is told of, and what it does for each event. It waits for nothing else. */
#include "listener.h"

enum { EVENTS = 128 };

static const uint64_t MILLISECOND = UINT64_C(1000000);

int wsasec_listener_watch(struct wsasec_worker *worker)
{
    /* A waiting connection wakes one thread, not all. */
    return wsasec_poll_add(worker->poll, worker->listener->fd, WSASEC_EVENT_LISTENER,
                           WSASEC_POLL_IN | WSASEC_POLL_EXCLUSIVE);
}

uint64_t wsasec_listener_patience(struct wsasec_worker *worker)
{
    uint64_t now;

    if (!worker->resume)
        return UINT64_MAX;
    now = wsasec_backend_clock();
    if (now >= worker->resume) /* no memory even for this: the same again later */
        worker->resume = wsasec_listener_watch(worker) ? now + WSASEC_LISTENER_BACK_OFF : 0;
    return worker->resume ? ((worker->resume - now) / MILLISECOND + 1) * MILLISECOND : UINT64_MAX;
}

static void serve(struct wsasec_worker *worker, const struct wsasec_event *event)
{
    if (event->key == WSASEC_POLL_WAKE)
        return;
    if (event->key != WSASEC_EVENT_LISTENER)
        wsasec_connection_serve(worker, (int32_t)event->key);
    else if (worker->listener->stream)
        wsasec_accept_some(worker);
    else
        wsasec_datagrams_serve(worker);
}

void *wsasec_worker_main(void *argument)
{
    struct wsasec_worker *worker = argument;
    struct wsasec_event events[EVENTS];

    while (!atomic_load_explicit(&worker->listener->stopping, memory_order_acquire)) {
        const int count = wsasec_listener_wait(worker, events, EVENTS);

        for (int i = 0; i < count; i++)
            serve(worker, &events[i]);
    }
    return NULL;
}
