/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the loops, their locks, and memory for them. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../load/system.h"
#include "../threads.h"

struct wsasec_gate {
    pthread_mutex_t lock;
    pthread_cond_t called;
};

struct wsasec_gate *wsasec_gate_new(void)
{
    struct wsasec_gate *gate = malloc(sizeof *gate);

    if (!gate)
        return NULL;
    pthread_mutex_init(&gate->lock, NULL);
    wsasec_condition_make(&gate->called);
    return gate;
}

void wsasec_gate_free(struct wsasec_gate *gate)
{
    if (!gate)
        return;
    pthread_cond_destroy(&gate->called);
    pthread_mutex_destroy(&gate->lock);
    free(gate);
}

void wsasec_gate_lock(struct wsasec_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
}

void wsasec_gate_unlock(struct wsasec_gate *gate)
{
    pthread_mutex_unlock(&gate->lock);
}

void wsasec_gate_call(struct wsasec_gate *gate)
{
    pthread_cond_broadcast(&gate->called);
}

int wsasec_gate_wait(struct wsasec_gate *gate, uint64_t until)
{
    return wsasec_condition_wait(&gate->called, &gate->lock, until) != 0;
}

int wsasec_thread_run(struct wsasec_thread *thread, void *(*work)(void *), void *argument)
{
    pthread_t id;
    const int error = wsasec_thread_start(&id, work, argument);

    if (!error)
        thread->id = (uintptr_t)id;
    return error;
}

void wsasec_thread_join(struct wsasec_thread *thread)
{
    pthread_join((pthread_t)thread->id, NULL);
}

uint64_t wsasec_process(void)
{
    return (uint64_t)getpid();
}

void *wsasec_aligned_new(size_t alignment, size_t size)
{
    return aligned_alloc(alignment, size);
}

void wsasec_aligned_free(void *memory)
{
    free(memory);
}
