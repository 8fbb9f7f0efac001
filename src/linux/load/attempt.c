/* SPDX-License-Identifier: Apache-2.0 */
/* One connect(), and what its answers mean. */
#include "../../backend.h"
#include "connector.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Second looks at once: so many are made in vain before they are left, and one of so many connects tries again. */
enum { LUCK = 8, CONNECTS_A_TRY = 64 };

static struct wsasec_destination *destination_of(struct wsasec_connector *connector, uint32_t index)
{
    return &connector->destinations.all[index % connector->destinations.stride];
}

/* Returns 0 or the errno. */
static int call(const struct wsasec_connector *connector, uint32_t index)
{
    const wsasec_connect_spec *spec = &connector->spec;
    const unsigned char *address =
        (const unsigned char *)spec->addresses + index % spec->address_count * spec->address_size;

    if (connect(connector->sockets[index], (const struct sockaddr *)(const void *)address, spec->address_size))
        return errno;
    return 0;
}

/*
 * How an attempt that was in progress stands. Not by SO_ERROR: a second connect() tells the same, and it ends the
 * attempt for the kernel too, so that a third one finds the socket connected (EISCONN), or as it was before.
 */
static int ask(const struct wsasec_connector *connector, uint32_t index)
{
    const int error = call(connector, index);

    return error == EISCONN ? 0 : error;
}

static int is_open_question(int error)
{
    return error == EINPROGRESS || error == EALREADY;
}

void wsasec_attempt_settle(struct wsasec_connector *connector, uint32_t index, int error)
{
    struct wsasec_destination *destination = destination_of(connector, index);

    if (connector->errnos[index] == WSASEC_IN_PROGRESS) {
        connector->in_progress--;
        destination->in_progress--;
        if (destination->standing == WSASEC_IDLE && destination->pending)
            wsasec_queue_push(&connector->destinations, WSASEC_READY, destination);
    }
    connector->errnos[index] = error;
    connector->done++;
    if (error)
        return;
    connector->connected++;
    wsasec_histogram_record(connector->spec.latency, (wsasec_backend_clock() - connector->began[index]) / 1000);
}

/* A datagram socket that cannot have a port is refused with the same errno, but it has none then. */
static int is_without_port(int socket)
{
    struct sockaddr_in6 own = {0};
    socklen_t length = sizeof own;
    int type = 0;
    socklen_t size = sizeof type;

    if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_DGRAM)
        return 0;
    /* The port is at the same place for both families. */
    return getsockname(socket, (struct sockaddr *)(void *)&own, &length) == 0 && !own.sin6_port;
}

/* On the same machine the connection stands before connect() has returned, though it says EINPROGRESS. */
static int ask_at_once(struct wsasec_connector *connector, uint32_t index, int error)
{
    if (!connector->luck && ++connector->since_try < CONNECTS_A_TRY)
        return error;
    connector->since_try = 0;
    error = ask(connector, index);
    if (!is_open_question(error))
        connector->luck = LUCK;
    else if (connector->luck)
        connector->luck--;
    return error;
}

static void watch(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data = {.u32 = index}};

    if (epoll_ctl(connector->poll, EPOLL_CTL_ADD, connector->sockets[index], &event)) {
        /* EEXIST: the same socket is there twice. */
        wsasec_attempt_settle(connector, index, errno == EEXIST ? EALREADY : errno);
        return;
    }
    connector->errnos[index] = WSASEC_IN_PROGRESS;
    connector->in_progress++;
    destination->in_progress++;
}

static void record_wait(struct wsasec_connector *connector, const struct wsasec_destination *destination, uint64_t now)
{
    const uint64_t current = destination->since ? now - destination->since : 0;

    if (!current && !destination->waited)
        return;
    connector->waited++;
    wsasec_histogram_record(connector->spec.wait, (destination->waited + current) / 1000);
}

int wsasec_attempt(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index)
{
    const int socket = connector->sockets[index];
    int error = EBADF;
    int flags;

    if (socket < 0 || (flags = fcntl(socket, F_GETFL)) < 0) {
        wsasec_attempt_settle(connector, index, error);
        return 1;
    }
    if (!(flags & O_NONBLOCK)) {
        wsasec_attempt_settle(connector, index, EINVAL);
        return 1;
    }
    connector->began[index] = connector->latest = wsasec_backend_clock();
    error = call(connector, index);
    if (error == EAGAIN) {
        if (!is_without_port(socket))
            return 0;
        error = EADDRNOTAVAIL;
    }
    record_wait(connector, destination, connector->began[index]);
    if (error == EINPROGRESS)
        error = ask_at_once(connector, index, error);
    if (is_open_question(error))
        watch(connector, destination, index);
    else
        wsasec_attempt_settle(connector, index, error);
    return 1;
}

void wsasec_attempt_look(struct wsasec_connector *connector, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data = {.u32 = index}};
    int error;

    if (connector->errnos[index] != WSASEC_IN_PROGRESS)
        return;
    error = ask(connector, index);
    if (is_open_question(error) && !epoll_ctl(connector->poll, EPOLL_CTL_MOD, connector->sockets[index], &event))
        return;
    wsasec_attempt_settle(connector, index, error);
}
