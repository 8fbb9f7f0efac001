/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* struct ucred */
#include "daemon_client.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../backend.h"
#include "daemon_connections.h"
#include "failure.h"

enum { SECOND = 1000000000, MILLISECOND = 1000000 };

static atomic_uint ids;

static int32_t fail_unreachable(wsasec_status *status, unsigned step, int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
    case ENAMETOOLONG:
        return wsasec_fail(status, step, WSASEC_REASON_NO_DAEMON, error);
    case EAGAIN:
        return wsasec_fail(status, step, WSASEC_REASON_DAEMON_BUSY, error);
    case EACCES:
    case EPERM:
        return wsasec_fail(status, step, WSASEC_REASON_FORBIDDEN, error);
    case EPROTOTYPE:
        return wsasec_fail(status, step, WSASEC_REASON_DAEMON_ANSWER, error);
    case ETOOMANYREFS: /* descriptors of this user that are on their way */
        return wsasec_fail(status, step, WSASEC_REASON_NO_DESCRIPTORS, error);
    default:
        return wsasec_fail_errno(status, step, error);
    }
}

/* Only root, or this user, is believed to be the daemon. */
static int32_t check_owner(int fd, unsigned step, wsasec_status *status)
{
    struct ucred owner;
    socklen_t length = sizeof owner;
    char detail[64];

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &length))
        return wsasec_fail_errno(status, step, errno);
    if (owner.uid == 0 || owner.uid == geteuid())
        return 0;
    snprintf(detail, sizeof detail, "user %u is there instead", owner.uid);
    return wsasec_fail_detail(status, step, WSASEC_REASON_NO_DAEMON, 0, detail);
}

/* wait: how many nanoseconds it may wait for a place in the daemon's queue; 0: not at all. */
static int32_t open_connection(struct wsasec_daemon_connection *connection, const struct sockaddr_un *address,
                               unsigned step, uint64_t wait, wsasec_status *status)
{
    struct timeval time = {.tv_sec = (time_t)(wait / SECOND), .tv_usec = (suseconds_t)(wait % SECOND / 1000 + 1)};
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
    int32_t code = 0;
    int failed;

    if (fd < 0)
        return wsasec_fail_errno(status, WSASEC_STEP_CREATE, errno);
    if (time.tv_usec >= SECOND / 1000)
        time.tv_usec = SECOND / 1000 - 1;
    failed = wait && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    while (!failed && (failed = connect(fd, (const struct sockaddr *)address, sizeof *address)) && errno == EINTR)
        failed = 0;
    if (failed)
        code = fail_unreachable(status, step, errno);
    if (!code)
        code = check_owner(fd, step, status);
    if (code) {
        close(fd);
        return code;
    }
    connection->fd = fd;
    wsasec_daemon_keep(connection, address);
    return 0;
}

static void give_back(struct wsasec_daemon_call *call, int good)
{
    const struct wsasec_daemon_connection connection = {call->fd, call->place, call->cookie};

    wsasec_daemon_give_back(&connection, good);
    call->fd = -1;
}

/* Returns 0 or an errno. */
static int send_question(int fd, const struct wsasec_daemon_header *header, const void *body, const int32_t *sockets,
                         size_t count)
{
    union {
        struct cmsghdr header;
        unsigned char bytes[CMSG_SPACE(WSASEC_DAEMON_DESCRIPTORS * sizeof(int))];
    } beside;
    struct iovec parts[2] = {
        {.iov_base = (void *)header, .iov_len = sizeof *header},
        {.iov_base = (void *)body, .iov_len = header->length},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    if (count > WSASEC_DAEMON_DESCRIPTORS || header->length > WSASEC_DAEMON_LARGEST - sizeof *header)
        return EMSGSIZE;
    if (count) {
        memset(&beside, 0, sizeof beside);
        message.msg_control = &beside;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        beside.header.cmsg_level = SOL_SOCKET;
        beside.header.cmsg_type = SCM_RIGHTS;
        beside.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&beside.header), sockets, count * sizeof(int));
    }
    for (;;) {
        if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        if (errno != EINTR)
            return errno;
    }
}

static int32_t start(struct wsasec_daemon_call *call, unsigned step, unsigned kind, const void *body, size_t length,
                     const int32_t *sockets, size_t count, uint64_t wait, wsasec_status *status)
{
    const struct wsasec_daemon_header header = {
        .magic = WSASEC_DAEMON_MAGIC,
        .kind = (uint16_t)kind,
        .id = atomic_fetch_add(&ids, 1) + 1,
        .length = (uint32_t)length,
    };
    struct wsasec_daemon_connection connection;
    struct sockaddr_un address;
    int error = wsasec_daemon_address(&address);
    int used_before = 1;
    int32_t code;

    call->fd = -1;
    if (error)
        return fail_unreachable(status, step, error);
    while (used_before) {
        used_before = wsasec_daemon_take(&connection, &address) == 0;
        if (!used_before && (code = open_connection(&connection, &address, step, wait, status)))
            return code;
        *call = (struct wsasec_daemon_call){.fd = connection.fd, .place = connection.place,
                                            .cookie = connection.cookie, .id = header.id,
                                            .kind = (uint16_t)kind, .step = (uint16_t)step};
        error = send_question(connection.fd, &header, body, sockets, count);
        if (!error)
            return 0;
        give_back(call, 0);
        /* The daemon may have ended since, and another be there. */
        if (error != EPIPE && error != ECONNRESET && error != ENOTCONN)
            break;
    }
    if (error == EPIPE || error == ECONNRESET)
        return wsasec_fail_detail(status, step, WSASEC_REASON_DAEMON_BUSY, error, "it closed the connection");
    return fail_unreachable(status, step, error);
}

int32_t wsasec_daemon_start(struct wsasec_daemon_call *call, unsigned step, unsigned kind, const void *body,
                            size_t length, const int32_t *sockets, size_t socket_count, wsasec_status *status)
{
    return start(call, step, kind, body, length, sockets, socket_count, 0, status);
}

/*
 * What the daemon found, if it is a failure; what makes no sense is none of its answers. refused: it did not take the
 * question, and the verdict says why. The code goes by the reason.
 */
static int32_t hear(const struct wsasec_daemon_call *call, int refused, const void *answer, size_t size,
                    wsasec_status *status)
{
    struct wsasec_daemon_verdict verdict;

    if (call->kind == WSASEC_DAEMON_SECURE && !refused)
        return size < sizeof(struct wsasec_daemon_secured)
                   ? wsasec_fail(status, call->step, WSASEC_REASON_DAEMON_ANSWER, 0)
                   : 0;
    if (size < sizeof verdict)
        return wsasec_fail(status, call->step, WSASEC_REASON_DAEMON_ANSWER, 0);
    memcpy(&verdict, answer, sizeof verdict);
    if (!verdict.code && !refused)
        return 0;
    if (verdict.code >= 0 || verdict.reason == WSASEC_REASON_NONE || verdict.reason >= WSASEC_REASON_COUNT ||
        verdict.step >= WSASEC_STEP_COUNT || !memchr(verdict.detail, 0, sizeof verdict.detail))
        return wsasec_fail(status, call->step, WSASEC_REASON_DAEMON_ANSWER, 0);
    return wsasec_fail_detail(status, verdict.step ? verdict.step : call->step, verdict.reason, 0, verdict.detail);
}

/* Returns what recvmsg() does. */
static ssize_t receive(int fd, struct msghdr *message)
{
    int resets = 0;

    for (;;) {
        const ssize_t size = recvmsg(fd, message, MSG_DONTWAIT);

        /* It closed the connection without reading the question; what it said before comes after that error. */
        if (size >= 0 || (errno != EINTR && (errno != ECONNRESET || resets++)))
            return size;
    }
}

int32_t wsasec_daemon_finish(struct wsasec_daemon_call *call, void *answer, size_t room, size_t *answered,
                             wsasec_status *status)
{
    struct wsasec_daemon_header header;
    struct iovec parts[2] = {
        {.iov_base = &header, .iov_len = sizeof header},
        {.iov_base = answer, .iov_len = room},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2}; /* descriptors that came with it are closed */
    const ssize_t size = receive(call->fd, &message);
    int refused;

    if (size < 0 && errno == EAGAIN)
        return WSASEC_DAEMON_PENDING;
    if (size <= 0) {
        const int error = size ? errno : 0;

        give_back(call, 0);
        return wsasec_fail_detail(status, call->step, WSASEC_REASON_DAEMON_SILENT, error,
                                  "it ended before it had answered");
    }
    refused = (size_t)size >= sizeof header && header.kind == WSASEC_DAEMON_ANSWER;
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || (size_t)size < sizeof header ||
        header.magic != WSASEC_DAEMON_MAGIC || (!refused && header.kind != (call->kind | WSASEC_DAEMON_ANSWER)) ||
        header.flags || (header.id != call->id && !(refused && !header.id)) ||
        header.length != (size_t)size - sizeof header) {
        give_back(call, 0);
        return wsasec_fail(status, call->step, WSASEC_REASON_DAEMON_ANSWER, 0);
    }
    give_back(call, header.id == call->id);
    if (answered)
        *answered = header.length;
    return hear(call, refused, answer, header.length, status);
}

void wsasec_daemon_abandon(struct wsasec_daemon_call *call)
{
    if (call->fd >= 0)
        give_back(call, 0);
}

/* Waits until the descriptor is readable, or the time has come. Returns 0 or an errno. */
static int wait_until(int fd, uint64_t until)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};

    for (;;) {
        const uint64_t now = wsasec_backend_clock();
        const uint64_t left = now < until ? until - now : 0;
        const struct timespec time = {.tv_sec = (time_t)(left / SECOND), .tv_nsec = (long)(left % SECOND)};
        const int ready = ppoll(&wanted, 1, &time, NULL);

        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return errno;
        if (!ready && wsasec_backend_clock() >= until)
            return ETIMEDOUT;
    }
}

int32_t wsasec_daemon_ask(unsigned step, unsigned kind, const void *body, size_t length, const int32_t *sockets,
                          size_t socket_count, void *answer, size_t room, size_t *answered, uint64_t nanoseconds,
                          wsasec_status *status)
{
    const uint64_t until = wsasec_after(wsasec_backend_clock(), nanoseconds);
    struct wsasec_daemon_call call;
    int32_t code = start(&call, step, kind, body, length, sockets, socket_count, nanoseconds + !nanoseconds, status);
    int error;

    if (code)
        return code;
    while ((code = wsasec_daemon_finish(&call, answer, room, answered, status)) == WSASEC_DAEMON_PENDING) {
        error = wait_until(call.fd, until);
        if (!error)
            continue;
        wsasec_daemon_abandon(&call);
        return wsasec_fail(status, step, WSASEC_REASON_DAEMON_SILENT, error);
    }
    return code;
}

void wsasec_daemon_question_of(struct wsasec_daemon_question *question, const wsasec_sockaddr_storage *peer,
                               uint64_t nanoseconds)
{
    const uint64_t milliseconds = nanoseconds / MILLISECOND;

    memset(question, 0, sizeof *question);
    question->milliseconds = milliseconds < UINT32_MAX ? (uint32_t)milliseconds : UINT32_MAX;
    if (peer)
        question->peer = *peer;
}

int32_t wsasec_daemon_tell(unsigned step, unsigned kind, int32_t socket, const wsasec_sockaddr_storage *peer,
                           uint64_t nanoseconds, wsasec_status *status)
{
    struct wsasec_daemon_question question;
    struct wsasec_daemon_verdict verdict;

    wsasec_daemon_question_of(&question, peer, nanoseconds);
    return wsasec_daemon_ask(step, kind, &question, sizeof question, &socket, 1, &verdict, sizeof verdict, NULL,
                             wsasec_after(nanoseconds, WSASEC_DAEMON_GRACE), status);
}
