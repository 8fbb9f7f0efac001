/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "requests.h"
#include "seen.h"
#include "worker.h"

enum {
    EVENTS = 32,
    EVENTS_WAITING = 1024, /* of one subscriber that does not read */
    EACH_SECOND = 1000,
    SOON = 5 /* milliseconds until another look at what waits for its end */
};

enum source { SOURCE_NOTES = 1, SOURCE_LISTENER, SOURCE_CONNECTION };

/* A message that could not be sent yet. */
struct wse_out {
    struct wse_out *next;
    size_t length;
    _Alignas(8) uint8_t bytes[];
};

static uint64_t source_make(enum source source, uint32_t number)
{
    return (uint64_t)source << 32 | number;
}

/*
 * Has the epoll tell of who connects, or no more: without a descriptor for a connection it would tell of the same one
 * over and over, and one thread would do nothing else.
 */
static void hear(struct wse_control *control, int heard)
{
    for (unsigned i = 0; i < control->listening && control->deaf == heard; i++) {
        struct epoll_event event = {.events = heard ? EPOLLIN : 0, .data.u64 = source_make(SOURCE_LISTENER, i)};

        epoll_ctl(control->epoll, EPOLL_CTL_MOD, control->listeners[i], &event);
    }
    control->deaf = !heard;
}

static void disconnect(struct wse_control *control, struct wse_connection *connection)
{
    if (connection->launcher)
        control->stop = 1;
    close(connection->fd);
    hear(control, 1);
    while (connection->first) {
        struct wse_out *first = connection->first;

        connection->first = first->next;
        free(first);
    }
    memset(connection, 0, sizeof *connection);
    connection->fd = -1;
}

/* Requests are read only from who reads the answers. */
static void watch(struct wse_control *control, struct wse_connection *connection)
{
    const uint32_t number = (uint32_t)(connection - control->connections);
    struct epoll_event event = {.events = connection->first ? EPOLLOUT : EPOLLIN,
                                .data.u64 = source_make(SOURCE_CONNECTION, number)};

    if (connection->watched == (int)event.events)
        return;
    if (epoll_ctl(control->epoll, connection->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, connection->fd, &event))
        disconnect(control, connection);
    else
        connection->watched = (int)event.events;
}

/* Sends what waits. 0, or -1: the connection is gone. */
static int send_waiting(struct wse_control *control, struct wse_connection *connection)
{
    const struct wse_header lost = {.version = WSE_VERSION, .type = WSE_EVENT_LOST};

    while (connection->first) {
        struct wse_out *first = connection->first;

        if (send(connection->fd, first->bytes, first->length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            if (errno == EAGAIN || errno == ENOBUFS)
                break;
            disconnect(control, connection);
            return -1;
        }
        connection->first = first->next;
        if (!connection->first)
            connection->last = NULL;
        connection->waiting--;
        free(first);
    }
    if (!connection->first && connection->lost &&
        send(connection->fd, &lost, sizeof lost, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof lost)
        connection->lost = 0;
    watch(control, connection);
    return connection->fd < 0 ? -1 : 0;
}

int wse_control_send(struct wse_control *control, struct wse_connection *connection, uint16_t type, uint32_t number,
                     uint32_t flags, const void *body, size_t length)
{
    const struct wse_header header = {.version = WSE_VERSION, .type = type, .number = number, .flags = flags};
    struct wse_out *out;

    (void)control;
    out = malloc(sizeof *out + sizeof header + length);
    if (!out)
        return -ENOMEM;
    out->next = NULL;
    out->length = sizeof header + length;
    memcpy(out->bytes, &header, sizeof header);
    if (length)
        memcpy(out->bytes + sizeof header, body, length);
    if (connection->last)
        connection->last->next = out;
    else
        connection->first = out;
    connection->last = out;
    connection->waiting++;
    return 0;
}

void wse_control_tell(struct wse_control *control, uint16_t type, const void *body, size_t length)
{
    for (int i = 0; i < WSE_CONNECTIONS; i++) {
        struct wse_connection *connection = &control->connections[i];

        if (connection->fd < 0 || !(connection->subscribed & 1u << (type - WSE_EVENT_ACQUIRE)))
            continue;
        if (connection->lost || connection->waiting >= EVENTS_WAITING ||
            wse_control_send(control, connection, type, 0, 0, body, length))
            connection->lost = 1;
    }
}

static void tell_expire(struct wse_control *control, const struct wse_association *association, int hard)
{
    const struct wse_expire expire = {.name = association->name, .reqid = association->reqid, .hard = hard != 0};

    wse_control_tell(control, WSE_EVENT_EXPIRE, &expire, sizeof expire);
}

static void end_association(struct wse_retired *retired)
{
    wse_association_free((struct wse_association *)retired);
}

void wse_control_remove(struct wse_control *control, struct wse_association *association, int tell)
{
    const int outbound = association->name.direction == WSE_OUTBOUND;

    /* Nothing passes it from now on, although a worker may have it at hand. */
    wse_association_tell(association, WSE_TOLD_HARD);
    association->removed = 1;
    if (tell)
        tell_expire(control, association, 1);
    wse_table_remove(&control->engine->table, &control->engine->epochs, association, end_association);
    /* Packets that wait may go by an older one now. */
    if (outbound)
        wse_workers_wake(control->engine, WSE_OUTBOUND);
}

/* Whether it is the first of the second for these addresses: with several threads each of them asks. */
static int is_asked_first(struct wse_control *control, const struct wse_acquire *acquire, uint64_t second)
{
    uint64_t hash = control->engine->table.seed ^ acquire->reqid;
    unsigned slot;

    for (size_t i = 0; i < 16; i++)
        hash = (hash ^ acquire->source[i] ^ (uint64_t)acquire->destination[i] << 32) * 0x100000001b3U;
    hash ^= hash >> 32;
    slot = hash % WSE_ASKED;
    if (control->asked[slot].hash == hash && control->asked[slot].second == second)
        return 0;
    control->asked[slot].hash = hash;
    control->asked[slot].second = second;
    return 1;
}

static void take_note(struct wse_control *control, const struct wse_note *note)
{
    switch (note->type) {
    case WSE_EVENT_ACQUIRE:
        if (!is_asked_first(control, &note->acquire, wse_seconds()))
            break;
        control->told.acquires++;
        wse_control_tell(control, WSE_EVENT_ACQUIRE, &note->acquire, sizeof note->acquire);
        break;
    case WSE_EVENT_EXPIRE:
        if (note->association->removed)
            break;
        if (note->hard)
            wse_control_remove(control, note->association, 1);
        else
            tell_expire(control, note->association, 0);
        break;
    case WSE_EVENT_MAPPING:
        if (!note->association->removed)
            wse_control_tell(control, WSE_EVENT_MAPPING, &note->mapping, sizeof note->mapping);
        break;
    }
}

/* What the workers said. */
static void take_notes(void *context)
{
    struct wse_control *control = context;
    struct wse_note note;

    for (unsigned i = 0; i < 2 * control->engine->threads; i++) {
        struct wse_worker *worker = control->engine->workers[i];

        while (wse_worker_take(worker, &note))
            take_note(control, &note);
        if (atomic_exchange(&worker->notes.lost, 0))
            for (int j = 0; j < WSE_CONNECTIONS; j++)
                control->connections[j].lost |= control->connections[j].subscribed != 0;
    }
}

/* Ends by the clock, and ends whose note had no room. */
static void look_at_clocks(struct wse_control *control)
{
    const uint64_t now = wse_seconds();
    struct wse_association *next;

    if (control->looked == now)
        return;
    control->looked = now;
    hear(control, 1); /* not only the end of a connection gives back a descriptor */
    for (struct wse_association *each = control->engine->table.all; each; each = next) {
        const uint32_t due = wse_association_due(each, now);

        next = each->next;
        if (due == WSE_TOLD_SOFT)
            tell_expire(control, each, 0);
        if (wse_at_end(each))
            wse_control_remove(control, each, 1);
    }
}

int wse_control_listen(struct wse_control *control, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = source_make(SOURCE_LISTENER, control->listening)};
    int listening = 0, type = 0;
    socklen_t length = sizeof listening;

    if (control->listening == WSE_LISTENERS)
        return -ENOSPC;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length))
        return -errno;
    if (!listening || type != SOCK_SEQPACKET)
        return -EINVAL;
    if (epoll_ctl(control->epoll, EPOLL_CTL_ADD, fd, &event))
        return -errno;
    control->listeners[control->listening++] = fd;
    hear(control, 1); /* all or none */
    return 0;
}

static struct wse_connection *connect_it(struct wse_control *control, int fd)
{
    for (int i = 0; i < WSE_CONNECTIONS; i++) {
        struct wse_connection *connection = &control->connections[i];

        if (connection->fd >= 0)
            continue;
        memset(connection, 0, sizeof *connection);
        connection->fd = fd;
        connection->serial = ++control->connected;
        watch(control, connection);
        return connection->fd < 0 ? NULL : connection;
    }
    close(fd);
    return NULL;
}

static void accept_it(struct wse_control *control, uint32_t number)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    const int fd = accept4(control->listeners[number], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            wse_log("a connection has to wait: error %d; raise the limit of descriptors", errno);
            hear(control, 0);
        }
        return;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) || (peer.uid != 0 && peer.uid != geteuid())) {
        wse_log("a connection of user %u is refused", (unsigned)peer.uid);
        close(fd);
        return;
    }
    if (!connect_it(control, fd))
        wse_log("a connection is refused: there are %d", WSE_CONNECTIONS);
}

/* The descriptors that came with a message, at most WSE_DESCRIPTORS_MAX. */
static unsigned descriptors_of(struct msghdr *header, int *descriptors)
{
    unsigned count = 0;

    for (struct cmsghdr *each = CMSG_FIRSTHDR(header); each; each = CMSG_NXTHDR(header, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= each->cmsg_len - CMSG_LEN(0); at += sizeof(int))
            memcpy(&descriptors[count++], CMSG_DATA(each) + at, sizeof(int));
    }
    return count;
}

/* But for those that were taken, which are below 0 now. */
static void close_all(const int *descriptors, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
}

static void refuse(struct wse_control *control, struct wse_connection *connection, uint32_t number, int error)
{
    const struct wse_error body = {.error = error, .text = "this is no message of the protocol"};

    wse_control_send(control, connection, WSE_ERROR, number, 0, &body, sizeof body);
}

static void read_request(struct wse_control *control, struct wse_connection *connection)
{
    static _Alignas(8) uint8_t bytes[WSE_MESSAGE_MAX];
    _Alignas(struct cmsghdr) uint8_t space[CMSG_SPACE(WSE_DESCRIPTORS_MAX * sizeof(int))];
    int descriptors[WSE_DESCRIPTORS_MAX];
    struct iovec vector = {bytes, sizeof bytes};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct wse_header header;
    const ssize_t length = recvmsg(connection->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    unsigned count;

    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* Also with a message of no bytes, which is no end but is taken for one. */
    count = length < 0 ? 0 : descriptors_of(&message, descriptors);
    if (length <= 0) {
        close_all(descriptors, count);
        disconnect(control, connection);
        return;
    }
    memset(&header, 0, sizeof header);
    memcpy(&header, bytes, (size_t)length < sizeof header ? (size_t)length : sizeof header);
    if ((size_t)length < sizeof header || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
        header.version != WSE_VERSION || !header.number || header.flags || header.reserved)
        refuse(control, connection, header.number, header.version == WSE_VERSION ? EINVAL : EPROTONOSUPPORT);
    else
        wse_request(control, connection, &header, bytes + sizeof header, (size_t)length - sizeof header, descriptors,
                    count);
    explicit_bzero(bytes, (size_t)length); /* it may have had a key */
    close_all(descriptors, count);
}

static int start(struct wse_control *control, struct wse_engine *engine, int launcher)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = source_make(SOURCE_NOTES, 0)};
    struct wse_connection *connection;

    memset(control, 0, sizeof *control);
    control->engine = engine;
    for (int i = 0; i < WSE_CONNECTIONS; i++)
        control->connections[i].fd = -1;
    control->seen = wse_seen_make();
    if (!control->seen)
        return -ENOMEM;
    control->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (control->epoll < 0 || epoll_ctl(control->epoll, EPOLL_CTL_ADD, engine->events, &event))
        return -errno;
    connection = connect_it(control, launcher);
    if (!connection)
        return -EBADF;
    connection->launcher = 1;
    return 0;
}

int wse_control_run(struct wse_control *control, struct wse_engine *engine, int launcher)
{
    struct epoll_event events[EVENTS];
    int error = start(control, engine, launcher);
    int waits = 0;
    uint64_t times;

    while (!error && !control->stop) {
        const int ready = epoll_wait(control->epoll, events, EVENTS, waits ? SOON : EACH_SECOND);

        if (ready < 0 && errno != EINTR)
            error = -errno;
        for (int i = 0; i < ready && !control->stop; i++) {
            const uint32_t number = (uint32_t)events[i].data.u64;
            struct wse_connection *connection = &control->connections[number % WSE_CONNECTIONS];

            switch (events[i].data.u64 >> 32) {
            case SOURCE_NOTES:
                if (read(engine->events, &times, sizeof times) < 0)
                    break; /* the notes are looked at anyway */
                break;
            case SOURCE_CONNECTION:
                if (connection->fd >= 0 && !connection->first)
                    read_request(control, connection);
                break;
            }
        }
        /* Behind those, as one that ended makes room for one that begins. */
        for (int i = 0; i < ready && !control->stop; i++)
            if (events[i].data.u64 >> 32 == SOURCE_LISTENER)
                accept_it(control, (uint32_t)events[i].data.u64);
        take_notes(control);
        look_at_clocks(control);
        waits = wse_reclaim(&engine->epochs, take_notes, control);
        for (int i = 0; i < WSE_CONNECTIONS; i++)
            if (control->connections[i].fd >= 0)
                send_waiting(control, &control->connections[i]);
    }
    return error;
}
