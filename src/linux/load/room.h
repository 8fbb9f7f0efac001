/* SPDX-License-Identifier: Apache-2.0 */
/* What EAGAIN means when a datagram is sent. */
#ifndef WSASEC_LINUX_LOAD_ROOM_H
#define WSASEC_LINUX_LOAD_ROOM_H

#include <poll.h>

/*
 * Whether the send buffer takes a datagram, within so many milliseconds. If it does, and sending gives EAGAIN all the
 * same, there is no security association, of which nobody tells the end.
 */
static inline int wsasec_has_room(int fd, int milliseconds)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};

    return poll(&writable, 1, milliseconds) == 1;
}

#endif
