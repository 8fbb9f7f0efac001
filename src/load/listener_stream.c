/* SPDX-License-Identifier: Apache-2.0 */
/* What a listener does with a connection: sink, discard, echo. */
#include <stdlib.h>
#include <string.h>

#include "listener.h"

enum { READS = 4 }; /* from one connection, before the next has its turn */

static void end(struct wsasec_worker *worker, int32_t fd, struct wsasec_connection *connection, int error)
{
    /* Taken out by hand: a child of fork() may keep the socket alive. */
    wsasec_poll_remove(worker->poll, fd);
    free(connection->pending);
    connection->pending = NULL;
    wsasec_count(&worker->tally.closed, 1);
    if (error)
        wsasec_count(&worker->tally.resets, 1);
    wsasec_family_part(fd);
    atomic_store_explicit(&connection->open, 0, memory_order_release);
    wsasec_close(fd); /* from now on the descriptor and its place may be another thread's */
}

static int transient(ptrdiff_t error)
{
    const enum wsasec_trouble trouble = wsasec_trouble_of((int)-error);

    return trouble == WSASEC_TROUBLE_WOULD_BLOCK || trouble == WSASEC_TROUBLE_SIGNAL;
}

/* Reads into the thread's buffer. Returns the bytes; 0: nothing there; -1: the connection is closed now. */
static ptrdiff_t receive(struct wsasec_worker *worker, int32_t fd, struct wsasec_connection *connection)
{
    ptrdiff_t size = wsasec_receive(fd, worker->buffer, worker->listener->spec.read_size);

    if (size > 0) {
        connection->received += (uint64_t)size;
        wsasec_count(&worker->tally.received_bytes, (uint64_t)size);
        return size;
    }
    if (size < 0 && transient(size))
        return 0;
    end(worker, fd, connection, (int)-size);
    return -1;
}

/* Sends what it can. Returns the bytes; -1: the connection is closed now. */
static ptrdiff_t give_back(struct wsasec_worker *worker, int32_t fd, struct wsasec_connection *connection, const char *data,
                         size_t size)
{
    ptrdiff_t sent = wsasec_send(fd, data, size);

    if (sent >= 0) {
        wsasec_count(&worker->tally.sent_bytes, (uint64_t)sent);
        return sent;
    }
    if (transient(sent))
        return 0;
    end(worker, fd, connection, (int)-sent);
    return -1;
}

static void watch(struct wsasec_worker *worker, int32_t fd, struct wsasec_connection *connection, uint32_t events)
{
    const int error = wsasec_poll_change(worker->poll, fd, (uint64_t)fd, events);

    if (error)
        end(worker, fd, connection, error);
}

/* The peer takes no more for now: the rest is kept, and nothing is read until it is gone. */
static void keep(struct wsasec_worker *worker, int32_t fd, struct wsasec_connection *connection, const char *rest,
                 size_t size)
{
    connection->pending = malloc(size);
    if (!connection->pending) {
        end(worker, fd, connection, wsasec_own_errors.no_memory);
        return;
    }
    memcpy(connection->pending, rest, size);
    connection->pending_size = (uint32_t)size;
    connection->pending_sent = 0;
    watch(worker, fd, connection, WSASEC_POLL_OUT);
}

static void echo(struct wsasec_worker *worker, int32_t fd, struct wsasec_connection *connection)
{
    for (int i = 0; i < READS; i++) {
        const ptrdiff_t size = receive(worker, fd, connection);
        ptrdiff_t sent;

        if (size <= 0)
            return;
        sent = give_back(worker, fd, connection, worker->buffer, (size_t)size);
        if (sent < 0)
            return;
        if (sent < size) {
            keep(worker, fd, connection, worker->buffer + sent, (size_t)(size - sent));
            return;
        }
        if ((size_t)size < worker->listener->spec.read_size)
            return;
    }
}

static void give_back_pending(struct wsasec_worker *worker, int32_t fd, struct wsasec_connection *connection)
{
    const ptrdiff_t sent = give_back(worker, fd, connection, connection->pending + connection->pending_sent,
                                   connection->pending_size - connection->pending_sent);

    if (sent < 0)
        return;
    connection->pending_sent += (uint32_t)sent;
    if (connection->pending_sent < connection->pending_size)
        return;
    free(connection->pending);
    connection->pending = NULL;
    watch(worker, fd, connection, WSASEC_POLL_IN);
}

static void sink(struct wsasec_worker *worker, int32_t fd, struct wsasec_connection *connection)
{
    const wsasec_listener_spec *spec = &worker->listener->spec;

    for (int i = 0; i < READS; i++) {
        const ptrdiff_t size = receive(worker, fd, connection);

        if (size < 0)
            return;
        if (spec->mode == WSASEC_LISTENER_DISCARD && connection->received >= spec->discard_after) {
            end(worker, fd, connection, 0);
            return;
        }
        if ((size_t)size < spec->read_size)
            return;
    }
}

/* Errors and ends are told by the call that meets them. */
void wsasec_connection_serve(struct wsasec_worker *worker, int32_t fd)
{
    struct wsasec_connection *connection = wsasec_connection_at(worker->listener->connections, fd);

    if (!atomic_load_explicit(&connection->open, memory_order_acquire))
        return;
    if (connection->pending)
        give_back_pending(worker, fd, connection);
    else if (worker->listener->spec.mode == WSASEC_LISTENER_ECHO)
        echo(worker, fd, connection);
    else
        sink(worker, fd, connection);
}
