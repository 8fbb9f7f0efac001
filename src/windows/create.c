/* SPDX-License-Identifier: Apache-2.0 */
/* Making sockets for batches, and closing them. */
#include "../backend.h"

#include <winsock2.h>
#include <ws2tcpip.h>

#include "../core/sockets.h"
#include "failure.h"

int32_t wsasec_backend_make(const wsasec_batch_spec *spec, wsasec_socket *made, struct wsasec_facts *facts,
                            wsasec_status *status)
{
    const SOCKET fresh = WSASocketW(spec->address_family, spec->type, 0, NULL, 0,
                                    WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    u_long on = 1;

    if (fresh == INVALID_SOCKET)
        return wsasec_fail_winsock(status, WSASEC_STEP_CREATE, WSAGetLastError());
    if (fresh > INT32_MAX || ioctlsocket(fresh, (long)FIONBIO, &on)) {
        const int32_t error = fresh > INT32_MAX ? WSAEMFILE : WSAGetLastError();

        closesocket(fresh);
        return wsasec_fail_winsock(status, WSASEC_STEP_CREATE, error);
    }
    *facts = (struct wsasec_facts){.identity = wsasec_socket_next_identity((wsasec_socket)fresh)};
    wsasec_backend_kind(spec, facts);
    *made = (wsasec_socket)fresh;
    return 0;
}

static int set(wsasec_socket socket, int level, int name, int value)
{
    return setsockopt((SOCKET)socket, level, name, (const char *)&value, sizeof value);
}

int32_t wsasec_backend_equip(const wsasec_batch_spec *spec, size_t index, wsasec_socket socket,
                             wsasec_status *status)
{
    const unsigned char *source;

    if ((spec->flags & WSASEC_BATCH_NODELAY && set(socket, IPPROTO_TCP, TCP_NODELAY, 1)) ||
        (spec->send_buffer && set(socket, SOL_SOCKET, SO_SNDBUF, spec->send_buffer)) ||
        (spec->receive_buffer && set(socket, SOL_SOCKET, SO_RCVBUF, spec->receive_buffer)))
        return wsasec_fail_winsock(status, WSASEC_STEP_OPTIONS, WSAGetLastError());
    if (!spec->source_count)
        return 0;
    /* An exclusive port would have a plain socket taken for the secured one that was at its place before. */
    if (spec->flags & WSASEC_BATCH_PLAIN)
        wsasec_socket_release(socket, wsasec_socket_identity(socket));
    source = (const unsigned char *)spec->sources + index % spec->source_count * spec->source_size;
    /* Or any program could take the port over with SO_REUSEADDR. A secured socket has it already. */
    if (set(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1) ||
        bind((SOCKET)socket, (const struct sockaddr *)(const void *)source, (int)spec->source_size))
        return wsasec_fail_winsock(status, WSASEC_STEP_BIND, WSAGetLastError());
    return 0;
}

void wsasec_close_many(int32_t *sockets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sockets[i] >= 0)
            closesocket((SOCKET)sockets[i]);
        sockets[i] = -1;
    }
}
