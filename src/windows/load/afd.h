/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver behind Winsock, asked which of its sockets are ready. No header has its request, which WSAPoll() and
 * select() make; other programs (wepoll, libuv, mio) make it too. Unlike these two functions it can be made for one
 * socket at a time and be waited for at a completion port, so that thousands cost no more than few; and it tells of
 * connections that failed, as WSAPoll() does since Windows 10 2004 only.
 */
#ifndef WSASEC_WINDOWS_LOAD_AFD_H
#define WSASEC_WINDOWS_LOAD_AFD_H

#include <winsock2.h>
#include <windows.h>

#define AFD_POLL_REQUEST 0x00012024u /* of DeviceIoControl() */

enum {
    AFD_RECEIVE = 0x1,
    AFD_SEND = 0x4,
    AFD_DISCONNECT = 0x8, /* by the peer */
    AFD_ABORT = 0x10,
    AFD_LOCAL_CLOSE = 0x20,
    AFD_ACCEPT = 0x80,
    AFD_CONNECT_FAIL = 0x100
};

/* What is asked, and, in the same place, what is answered. */
struct afd_poll {
    LARGE_INTEGER timeout;
    ULONG count; /* of sockets */
    ULONG exclusive;
    HANDLE socket;
    ULONG events;
    LONG status;
};

#endif
