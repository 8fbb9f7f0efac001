/* SPDX-License-Identifier: Apache-2.0 */
/* What a listener asks of its socket. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "../../load/listener.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55 /* Linux 4.12 */
#endif

enum { MEMINFO_DROPS = 8, MEMINFO_VALUES = 9 };

static int get(int fd, int name)
{
    int value = 0;
    socklen_t length = sizeof value;

    return getsockopt(fd, SOL_SOCKET, name, &value, &length) ? -1 : value;
}

/* Datagram sockets may by either option. */
int wsasec_listener_shares_port(int32_t fd, int type)
{
    return get(fd, SO_REUSEPORT) != 0 || (type == WSASEC_TYPE_DGRAM && get(fd, SO_REUSEADDR) != 0);
}

int wsasec_listener_listens(int32_t fd)
{
    return get(fd, SO_ACCEPTCONN) == 1;
}

int wsasec_listener_take(int32_t fd, int type, int *before)
{
    (void)type;
    *before = fcntl(fd, F_GETFL);
    return *before < 0 || fcntl(fd, F_SETFL, *before | O_NONBLOCK) ? errno : 0;
}

void wsasec_listener_give_back(int32_t fd, int before)
{
    (void)fcntl(fd, F_SETFL, before);
}

/* SO_RXQ_OVFL tells the same number, but only beside the next datagram, and at a price for each. */
int wsasec_listener_drops(int32_t fd, uint32_t *drops)
{
    uint32_t values[MEMINFO_VALUES] = {0};
    socklen_t length = sizeof values;

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &length))
        return 0;
    *drops = values[MEMINFO_DROPS];
    return 1;
}
