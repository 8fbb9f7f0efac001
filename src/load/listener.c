/* SPDX-License-Identifier: Apache-2.0 */
/* A listener's life: start, look, wait, stop, and what becomes of it in a child. */
#include "listener.h"

#include <stdlib.h>
#include <string.h>

#include "../core/errors.h"

enum { STREAM_READ = 128 << 10, ECHO_READ = 64 << 10, LARGEST_READ = 16 << 20 };

static void close_connection(int32_t fd, struct wsasec_connection *connection)
{
    wsasec_close(fd);
    free(connection->pending);
    connection->pending = NULL;
    atomic_store_explicit(&connection->open, 0, memory_order_release);
}

void wsasec_listener_close(wsasec_listener *listener, void (*close_one)(int32_t fd, struct wsasec_connection *connection))
{
    wsasec_polls_close(listener->polls);
    listener->polls = NULL;
    wsasec_connections_each(listener->connections, close_one);
}

static int32_t check_socket(const wsasec_listener *listener, wsasec_status *status)
{
    const struct wsasec_acceptor *acceptor = &listener->workers[0].acceptor;
    struct wsasec_facts facts;

    if (acceptor->type == WSASEC_TYPE_OTHER)
        return wsasec_fail(status, WSASEC_STEP_KIND, WSASEC_REASON_TYPE, 0);
    if (acceptor->secured && wsasec_listener_shares_port(listener->fd, acceptor->type))
        return wsasec_fail(status, WSASEC_STEP_EXCLUSIVE, WSASEC_REASON_PORT_SHARED, 0);
    if (!acceptor->secured && listener->spec.flags & WSASEC_LISTENER_SECURED)
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_NOT_SECURED, 0);
    if (acceptor->type == WSASEC_TYPE_STREAM)
        return wsasec_listener_listens(listener->fd)
                   ? 0
                   : wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_NOT_LISTENING, 0);
    if (wsasec_backend_inspect(listener->fd, &facts, status))
        return status->code;
    if (!facts.bound || listener->spec.mode == WSASEC_LISTENER_DISCARD)
        return wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_SPECIFICATION, 0);
    return 0;
}

static int32_t check_spec(const wsasec_listener_spec *spec, wsasec_status *status)
{
    if (spec->socket < 0 || spec->socket > INT32_MAX)
        return wsasec_fail(status, WSASEC_STEP_DESCRIPTOR, WSASEC_REASON_NOT_A_SOCKET, wsasec_own_errors.no_socket);
    if (spec->mode >= WSASEC_LISTENER_MODES || !spec->threads || spec->threads > WSASEC_LISTENER_THREADS_MAX ||
        spec->flags & ~(WSASEC_LISTENER_SECURED | WSASEC_LISTENER_NODELAY) || spec->read_size > LARGEST_READ ||
        (spec->mode == WSASEC_LISTENER_DISCARD) != (spec->discard_after != 0))
        return wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_SPECIFICATION, 0);
    return 0;
}

static int32_t make_worker(wsasec_listener *listener, struct wsasec_worker *worker, wsasec_status *status)
{
    if (listener->stream)
        worker->buffer = malloc(listener->spec.read_size);
    else
        worker->datagrams = wsasec_datagrams_new();
    if (!worker->buffer && !worker->datagrams)
        return wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_NO_MEMORY, wsasec_own_errors.no_memory);
    worker->poll = wsasec_polls_at(listener->polls, (unsigned)(worker - listener->workers));
    return 0;
}

static int32_t make(wsasec_listener *listener, const wsasec_listener_spec *spec, wsasec_status *status)
{
    int32_t code = 0;
    int error;

    listener->spec = *spec;
    listener->fd = (int32_t)spec->socket;
    listener->connections = wsasec_connections_new();
    listener->workers = wsasec_aligned_new(_Alignof(struct wsasec_worker), spec->threads * sizeof *listener->workers);
    if (listener->workers)
        memset(listener->workers, 0, spec->threads * sizeof *listener->workers);
    if (!listener->connections || !listener->workers)
        return wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_NO_MEMORY, wsasec_own_errors.no_memory);
    for (unsigned i = 0; i < spec->threads; i++)
        listener->workers[i].listener = listener;
    for (unsigned i = 0; i < spec->threads && !code; i++)
        code = wsasec_acceptor_prepare(&listener->workers[i].acceptor, spec->socket, status);
    if (!code)
        code = check_socket(listener, status);
    if (code)
        return code;
    listener->stream = listener->workers[0].acceptor.type == WSASEC_TYPE_STREAM;
    if (!spec->read_size)
        listener->spec.read_size = spec->mode == WSASEC_LISTENER_ECHO ? ECHO_READ : STREAM_READ;
    listener->polls = wsasec_polls_open(spec->threads, 1, &error);
    if (!listener->polls)
        return wsasec_backend_fail(WSASEC_STEP_LISTENER, error, status);
    for (unsigned i = 0; i < spec->threads && !code; i++)
        code = make_worker(listener, &listener->workers[i], status);
    return code;
}

static void join(wsasec_listener *listener)
{
    atomic_store_explicit(&listener->stopping, 1, memory_order_release);
    wsasec_polls_wake(listener->polls);
    while (listener->running)
        wsasec_thread_join(&listener->workers[--listener->running].thread);
}

static void release(wsasec_listener *listener)
{
    for (unsigned i = 0; listener->workers && i < listener->spec.threads; i++) {
        free(listener->workers[i].buffer);
        free(listener->workers[i].datagrams);
    }
    wsasec_aligned_free(listener->workers);
    wsasec_connections_free(listener->connections);
    /* In a child the gates may be locked, and waited at, by threads that are not there. */
    if (!listener->gone) {
        wsasec_gate_free(listener->ending);
        wsasec_gate_free(listener->gate);
    }
    free(listener);
}

static int start_threads(wsasec_listener *listener)
{
    int error = 0;

    while (!error && listener->running < listener->spec.threads) {
        struct wsasec_worker *worker = &listener->workers[listener->running];

        error = wsasec_listener_watch(worker);
        if (!error)
            error = wsasec_thread_run(&worker->thread, wsasec_worker_main, worker);
        if (!error)
            listener->running++;
    }
    return error;
}

static wsasec_listener *allocate(wsasec_status *status)
{
    wsasec_listener *listener = calloc(1, sizeof *listener);

    if (listener) {
        listener->gate = wsasec_gate_new();
        listener->ending = wsasec_gate_new();
        if (listener->gate && listener->ending)
            return listener;
        wsasec_gate_free(listener->ending);
        wsasec_gate_free(listener->gate);
        free(listener);
    }
    wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_NO_MEMORY, wsasec_own_errors.no_memory);
    return NULL;
}

/* The socket stays the caller's. */
static void take_back(wsasec_listener *listener)
{
    if (listener->connections)
        wsasec_listener_close(listener, close_connection);
    release(listener);
}

wsasec_listener *wsasec_listener_start(const wsasec_listener_spec *spec, wsasec_status *status)
{
    wsasec_listener *listener;
    wsasec_status own;
    int before = 0;
    int error;

    if (!status)
        status = &own;
    memset(status, 0, sizeof *status);
    if (check_spec(spec, status))
        return NULL;
    listener = allocate(status);
    if (!listener)
        return NULL;
    if (make(listener, spec, status)) {
        take_back(listener);
        return NULL;
    }
    wsasec_family_enlist(listener);
    error = wsasec_listener_take(listener->fd, listener->workers[0].acceptor.type, &before);
    if (!error) {
        error = start_threads(listener);
        if (error) {
            join(listener);
            wsasec_listener_give_back(listener->fd, before);
        }
    }
    if (error) {
        wsasec_family_lock();
        wsasec_family_strike_out(listener);
        wsasec_family_unlock();
        take_back(listener);
        wsasec_backend_fail(WSASEC_STEP_LISTENER, error, status);
        return NULL;
    }
    return listener;
}

static void look_at_drops(wsasec_listener *listener)
{
    uint32_t drops = 0;

    if (listener->stream || listener->stopped || listener->gone || !wsasec_listener_drops(listener->fd, &drops))
        return;
    listener->kernel_drops += (uint32_t)(drops - (uint32_t)listener->kernel_drops);
}

void wsasec_listener_look(wsasec_listener *listener, wsasec_listener_counts *counts)
{
    memset(counts, 0, sizeof *counts);
    /* The other way round than they are counted: never more resets than closed, nor closed than accepted. */
    for (unsigned i = 0; i < listener->spec.threads; i++) {
        const struct wsasec_tally *tally = &listener->workers[i].tally;

        counts->resets += wsasec_counted(&tally->resets);
    }
    for (unsigned i = 0; i < listener->spec.threads; i++)
        counts->closed += wsasec_counted(&listener->workers[i].tally.closed);
    for (unsigned i = 0; i < listener->spec.threads; i++) {
        const struct wsasec_tally *tally = &listener->workers[i].tally;

        counts->accepted += atomic_load(&tally->accepted);
        counts->refused += wsasec_counted(&tally->refused);
        counts->accept_errors += wsasec_counted(&tally->accept_errors);
        counts->received_bytes += wsasec_counted(&tally->received_bytes);
        counts->sent_bytes += wsasec_counted(&tally->sent_bytes);
        counts->received_datagrams += wsasec_counted(&tally->received_datagrams);
        counts->sent_datagrams += wsasec_counted(&tally->sent_datagrams);
        counts->unsent_datagrams += wsasec_counted(&tally->unsent_datagrams);
        counts->receive_errors += wsasec_counted(&tally->receive_errors);
    }
    if (listener->gone)
        return;
    wsasec_gate_lock(listener->gate);
    look_at_drops(listener);
    counts->dropped_datagrams = listener->kernel_drops;
    wsasec_gate_unlock(listener->gate);
}

static uint64_t accepted(const wsasec_listener *listener)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < listener->spec.threads; i++)
        sum += atomic_load(&listener->workers[i].tally.accepted);
    return sum;
}

int wsasec_listener_wait_accepted(wsasec_listener *listener, uint64_t connections, uint64_t nanoseconds)
{
    const uint64_t end = wsasec_after(wsasec_backend_clock(), nanoseconds);
    int enough;

    if (listener->gone)
        return 0;
    /* First the flag, then the count; the threads do it the other way round, so one of the two sees the other. */
    atomic_fetch_add(&listener->waiting, 1);
    wsasec_gate_lock(listener->gate);
    while (!(enough = accepted(listener) >= connections) && !listener->stopped &&
           !wsasec_gate_wait(listener->gate, end))
        continue;
    wsasec_gate_unlock(listener->gate);
    atomic_fetch_sub(&listener->waiting, 1);
    return enough;
}

void wsasec_listener_stop(wsasec_listener *listener)
{
    if (listener->gone)
        return;
    wsasec_gate_lock(listener->ending);
    if (listener->stopped) {
        wsasec_gate_unlock(listener->ending);
        return;
    }
    join(listener);
    /* Not while the process forks: the child closes the same numbers. */
    wsasec_family_lock();
    wsasec_gate_lock(listener->gate);
    look_at_drops(listener);
    listener->stopped = 1;
    wsasec_family_strike_out(listener);
    wsasec_listener_close(listener, close_connection);
    wsasec_close(listener->fd);
    wsasec_gate_call(listener->gate);
    wsasec_gate_unlock(listener->gate);
    wsasec_family_unlock();
    wsasec_gate_unlock(listener->ending);
}

void wsasec_listener_free(wsasec_listener *listener)
{
    if (!listener)
        return;
    wsasec_listener_stop(listener);
    release(listener);
}
