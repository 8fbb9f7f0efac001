/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting connections. */
#include "../backend.h"

#include <winsock2.h>
#include <ws2tcpip.h>

#include "../core/sockets.h"
#include "failure.h"

static int32_t fail_accept(wsasec_status *status, int error)
{
    int32_t code = wsasec_fail_winsock(status, WSASEC_STEP_ACCEPT, error);

    switch (error) {
    case WSAEINVAL:
    case WSAEOPNOTSUPP:
        status->reason = WSASEC_REASON_NOT_LISTENING;
        break;
    case WSAECONNRESET: /* the peer had gone before it was accepted */
        status->reason = WSASEC_REASON_CONNECTION_GONE;
        break;
    default:
        break;
    }
    return code;
}

int32_t wsasec_backend_accept(wsasec_socket listener, int nonblocking, wsasec_socket *accepted, uint64_t *identity,
                              void *address, uint32_t *address_len, wsasec_status *status)
{
    int length = address ? (int)*address_len : 0;
    u_long mode = nonblocking != 0;
    SOCKET fresh = accept((SOCKET)listener, address, address ? &length : NULL);

    if (fresh == INVALID_SOCKET)
        return fail_accept(status, WSAGetLastError());
    /* It blocks as its listener does, and programs that are started would have it. */
    if (fresh > INT32_MAX || ioctlsocket(fresh, (long)FIONBIO, &mode) ||
        !SetHandleInformation((HANDLE)fresh, HANDLE_FLAG_INHERIT, 0)) {
        const int error = fresh > INT32_MAX ? WSAEMFILE : WSAGetLastError();

        wsasec_backend_abandon((wsasec_socket)fresh);
        return wsasec_fail_winsock(status, WSASEC_STEP_ACCEPT, error);
    }
    if (address)
        *address_len = (uint32_t)length;
    if (identity)
        *identity = wsasec_socket_next_identity((wsasec_socket)fresh);
    *accepted = (wsasec_socket)fresh;
    return 0;
}

int32_t wsasec_backend_silence(wsasec_socket socket)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt((SOCKET)socket, SOL_SOCKET, SO_LINGER, (const char *)&at_once, sizeof at_once);
    return wsasec_backend_block(socket);
}

void wsasec_backend_abandon(wsasec_socket socket)
{
    (void)wsasec_backend_silence(socket);
    closesocket((SOCKET)socket);
}
