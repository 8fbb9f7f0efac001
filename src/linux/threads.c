/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "../backend.h"
#include "threads.h"

unsigned wsasec_backend_processors(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set)) /* more processors than the set has room for */
        return WSASEC_THREADS_MAX;
    return (unsigned)CPU_COUNT(&set);
}

int wsasec_thread_start(pthread_t *thread, void *(*work)(void *), void *argument)
{
    sigset_t all;
    sigset_t before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread inherits it */
    error = pthread_create(thread, NULL, work, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

void wsasec_condition_make(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

int wsasec_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t until)
{
    const struct timespec time = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};

    return pthread_cond_timedwait(condition, lock, &time);
}

struct worker {
    pthread_t thread;
    void (*work)(void *, unsigned);
    void *context;
    unsigned number;
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;

    worker->work(worker->context, worker->number);
    return NULL;
}

void wsasec_backend_parallel(unsigned count, void (*work)(void *, unsigned), void *context)
{
    struct worker workers[WSASEC_THREADS_MAX];
    unsigned started = 1;

    for (unsigned i = 1; i < count && i < WSASEC_THREADS_MAX; i++) {
        struct worker *worker = &workers[started];

        worker->work = work;
        worker->context = context;
        worker->number = i;
        if (wsasec_thread_start(&worker->thread, worker_main, worker))
            break;
        started++;
    }
    work(context, 0);
    for (unsigned i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
}
