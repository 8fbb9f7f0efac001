/* SPDX-License-Identifier: Apache-2.0 */
/* Taking connections and dealing them to the threads in turn, so that all have as many. */
#include "listener.h"
#include "wsasec_accept.h"

enum { AT_ONCE = 64 }; /* connections, before the others are served */

static void give_up(struct wsasec_worker *worker, int32_t fd)
{
    wsasec_count(&worker->tally.accept_errors, 1);
    if (worker->acceptor.secured)
        wsasec_backend_abandon(fd);
    else
        wsasec_close(fd);
}

static void deal(struct wsasec_worker *worker, int32_t fd)
{
    wsasec_listener *listener = worker->listener;
    struct wsasec_connection *connection = wsasec_connection_make(listener->connections, fd);
    const unsigned turn = atomic_fetch_add_explicit(&listener->deal, 1, memory_order_relaxed);

    if (!connection) {
        give_up(worker, fd);
        return;
    }
    if (listener->spec.flags & WSASEC_LISTENER_NODELAY)
        wsasec_send_at_once(fd);
    (void)atomic_load_explicit(&connection->open, memory_order_acquire); /* what the one before left is seen */
    connection->received = 0;
    connection->pending = NULL;
    atomic_store_explicit(&connection->open, 1, memory_order_release);
    /* In one order with the look at who waits: see wsasec_listener_wait_accepted(). */
    atomic_store(&worker->tally.accepted, atomic_load_explicit(&worker->tally.accepted, memory_order_relaxed) + 1);
    /* With this it is the other thread's, which may have closed it before this one goes on. */
    if (wsasec_poll_add(listener->workers[turn % listener->spec.threads].poll, fd, (uint64_t)fd, WSASEC_POLL_IN)) {
        atomic_store_explicit(&connection->open, 0, memory_order_release);
        wsasec_count(&worker->tally.closed, 1);
        give_up(worker, fd);
    }
}

/* The connection stays in the queue, and would be told of at once again. */
static void pause_accepting(struct wsasec_worker *worker)
{
    wsasec_poll_remove(worker->poll, worker->listener->fd);
    worker->resume = wsasec_backend_clock() + WSASEC_LISTENER_BACK_OFF;
}

static void tell(wsasec_listener *listener)
{
    if (!atomic_load(&listener->waiting))
        return;
    wsasec_gate_lock(listener->gate);
    wsasec_gate_call(listener->gate);
    wsasec_gate_unlock(listener->gate);
}

/* Returns whether to go on. */
static int after_error(struct wsasec_worker *worker, const wsasec_status *status)
{
    if (status->step != WSASEC_STEP_ACCEPT) {
        wsasec_count(&worker->tally.refused, 1);
        return 1;
    }
    if (status->reason == WSASEC_REASON_WOULD_BLOCK)
        return 0;
    if (wsasec_trouble_of(status->os_error) == WSASEC_TROUBLE_SIGNAL)
        return 1;
    wsasec_count(&worker->tally.accept_errors, 1);
    if (status->reason == WSASEC_REASON_CONNECTION_GONE)
        return 1;
    pause_accepting(worker);
    return 0;
}

void wsasec_accept_some(struct wsasec_worker *worker)
{
    wsasec_status status;
    wsasec_socket fd = -1;
    int go_on = 1;

    for (int i = 0; i < AT_ONCE && go_on; i++) {
        if (wsasec_acceptor_next(&worker->acceptor, WSASEC_ACCEPT_NONBLOCKING | WSASEC_ACCEPT_OWN, &fd, NULL, NULL,
                                 &status))
            go_on = after_error(worker, &status);
        else
            deal(worker, (int32_t)fd);
    }
    tell(worker->listener);
}
