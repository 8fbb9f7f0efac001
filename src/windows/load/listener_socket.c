/* SPDX-License-Identifier: Apache-2.0 */
/* What a listener asks of its socket. */
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>

#include "../../load/listener.h"

#ifndef SIO_UDP_CONNRESET
#define SIO_UDP_CONNRESET _WSAIOW(IOC_VENDOR, 12) /* mstcpip.h, where it is not in all versions */
#endif

static int get(int32_t fd, int name)
{
    int value = 0;
    int length = sizeof value;

    return getsockopt((SOCKET)fd, SOL_SOCKET, name, (char *)&value, &length) ? -1 : value;
}

/* SO_REUSEADDR here is what SO_REUSEPORT is elsewhere, and SO_EXCLUSIVEADDRUSE keeps others from using it. */
int wsasec_listener_shares_port(int32_t fd, int type)
{
    (void)type;
    return get(fd, SO_REUSEADDR) != 0;
}

int wsasec_listener_listens(int32_t fd)
{
    return get(fd, SO_ACCEPTCONN) == 1;
}

/* A datagram that nobody takes would come back as an error of the next to be received, whoever sent that. */
int wsasec_listener_take(int32_t fd, int type, int *before)
{
    BOOL off = FALSE;
    DWORD size;

    *before = 0;
    if (type == WSASEC_TYPE_DGRAM)
        (void)WSAIoctl((SOCKET)fd, SIO_UDP_CONNRESET, &off, sizeof off, NULL, 0, &size, NULL, NULL);
    return wsasec_unblock(fd);
}

/* Whether it was blocking is not known: most are. */
void wsasec_listener_give_back(int32_t fd, int before)
{
    u_long off = 0;

    (void)before;
    (void)ioctlsocket((SOCKET)fd, (long)FIONBIO, &off);
}

/* Nothing tells, for a single socket. */
int wsasec_listener_drops(int32_t fd, uint32_t *drops)
{
    (void)fd;
    (void)drops;
    return 0;
}
