/* SPDX-License-Identifier: Apache-2.0 */
/* What the loops do with a single socket. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../load/system.h"
#include "../inspect.h"

ptrdiff_t wsasec_send(int32_t socket, const void *data, size_t size)
{
    const ssize_t sent = send(socket, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

    return sent < 0 ? -errno : sent;
}

ptrdiff_t wsasec_receive(int32_t socket, void *room, size_t size)
{
    const ssize_t received = recv(socket, room, size, MSG_DONTWAIT);

    return received < 0 ? -errno : received;
}

ptrdiff_t wsasec_throw_away(int32_t socket, void *room, size_t size)
{
    /* Of TCP: nothing is copied. */
    const ssize_t received = recv(socket, room, size, MSG_DONTWAIT | MSG_TRUNC);

    return received < 0 ? -errno : received;
}

int wsasec_has_room(int32_t socket, int milliseconds)
{
    struct pollfd writable = {.fd = socket, .events = POLLOUT};

    return poll(&writable, 1, milliseconds) == 1;
}

int wsasec_type_of_socket(int32_t socket, int *type)
{
    int name = 0;
    socklen_t length = sizeof name;

    if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &name, &length))
        return errno;
    *type = wsasec_type_of(name);
    return 0;
}

int wsasec_pending_error(int32_t socket)
{
    int error = 0;
    socklen_t length = sizeof error;

    return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : 0;
}

uint64_t wsasec_unacknowledged(int32_t socket)
{
    int bytes = 0;

    return ioctl(socket, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

void wsasec_send_at_once(int32_t socket)
{
    const int on = 1;

    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Each call says for itself that it is not to wait. */
int wsasec_unblock(int32_t socket)
{
    (void)socket;
    return 0;
}

void wsasec_close(int32_t socket)
{
    close(socket);
}
