/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "inbound.h"
#include "log.h"
#include "outbound.h"

enum {
    EVENTS = 32,
    EACH_SECOND = 1000,
    PUT_OFF = 16 /* times that bulk waits for the rest: of a flow that only now sends much, the rest is older */
};

void wse_worker_note(struct wse_worker *worker, const struct wse_note *note)
{
    struct wse_notes *notes = &worker->notes;
    const uint32_t written = atomic_load_explicit(&notes->written, memory_order_relaxed);
    const uint64_t one = 1;

    if (written - atomic_load_explicit(&notes->read, memory_order_acquire) == WSE_NOTES) {
        atomic_fetch_add(&notes->lost, 1);
    } else {
        notes->notes[written % WSE_NOTES] = *note;
        atomic_store_explicit(&notes->written, written + 1, memory_order_release);
    }
    /* It fails only where the counter is at its top: then the control thread is on its way. */
    if (write(worker->engine->events, &one, sizeof one) < 0)
        return;
}

int wse_worker_take(struct wse_worker *worker, struct wse_note *note)
{
    struct wse_notes *notes = &worker->notes;
    const uint32_t read = atomic_load_explicit(&notes->read, memory_order_relaxed);

    if (read == atomic_load_explicit(&notes->written, memory_order_acquire))
        return 0;
    *note = notes->notes[read % WSE_NOTES];
    atomic_store_explicit(&notes->read, read + 1, memory_order_release);
    return 1;
}

void wse_worker_expire(struct wse_worker *worker, struct wse_association *association, uint32_t what)
{
    const struct wse_note note = {
        .type = WSE_EVENT_EXPIRE, .hard = what == WSE_TOLD_HARD, .association = association};

    wse_worker_note(worker, &note);
}

/* Without real time for sleeping, the ordinary thread sleeps itself; else just long enough to see that it might. */
static int wait_for(struct wse_worker *worker, struct epoll_event *events)
{
    /* What waits for an association ages. */
    int milliseconds =
        worker->direction == WSE_OUTBOUND && wse_outbound_waits(worker->outbound) ? EACH_SECOND : -1;

    if (worker->turn == WSE_ORDINARY && worker->turns.both)
        milliseconds = WSE_BRISK;
    return wse_wait(&worker->wait, events, EVENTS, milliseconds, worker->turn == WSE_ORDINARY);
}

/* 0: nothing is left of what goes before bulk. */
static int serve(struct wse_worker *worker, const struct epoll_event *event)
{
    const uint32_t number = (uint32_t)event->data.u64;
    uint64_t times;

    switch (event->data.u64 >> 32) {
    case WSE_SOURCE_WAKE:
        if (read(worker->wake, &times, sizeof times) < 0)
            break; /* another look at it does no harm */
        break;
    case WSE_SOURCE_LINK:
        return wse_outbound_serve(worker->outbound, number);
    case WSE_SOURCE_BULK:
        wse_outbound_serve_bulk(worker->outbound, number);
        break;
    case WSE_SOURCE_PORT:
        if (event->events & EPOLLERR)
            wse_inbound_errors(worker->inbound, number);
        wse_inbound_serve(worker->inbound, number);
        break;
    }
    return 0;
}

static int is_bulk(const struct epoll_event *event)
{
    return event->data.u64 >> 32 == WSE_SOURCE_BULK;
}

void wse_worker_serve(struct wse_worker *worker)
{
    struct epoll_event events[EVENTS];
    const int ready = wait_for(worker, events);
    int more = 0;

    if (ready < 0 && errno != EINTR) {
        wse_log("epoll_wait: error %d", errno);
        atomic_store(&worker->stop, 1);
        return;
    }
    worker->now = wse_milliseconds();
    wse_enter(&worker->engine->epochs, worker->reader);
    for (int i = 0; i < ready; i++)
        if (!is_bulk(&events[i]))
            more |= serve(worker, &events[i]);
    worker->put_off = more ? (worker->put_off + 1) % PUT_OFF : 0;
    for (int i = 0; i < ready && !worker->put_off; i++)
        if (is_bulk(&events[i]))
            serve(worker, &events[i]);
    if (worker->direction == WSE_OUTBOUND)
        wse_outbound_tend(worker->outbound);
    wse_leave(worker->reader);
    worker->turn = wse_turns_next(&worker->turns, worker->wait.brisk, worker->now);
}
