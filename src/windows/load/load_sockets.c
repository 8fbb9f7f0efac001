/* SPDX-License-Identifier: Apache-2.0 */
/* What the loops do with a single socket. They have it non-blocking: no call can be told not to wait. */
#include <winsock2.h>
#include <ws2tcpip.h>

#include "../../load/system.h"
#include "../inspect.h"

ptrdiff_t wsasec_send(int32_t socket, const void *data, size_t size)
{
    const int sent = send((SOCKET)socket, data, size > INT32_MAX ? INT32_MAX : (int)size, 0);

    return sent < 0 ? -WSAGetLastError() : sent;
}

ptrdiff_t wsasec_receive(int32_t socket, void *room, size_t size)
{
    const int received = recv((SOCKET)socket, room, size > INT32_MAX ? INT32_MAX : (int)size, 0);

    return received < 0 ? -WSAGetLastError() : received;
}

ptrdiff_t wsasec_throw_away(int32_t socket, void *room, size_t size)
{
    return wsasec_receive(socket, room, size);
}

int wsasec_has_room(int32_t socket, int milliseconds)
{
    WSAPOLLFD writable = {.fd = (SOCKET)socket, .events = POLLWRNORM};

    return WSAPoll(&writable, 1, milliseconds) == 1;
}

int wsasec_type_of_socket(int32_t socket, int *type)
{
    int value = 0;
    int length = sizeof value;

    if (getsockopt((SOCKET)socket, SOL_SOCKET, SO_TYPE, (char *)&value, &length))
        return WSAGetLastError();
    *type = wsasec_type_of(value);
    return 0;
}

int wsasec_pending_error(int32_t socket)
{
    int error = 0;
    int length = sizeof error;

    return getsockopt((SOCKET)socket, SOL_SOCKET, SO_ERROR, (char *)&error, &length) == 0 ? error : 0;
}

/* SIO_TCP_INFO tells what TCP has sent, but not what Winsock still keeps for it. */
uint64_t wsasec_unacknowledged(int32_t socket)
{
    (void)socket;
    return 0;
}

void wsasec_send_at_once(int32_t socket)
{
    const BOOL on = TRUE;

    (void)setsockopt((SOCKET)socket, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof on);
}

int wsasec_unblock(int32_t socket)
{
    u_long on = 1;

    return ioctlsocket((SOCKET)socket, (long)FIONBIO, &on) ? WSAGetLastError() : 0;
}

void wsasec_close(int32_t socket)
{
    closesocket((SOCKET)socket);
}
