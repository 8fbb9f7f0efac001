/* SPDX-License-Identifier: Apache-2.0 */
/* connect() without waiting, and what its answers mean. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "../../load/dial.h"

/* AF_UNSPEC would disconnect a socket. */
int wsasec_dial_is_address(const void *address, size_t size)
{
    uint16_t family;

    memcpy(&family, address, sizeof family);
    return (family == AF_INET && size == sizeof(struct sockaddr_in)) ||
           (family == AF_INET6 && size == sizeof(struct sockaddr_in6));
}

int wsasec_dial_check(int32_t socket)
{
    const int flags = socket < 0 ? -1 : fcntl(socket, F_GETFL);

    if (flags < 0)
        return EBADF;
    return flags & O_NONBLOCK ? 0 : EINVAL;
}

int wsasec_dial(int32_t socket, const void *address, size_t size)
{
    return connect(socket, (const struct sockaddr *)address, (socklen_t)size) ? errno : 0;
}

/*
 * Not by SO_ERROR: a second connect() tells the same, and it ends the attempt for the kernel too, so that a third one
 * finds the socket connected (EISCONN), or as it was before.
 */
int wsasec_dial_ask(int32_t socket, const void *address, size_t size, uint32_t events)
{
    const int error = wsasec_dial(socket, address, size);

    (void)events;
    return error == EISCONN ? 0 : error;
}

int wsasec_dial_is_open(int error)
{
    return error == EINPROGRESS || error == EALREADY;
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

int wsasec_dial_is_refused(int32_t socket, int *error)
{
    if (*error != EAGAIN)
        return 0;
    if (!is_without_port(socket))
        return 1;
    *error = EADDRNOTAVAIL;
    return 0;
}
