/* SPDX-License-Identifier: Apache-2.0 */
/* Which sockets may be served: the ring, those held back for a time, and what is told of them. */
#include "traffic.h"

_Static_assert((uint32_t)WSASEC_POLL_WAKE == TRAFFIC_NOBODY, "the event that wakes is of no socket");

static const uint64_t pauses[TRAFFIC_BACKOFFS] = {1000000, 2000000, 4000000, 8000000, 16000000, 32000000, 50000000};

void traffic_watch(struct traffic_thread *thread, uint32_t slot, uint32_t events)
{
    const int error = wsasec_poll_change(thread->poll, thread->sockets[slot].fd, slot, events | WSASEC_POLL_EDGE);

    if (error)
        traffic_fail(thread, slot, error);
}

void traffic_no_more(struct traffic_thread *thread, uint32_t slot, int error)
{
    const enum wsasec_trouble trouble = wsasec_trouble_of(error);

    if (trouble == WSASEC_TROUBLE_WOULD_BLOCK || trouble == WSASEC_TROUBLE_SIGNAL)
        traffic_watch_again(thread, slot, WSASEC_POLL_IN);
    else
        traffic_fail(thread, slot, error);
}

void traffic_queue(struct traffic_thread *thread, uint32_t slot)
{
    struct traffic_socket *sock = &thread->sockets[slot];
    uint32_t tail;

    if (sock->queued || sock->held || sock->error)
        return;
    tail = thread->head + thread->queued;
    if (tail >= thread->count)
        tail -= thread->count;
    thread->ring[tail] = slot;
    thread->queued++;
    sock->queued = 1;
}

uint32_t traffic_next(struct traffic_thread *thread)
{
    while (thread->queued) {
        const uint32_t slot = thread->ring[thread->head];

        if (++thread->head == thread->count)
            thread->head = 0;
        thread->queued--;
        thread->sockets[slot].queued = 0;
        if (!thread->sockets[slot].error)
            return slot;
    }
    return TRAFFIC_NOBODY;
}

void traffic_hold_back(struct traffic_thread *thread, uint32_t slot)
{
    struct traffic_socket *sock = &thread->sockets[slot];
    struct traffic_list *list = &thread->held[sock->backoff];

    sock->held = 1;
    sock->due = wsasec_backend_clock() + pauses[sock->backoff];
    sock->behind = TRAFFIC_NOBODY;
    if (list->first == TRAFFIC_NOBODY)
        list->first = slot;
    else
        thread->sockets[list->last].behind = slot;
    list->last = slot;
    if (sock->backoff < TRAFFIC_BACKOFFS - 1)
        sock->backoff++;
}

static void release(struct traffic_thread *thread)
{
    for (unsigned i = 0; i < TRAFFIC_BACKOFFS; i++) {
        struct traffic_list *list = &thread->held[i];

        while (list->first != TRAFFIC_NOBODY && thread->sockets[list->first].due <= thread->now) {
            const uint32_t slot = list->first;

            list->first = thread->sockets[slot].behind;
            thread->sockets[slot].held = 0;
            traffic_queue(thread, slot);
        }
    }
}

int traffic_wait(struct traffic_thread *thread, uint64_t until)
{
    int found;

    if (thread->sweep < until)
        until = thread->sweep;
    for (unsigned i = 0; i < TRAFFIC_BACKOFFS; i++) {
        const uint32_t first = thread->held[i].first;

        if (first != TRAFFIC_NOBODY && thread->sockets[first].due < until)
            until = thread->sockets[first].due;
    }
    found = wsasec_poll_wait(thread->poll, thread->events, TRAFFIC_EVENTS, until > thread->now ? until - thread->now : 0);
    thread->now = wsasec_backend_clock();
    release(thread);
    return found > 0 ? found : 0;
}
