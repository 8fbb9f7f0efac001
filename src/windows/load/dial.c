/* SPDX-License-Identifier: Apache-2.0 */
/* connect() without waiting, and what its answers mean. */
#include <string.h>

#include <winsock2.h>
#include <ws2tcpip.h>

#include "../../load/dial.h"
#include "../../load/system.h"

/* AF_UNSPEC would disconnect a socket. */
int wsasec_dial_is_address(const void *address, size_t size)
{
    uint16_t family;

    memcpy(&family, address, sizeof family);
    return (family == AF_INET && size == sizeof(struct sockaddr_in)) ||
           (family == AF_INET6 && size == sizeof(struct sockaddr_in6));
}

/* Nothing tells whether a socket would block: it is made not to. */
int wsasec_dial_check(int32_t socket)
{
    return socket < 0 ? WSAENOTSOCK : wsasec_unblock(socket);
}

int wsasec_dial(int32_t socket, const void *address, size_t size)
{
    return connect((SOCKET)socket, (const struct sockaddr *)address, (int)size) ? WSAGetLastError() : 0;
}

/*
 * By what was told: a second connect() would not say why the first has failed, and before anything is told SO_ERROR
 * says nothing.
 */
int wsasec_dial_ask(int32_t socket, const void *address, size_t size, uint32_t events)
{
    struct sockaddr_storage peer;
    int length = sizeof peer;
    int error;

    (void)address;
    (void)size;
    if (!events)
        return WSAEWOULDBLOCK;
    error = wsasec_pending_error(socket);
    if (error)
        return error;
    if (getpeername((SOCKET)socket, (struct sockaddr *)&peer, &length) == 0)
        return 0;
    error = WSAGetLastError();
    /* What happened is forgotten. */
    return error == WSAENOTCONN ? WSAECONNABORTED : error;
}

int wsasec_dial_is_open(int error)
{
    return error == WSAEWOULDBLOCK || error == WSAEALREADY;
}

/* An attempt waits for its security association, or for what the system makes of there being none. */
int wsasec_dial_is_refused(int32_t socket, int *error)
{
    (void)socket;
    (void)error;
    return 0;
}
