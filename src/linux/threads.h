/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of this library. */
#ifndef WSASEC_LINUX_THREADS_H
#define WSASEC_LINUX_THREADS_H

#include <pthread.h>

/* Starts a thread that hears no signals: they are for the program's own. Returns 0 or an errno. */
int wsasec_thread_start(pthread_t *thread, void *(*work)(void *), void *argument);

#endif
