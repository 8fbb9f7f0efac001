/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting connections, and what a connection from a SYN cookie lacks. */
#define _GNU_SOURCE /* accept4 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../backend.h"
#include "failure.h"
#include "plan.h"

static int32_t fail_accept(wsasec_status *status, int error)
{
    switch (error) {
    case EAGAIN:
        return wsasec_fail(status, WSASEC_STEP_ACCEPT, WSASEC_REASON_WOULD_BLOCK, error);
    case EINVAL:
    case EOPNOTSUPP:
        return wsasec_fail(status, WSASEC_STEP_ACCEPT, WSASEC_REASON_NOT_LISTENING, error);
    /* Errors that are the new connection's, see accept(2). */
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return wsasec_fail(status, WSASEC_STEP_ACCEPT, WSASEC_REASON_CONNECTION_GONE, error);
    default:
        return wsasec_fail_errno(status, WSASEC_STEP_ACCEPT, error);
    }
}

int32_t wsasec_backend_accept(wsasec_socket listener, int nonblocking, wsasec_socket *accepted, uint64_t *identity,
                              void *address, uint32_t *address_len, wsasec_status *status)
{
    socklen_t length = address ? *address_len : 0;
    int fd = accept4((int)listener, address, address ? &length : NULL,
                     SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));

    if (fd < 0)
        return fail_accept(status, errno);
    if (address)
        *address_len = length;
    length = sizeof *identity;
    if (identity && getsockopt(fd, SOL_SOCKET, SO_COOKIE, identity, &length)) {
        const int error = errno;

        wsasec_backend_abandon(fd);
        return wsasec_fail_errno(status, WSASEC_STEP_STATE, error);
    }
    *accepted = fd;
    return 0;
}

/*
 * For a program that gave up its privileges when it was listening: a change of the type of service drops the route,
 * too, and changing it back is all the same to the packets. It sets the priority, which is put back.
 */
static int drop_route(int fd)
{
    int tos = 0;
    int priority = 0;
    int other;
    socklen_t length = sizeof tos;

    if (getsockopt(fd, IPPROTO_IP, IP_TOS, &tos, &length) ||
        getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, &length))
        return errno;
    other = tos ^ IPTOS_RELIABILITY;
    if (setsockopt(fd, IPPROTO_IP, IP_TOS, &other, sizeof other) ||
        setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos))
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority);
    return 0;
}

/*
 * The child of an IPv4 SYN cookie has its listener's policies, but keeps the route that its cookie was answered by,
 * which was looked up without them. Setting the outbound one again drops it. Nothing tells such a child from others,
 * and the sysctl may have been another when the connection was made: so all are treated alike. One that a device carries
 * has its listener's binding and mark, by which that route was looked up, too.
 */
int32_t wsasec_backend_apply_accepted(struct wsasec_plan *opaque, const struct wsasec_facts *facts,
                                      wsasec_socket socket, wsasec_status *status)
{
    const struct wsasec_family_plan *mine;
    int error = 0;

    if (facts->family != WSASEC_FAMILY_INET)
        return 0;
    switch (wsasec_plan_carrier(opaque)) {
    case WSASEC_CARRIER_DEVICE:
        return 0;
    case WSASEC_CARRIER_AUTO: /* it is not known here: nothing of a policy may be set */
        error = drop_route((int)socket);
        return error ? wsasec_fail_errno(status, WSASEC_STEP_POLICY_OUT, error) : 0;
    default:
        break;
    }
    mine = wsasec_plan_of(opaque, AF_INET);
    for (uint32_t i = WSASEC_PLAN_FRESH; i < mine->count; i++) {
        const wsasec_option *option = &mine->options[i];

        if (option->step == WSASEC_STEP_POLICY_OUT &&
            setsockopt((int)socket, option->level, option->name, option->value, option->length))
            error = errno;
    }
    if (error == EPERM)
        error = drop_route((int)socket);
    return error ? wsasec_fail_errno(status, WSASEC_STEP_POLICY_OUT, error) : 0;
}

int32_t wsasec_backend_silence(wsasec_socket socket)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    /* Without a route first: the reset, too, might leave in clear. */
    const int32_t code = wsasec_backend_block(socket);

    (void)setsockopt((int)socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    return code;
}

void wsasec_backend_abandon(wsasec_socket socket)
{
    (void)wsasec_backend_silence(socket);
    close((int)socket);
}
