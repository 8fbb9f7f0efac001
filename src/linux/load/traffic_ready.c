/* SPDX-License-Identifier: Apache-2.0 */
/* Which sockets may be served: the ring, those held back for a time, and what epoll tells. */
#include "traffic.h"

#include <errno.h>
#include <time.h>

static const uint64_t pauses[TRAFFIC_BACKOFFS] = {1000000, 2000000, 4000000, 8000000, 16000000, 32000000, 50000000};

void traffic_watch(struct traffic_thread *thread, uint32_t slot, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.u32 = slot};

    if (epoll_ctl(thread->epoll, EPOLL_CTL_MOD, thread->sockets[slot].fd, &event))
        traffic_fail(thread, slot, errno);
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
    struct timespec timeout = {0};
    int found;

    if (thread->sweep < until)
        until = thread->sweep;
    for (unsigned i = 0; i < TRAFFIC_BACKOFFS; i++) {
        const uint32_t first = thread->held[i].first;

        if (first != TRAFFIC_NOBODY && thread->sockets[first].due < until)
            until = thread->sockets[first].due;
    }
    if (until > thread->now) {
        timeout.tv_sec = (time_t)((until - thread->now) / TRAFFIC_SECOND);
        timeout.tv_nsec = (long)((until - thread->now) % TRAFFIC_SECOND);
    }
    found = epoll_pwait2(thread->epoll, thread->events, TRAFFIC_EVENTS, &timeout, NULL);
    thread->now = wsasec_backend_clock();
    release(thread);
    return found > 0 ? found : 0;
}
