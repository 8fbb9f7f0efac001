/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of this library, and waiting for them. */
#ifndef WSASEC_LINUX_THREADS_H
#define WSASEC_LINUX_THREADS_H

#include <pthread.h>
#include <stdint.h>

/* Starts a thread that hears no signals: they are for the program's own. Returns 0 or an errno. */
int wsasec_thread_start(pthread_t *thread, void *(*work)(void *), void *argument);

/* Makes a condition that is waited for by wsasec_backend_clock(). */
void wsasec_condition_make(pthread_cond_t *condition);

/* Waits until it is signalled, or until a time of that clock. Returns 0, or an errno: ETIMEDOUT. */
int wsasec_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t until);

#endif
