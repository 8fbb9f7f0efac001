/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "inbound.h"
#include "log.h"
#include "memory.h"
#include "outbound.h"

enum { EVENTS = 32, EACH_SECOND = 1000 };

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

static void *run(void *argument)
{
    struct wse_worker *worker = argument;
    struct epoll_event events[EVENTS];
    char name[16];
    int ready, i;

    snprintf(name, sizeof name, "wse-%s-%u", worker->direction == WSE_OUTBOUND ? "out" : "in", worker->index % 1000);
    pthread_setname_np(pthread_self(), name);
    sem_post(&worker->running);
    while (!atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
        /* What waits for an association ages. */
        ready = wse_wait(&worker->wait, events, EVENTS,
                         worker->direction == WSE_OUTBOUND && wse_outbound_waits(worker->outbound) ? EACH_SECOND : -1);
        if (ready < 0 && errno != EINTR) {
            wse_log("epoll_wait: error %d", errno);
            break;
        }
        worker->now = wse_milliseconds();
        wse_enter(&worker->engine->epochs, worker->reader);
        for (i = 0; i < ready; i++) {
            const uint32_t number = (uint32_t)events[i].data.u64;
            uint64_t times;

            switch (events[i].data.u64 >> 32) {
            case WSE_SOURCE_WAKE:
                if (read(worker->wake, &times, sizeof times) < 0)
                    break; /* another look at it does no harm */
                break;
            case WSE_SOURCE_LINK:
                wse_outbound_serve(worker->outbound, number);
                break;
            case WSE_SOURCE_PORT:
                if (events[i].events & EPOLLERR)
                    wse_inbound_errors(worker->inbound, number);
                wse_inbound_serve(worker->inbound, number);
                break;
            }
        }
        if (worker->direction == WSE_OUTBOUND)
            wse_outbound_tend(worker->outbound);
        wse_leave(worker->reader);
    }
    return NULL;
}

static int prepare(struct wse_worker *worker)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = wse_source_make(WSE_SOURCE_WAKE, 0)};

    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->epoll < 0 || worker->wake < 0 || epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->wake, &event))
        return -errno;
    wse_wait_start(&worker->wait, worker->epoll, worker->engine->spin);
    return worker->direction == WSE_OUTBOUND ? wse_outbound_make(&worker->outbound, worker)
                                             : wse_inbound_make(&worker->inbound, worker);
}

static int start(struct wse_worker *worker)
{
    sigset_t all, before;
    int error;

    /* Signals are the control thread's. */
    if (sem_init(&worker->running, 0, 0))
        return -errno;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    /* What a thread calls to begin with the filter of system calls does not allow, which may go up at any time. */
    if (!error)
        while (sem_wait(&worker->running) && errno == EINTR)
            continue;
    return -error;
}

int wse_workers_start(struct wse_engine *engine)
{
    int error = 0;

    for (unsigned i = 0; i < 2 * engine->threads && !error; i++) {
        struct wse_worker *worker = wse_pages(sizeof *worker);

        if (!worker)
            return -ENOMEM;
        worker->engine = engine;
        worker->reader = &engine->epochs.readers[i];
        worker->direction = i < engine->threads ? WSE_OUTBOUND : WSE_INBOUND;
        worker->index = i % engine->threads;
        error = prepare(worker);
        if (!error)
            error = start(worker);
        if (!error)
            engine->workers[i] = worker;
    }
    if (error)
        wse_workers_stop(engine);
    return error;
}

void wse_workers_wake(struct wse_engine *engine, enum wse_direction direction)
{
    const uint64_t one = 1;

    for (unsigned i = 0; i < 2 * engine->threads; i++)
        if (engine->workers[i] && engine->workers[i]->direction == direction &&
            write(engine->workers[i]->wake, &one, sizeof one) < 0)
            continue; /* it was woken 2^64 - 2 times and is on its way */
}

void wse_workers_stop(struct wse_engine *engine)
{
    for (unsigned i = 0; i < 2 * engine->threads; i++)
        if (engine->workers[i])
            atomic_store(&engine->workers[i]->stop, 1);
    wse_workers_wake(engine, WSE_OUTBOUND);
    wse_workers_wake(engine, WSE_INBOUND);
    for (unsigned i = 0; i < 2 * engine->threads; i++)
        if (engine->workers[i])
            pthread_join(engine->workers[i]->thread, NULL);
}
