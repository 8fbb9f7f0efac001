/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Windows tells of a socket. It gives it no number that no other ever has: so a socket whose port is not exclusive
 * is taken for a new one at its place, as WSASetSocketSecurity makes the port of each socket exclusive that it secures.
 */
#include "inspect.h"

#include <string.h>
#include <winsock2.h>
#include <ws2tcpip.h>

#include "../core/sockets.h"
#include "failure.h"
#include "library.h"

uint8_t wsasec_type_of(int type)
{
    return type == SOCK_STREAM ? WSASEC_TYPE_STREAM : type == SOCK_DGRAM ? WSASEC_TYPE_DGRAM : WSASEC_TYPE_OTHER;
}

static uint8_t family_of(int address_family)
{
    return address_family == AF_INET    ? WSASEC_FAMILY_INET
           : address_family == AF_INET6 ? WSASEC_FAMILY_INET6
                                        : WSASEC_FAMILY_OTHER;
}

_Static_assert(sizeof(struct sockaddr_in) == 16 && sizeof(struct sockaddr_in6) == 28, "as the core has them");

void wsasec_backend_kind(const wsasec_batch_spec *spec, struct wsasec_facts *facts)
{
    facts->family = family_of(spec->address_family);
    facts->type = wsasec_type_of(spec->type);
}

static int get(wsasec_socket socket, int name, void *value, int length)
{
    return getsockopt((SOCKET)socket, SOL_SOCKET, name, value, &length);
}

static int is_bound(wsasec_socket socket)
{
    struct sockaddr_storage name;
    int length = sizeof name;

    return getsockname((SOCKET)socket, (struct sockaddr *)&name, &length) == 0; /* WSAEINVAL before bind() */
}

static uint64_t identity_of(wsasec_socket socket)
{
    const uint64_t last = wsasec_socket_identity(socket);
    BOOL exclusive = FALSE;

    if (last && get(socket, SO_EXCLUSIVEADDRUSE, (void *)&exclusive, sizeof exclusive) == 0 && exclusive)
        return last;
    return wsasec_socket_next_identity(socket);
}

int32_t wsasec_backend_inspect(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status)
{
    WSAPROTOCOL_INFOW info;
    int32_t code = wsasec_winsock_start(status);

    memset(facts, 0, sizeof *facts);
    if (code)
        return code;
    /* Beyond 32 bits there are no handles, and the place of a socket is told by its number. */
    if (socket < 0 || socket > INT32_MAX)
        return wsasec_fail_winsock(status, WSASEC_STEP_DESCRIPTOR, WSAENOTSOCK);
    if (get(socket, SO_PROTOCOL_INFOW, &info, sizeof info))
        return wsasec_fail_winsock(status, WSASEC_STEP_DESCRIPTOR, WSAGetLastError());
    facts->family = family_of(info.iAddressFamily);
    facts->type = wsasec_type_of(info.iSocketType);
    facts->bound = (uint8_t)is_bound(socket);
    facts->identity = identity_of(socket);
    return 0;
}

int wsasec_backend_checks_sockets(void)
{
    return 1;
}

uint16_t wsasec_backend_bound_reason(wsasec_socket socket)
{
    struct sockaddr_storage peer;
    int length = sizeof peer;
    BOOL listening = FALSE;

    if (getpeername((SOCKET)socket, (struct sockaddr *)&peer, &length) == 0)
        return WSASEC_REASON_CONNECTED;
    if (get(socket, SO_ACCEPTCONN, (void *)&listening, sizeof listening) == 0 && listening)
        return WSASEC_REASON_LISTENING;
    return WSASEC_REASON_BOUND;
}

int32_t wsasec_backend_realm(wsasec_socket socket, uint64_t *realm, wsasec_status *status)
{
    (void)socket;
    (void)status;
    *realm = 1; /* there is one */
    return 0;
}
