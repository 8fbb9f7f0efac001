/* SPDX-License-Identifier: Apache-2.0 */
/* The workers' threads: how they are started, take turns, and end. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "inbound.h"
#include "log.h"
#include "memory.h"
#include "outbound.h"
#include "worker.h"

static int is_stopped(struct wse_worker *worker)
{
    return atomic_load_explicit(&worker->stop, memory_order_relaxed);
}

static void leave_real_time(void)
{
    const struct sched_param none = {0};

    sched_setscheduler(0, SCHED_OTHER, &none);
}

/*
 * What has come in goes before what is to go out, as in a kernel: where a processor has both, packets would be made
 * for a peer that drops them, as it sends itself.
 */
static void leave_preference(const struct wse_engine *engine)
{
    errno = 0;
    if (engine->raised && nice(engine->raised) == -1 && errno)
        wse_log("a thread's nice value stays as it was: error %d", errno);
}

/* What a thread calls to begin with the filter of system calls does not allow, which goes up later. */
static void begin(const struct wse_hand *hand)
{
    const struct wse_worker *worker = hand->worker;
    char name[16];

    if (hand->which == WSE_ORDINARY)
        leave_real_time();
    if (worker->direction != WSE_INBOUND)
        leave_preference(worker->engine);
    snprintf(name, sizeof name, "wse-%s%s-%u", hand->which == WSE_REAL_TIME ? "rt-" : "",
             worker->direction == WSE_OUTBOUND ? "out" : "in", worker->index % 1000);
    pthread_setname_np(pthread_self(), name);
    sem_post(&hand->worker->running);
}

static void *run(void *argument)
{
    struct wse_hand *hand = argument;
    struct wse_worker *worker = hand->worker;

    begin(hand);
    while (!is_stopped(worker)) {
        if (sem_wait(&hand->turn))
            continue; /* a signal, as of a debugger */
        if (is_stopped(worker))
            break; /* it was posted for that, and the turn may be the other's */
        while (!is_stopped(worker) && worker->turn == hand->which)
            wse_worker_serve(worker);
        sem_post(&worker->hands[worker->turn].turn);
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

/* 0 or -errno. */
static int start_hand(struct wse_worker *worker, enum wse_turn which)
{
    struct wse_hand *hand = &worker->hands[which];
    const int error = pthread_create(&hand->thread, NULL, run, hand);

    if (error)
        return -error;
    hand->started = 1;
    while (sem_wait(&worker->running) && errno == EINTR)
        continue;
    return 0;
}

/* Whether this thread is of real time: then those that it starts are, too, until they say otherwise. */
static int is_real_time(void)
{
    return sched_getscheduler(0) == SCHED_RR;
}

/* 0 or -errno; then some of its threads may have been started. */
static int start(struct wse_worker *worker)
{
    sigset_t all, before;
    int error = 0;

    if (sem_init(&worker->running, 0, 0))
        return -errno;
    for (enum wse_turn which = 0; which < WSE_TURNS; which++) {
        worker->hands[which].worker = worker;
        worker->hands[which].which = which;
        if (sem_init(&worker->hands[which].turn, 0, which == worker->turn))
            return -errno;
    }
    worker->turns.both = is_real_time();
    /* Signals are the control thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (worker->turns.both)
        error = start_hand(worker, WSE_REAL_TIME);
    if (!error)
        error = start_hand(worker, WSE_ORDINARY);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
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
        if (error)
            break;
        engine->workers[i] = worker;
        error = start(worker);
    }
    leave_real_time();
    leave_preference(engine);
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
        for (enum wse_turn which = 0; engine->workers[i] && which < WSE_TURNS; which++) {
            struct wse_hand *hand = &engine->workers[i]->hands[which];

            if (!hand->started)
                continue;
            sem_post(&hand->turn);
            pthread_join(hand->thread, NULL);
        }
}
