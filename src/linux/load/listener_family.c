/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of listeners in a child that fork() made. */
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../load/listener.h"

static wsasec_listener *all;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static atomic_int forked; /* the process has, or is about to */

static void lock_for_fork(void)
{
    atomic_store(&forked, 1);
    pthread_mutex_lock(&all_lock);
}

static void unlock_after_fork(void)
{
    pthread_mutex_unlock(&all_lock);
}

/* Its thread may have been in the middle of anything: memory is left alone. */
static void close_copy(int32_t fd, struct wsasec_connection *connection)
{
    (void)connection;
    close(fd);
}

/*
 * In the child at once, while the numbers still mean what they meant: kept there, they would keep the port and the
 * connections from ending with the parent's.
 */
static void leave_child(void)
{
    for (wsasec_listener *listener = all; listener; listener = listener->next) {
        wsasec_listener_close(listener, close_copy);
        close(listener->fd);
        listener->gone = 1;
    }
    all = NULL;
    pthread_mutex_unlock(&all_lock);
}

static void set_up(void)
{
    pthread_atfork(lock_for_fork, unlock_after_fork, leave_child);
}

void wsasec_family_enlist(wsasec_listener *listener)
{
    pthread_once(&once, set_up);
    pthread_mutex_lock(&all_lock);
    listener->next = all;
    all = listener;
    pthread_mutex_unlock(&all_lock);
}

void wsasec_family_lock(void)
{
    pthread_mutex_lock(&all_lock);
}

void wsasec_family_strike_out(wsasec_listener *listener)
{
    wsasec_listener **link = &all;

    while (*link && *link != listener)
        link = &(*link)->next;
    if (*link)
        *link = listener->next;
}

void wsasec_family_unlock(void)
{
    pthread_mutex_unlock(&all_lock);
}

/* The child may have got the descriptor, but not that it is to close it. */
void wsasec_family_part(int32_t fd)
{
    if (atomic_load(&forked))
        (void)shutdown(fd, SHUT_RDWR);
}
