/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Windows tells of a socket. It gives it no number that no other ever has: so a socket whose port is not exclusive
 * is taken for a new one, as WSASetSocketSecurity makes the port of each socket exclusive that it secures.
 */
#include "inspect.h"

#include <stdatomic.h>
#include <string.h>
#include <winsock2.h>
#include <ws2tcpip.h>

#include "../core/sockets.h"
#include "failure.h"
#include "library.h"
#include "plan.h"

enum { IDENTITIES_AT_A_TIME = 256 };

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

/* So many numbers that nobody else has; the first of them. */
static uint64_t identities_new(uint64_t count)
{
    static _Atomic uint64_t last;

    return atomic_fetch_add_explicit(&last, count, memory_order_relaxed) + 1;
}

uint64_t wsasec_identity_new(void)
{
    return identities_new(1);
}

/* A counter that all threads share is dear, so a plan for many sockets takes several numbers at a time. */
static uint64_t identity_of_plan(struct wsasec_windows_plan *plan)
{
    if (plan->next_identity == plan->end_identity) {
        plan->taken = !plan->taken ? 1 : plan->taken < IDENTITIES_AT_A_TIME ? 2 * plan->taken : plan->taken;
        plan->next_identity = identities_new(plan->taken);
        plan->end_identity = plan->next_identity + plan->taken;
    }
    return plan->next_identity++;
}

void wsasec_facts_of_fresh(int address_family, int type, struct wsasec_facts *facts)
{
    memset(facts, 0, sizeof *facts);
    facts->identity = wsasec_identity_new();
    facts->family = family_of(address_family);
    facts->type = wsasec_type_of(type);
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
    return wsasec_identity_new();
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

int32_t wsasec_backend_inspect_to_secure(const struct wsasec_request *request, struct wsasec_plan *plan,
                                         wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status)
{
    if (request->buffer_reason || request->member_reason)
        return wsasec_backend_inspect(socket, facts, status);
    if (socket < 0 || socket > INT32_MAX)
        return wsasec_fail_winsock(status, WSASEC_STEP_DESCRIPTOR, WSAENOTSOCK);
    facts->identity = identity_of_plan(wsasec_plan_of(plan));
    facts->realm = 0;
    facts->mark = 0;
    facts->family = WSASEC_FAMILY_UNASKED;
    facts->type = WSASEC_TYPE_UNASKED;
    facts->bound = 0;
    return 0;
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
