/* SPDX-License-Identifier: Apache-2.0 */
/* What a listener does with a connection: sink, discard, echo. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener.h"

enum { READS = 4 }; /* from one connection, before the next has its turn */

static void end(struct wsasec_worker *worker, int fd, struct wsasec_connection *connection, int error)
{
    /* Taken out by hand: a child of fork() may keep the socket alive. */
    (void)epoll_ctl(worker->epoll, EPOLL_CTL_DEL, fd, NULL);
    free(connection->pending);
    connection->pending = NULL;
    wsasec_count(&worker->tally.closed, 1);
    if (error)
        wsasec_count(&worker->tally.resets, 1);
    /* A child that is being made may have got the descriptor, but not that it is to close it. */
    if (wsasec_listener_forked())
        (void)shutdown(fd, SHUT_RDWR);
    atomic_store_explicit(&connection->open, 0, memory_order_release);
    close(fd); /* from now on the descriptor and its place may be another thread's */
}

static int transient(int error)
{
    return error == EAGAIN || error == EINTR;
}

/* Reads into the thread's buffer. Returns the bytes; 0: nothing there; -1: the connection is closed now. */
static ssize_t receive(struct wsasec_worker *worker, int fd, struct wsasec_connection *connection)
{
    ssize_t size = recv(fd, worker->buffer, worker->listener->spec.read_size, MSG_DONTWAIT);

    if (size > 0) {
        connection->received += (uint64_t)size;
        wsasec_count(&worker->tally.received_bytes, (uint64_t)size);
        return size;
    }
    if (size < 0 && transient(errno))
        return 0;
    end(worker, fd, connection, size < 0 ? errno : 0);
    return -1;
}

/* Sends what it can. Returns the bytes; -1: the connection is closed now. */
static ssize_t give_back(struct wsasec_worker *worker, int fd, struct wsasec_connection *connection, const char *data,
                         size_t size)
{
    ssize_t sent = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent >= 0) {
        wsasec_count(&worker->tally.sent_bytes, (uint64_t)sent);
        return sent;
    }
    if (transient(errno))
        return 0;
    end(worker, fd, connection, errno);
    return -1;
}

static void watch(struct wsasec_worker *worker, int fd, struct wsasec_connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)fd};

    if (epoll_ctl(worker->epoll, EPOLL_CTL_MOD, fd, &event))
        end(worker, fd, connection, errno);
}

/* The peer takes no more for now: the rest is kept, and nothing is read until it is gone. */
static void keep(struct wsasec_worker *worker, int fd, struct wsasec_connection *connection, const char *rest,
                 size_t size)
{
    connection->pending = malloc(size);
    if (!connection->pending) {
        end(worker, fd, connection, ENOMEM);
        return;
    }
    memcpy(connection->pending, rest, size);
    connection->pending_size = (uint32_t)size;
    connection->pending_sent = 0;
    watch(worker, fd, connection, EPOLLOUT);
}

static void echo(struct wsasec_worker *worker, int fd, struct wsasec_connection *connection)
{
    for (int i = 0; i < READS; i++) {
        const ssize_t size = receive(worker, fd, connection);
        ssize_t sent;

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

static void give_back_pending(struct wsasec_worker *worker, int fd, struct wsasec_connection *connection)
{
    const ssize_t sent = give_back(worker, fd, connection, connection->pending + connection->pending_sent,
                                   connection->pending_size - connection->pending_sent);

    if (sent < 0)
        return;
    connection->pending_sent += (uint32_t)sent;
    if (connection->pending_sent < connection->pending_size)
        return;
    free(connection->pending);
    connection->pending = NULL;
    watch(worker, fd, connection, EPOLLIN);
}

static void sink(struct wsasec_worker *worker, int fd, struct wsasec_connection *connection)
{
    const wsasec_listener_spec *spec = &worker->listener->spec;

    for (int i = 0; i < READS; i++) {
        const ssize_t size = receive(worker, fd, connection);

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
void wsasec_connection_serve(struct wsasec_worker *worker, int fd)
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
