/* SPDX-License-Identifier: Apache-2.0 */
/* The backend of Linux: per-socket IPsec policies (XFRM) and the guard's mark. */
#include "../backend.h"

#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "../core/profiles.h"
#include "carrier.h"
#include "daemon_connections.h"
#include "device.h"
#include "failure.h"
#include "guard.h"
#include "inspect.h"
#include "one_call.h"
#include "options.h"
#include "plan.h"
#include "realm.h"

static int address_family(uint8_t family)
{
    return family == WSASEC_FAMILY_INET6 ? AF_INET6 : AF_INET;
}

static int get(wsasec_socket socket, int name, void *value, socklen_t length)
{
    return getsockopt((int)socket, SOL_SOCKET, name, value, &length);
}

/* getsockname tells two facts at once: the family, and whether the socket is bound. */
int wsasec_inspect_name(wsasec_socket socket, struct wsasec_facts *facts)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } name = {.in6 = {0}};
    socklen_t length = sizeof name;

    if (getsockname((int)socket, &name.any, &length))
        return errno;
    switch (name.any.sa_family) {
    case AF_INET:
        facts->family = WSASEC_FAMILY_INET;
        facts->bound = name.in.sin_port != 0 || name.in.sin_addr.s_addr != htonl(INADDR_ANY);
        break;
    case AF_INET6:
        facts->family = WSASEC_FAMILY_INET6;
        facts->bound = name.in6.sin6_port != 0 || memcmp(&name.in6.sin6_addr, &in6addr_any, 16) != 0;
        break;
    default:
        facts->family = WSASEC_FAMILY_OTHER;
        break;
    }
    return 0;
}

uint8_t wsasec_type_of(int type)
{
    return type == SOCK_STREAM ? WSASEC_TYPE_STREAM : type == SOCK_DGRAM ? WSASEC_TYPE_DGRAM : WSASEC_TYPE_OTHER;
}

int32_t wsasec_backend_inspect(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status)
{
    int type;
    int error;

    memset(facts, 0, sizeof *facts);
    if (socket < 0 || socket > INT_MAX)
        return wsasec_fail(status, WSASEC_STEP_DESCRIPTOR, WSASEC_REASON_NOT_A_SOCKET, EBADF);
    error = wsasec_inspect_name(socket, facts);
    if (error)
        return wsasec_fail_errno(status, WSASEC_STEP_DESCRIPTOR, error);
    if (facts->family == WSASEC_FAMILY_OTHER)
        return 0;
    if (get(socket, SO_TYPE, &type, sizeof type))
        return wsasec_fail_errno(status, WSASEC_STEP_KIND, errno);
    facts->type = wsasec_type_of(type);
    if (get(socket, SO_COOKIE, &facts->identity, sizeof facts->identity) ||
        get(socket, SO_MARK, &facts->mark, sizeof facts->mark))
        return wsasec_fail_errno(status, WSASEC_STEP_STATE, errno);
    if (get(socket, SO_NETNS_COOKIE, &facts->realm, sizeof facts->realm))
        return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_NAMESPACE, errno);
    return 0;
}

/* The kernel takes a policy for a socket whatever state that is in. */
int wsasec_backend_checks_sockets(void)
{
    return 0;
}

int wsasec_backend_has_profiles(void)
{
    return 1;
}

uint16_t wsasec_backend_bound_reason(wsasec_socket socket)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int listening = 0;

    if (getpeername((int)socket, (struct sockaddr *)&peer, &length) == 0)
        return WSASEC_REASON_CONNECTED;
    if (get(socket, SO_ACCEPTCONN, &listening, sizeof listening) == 0 && listening)
        return WSASEC_REASON_LISTENING;
    return WSASEC_REASON_BOUND;
}

int32_t wsasec_backend_realm(wsasec_socket socket, uint64_t *realm, wsasec_status *status)
{
    if (get(socket, SO_NETNS_COOKIE, realm, sizeof *realm))
        return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_NAMESPACE, errno);
    return 0;
}

static int32_t ready(const struct wsasec_request *request, uint64_t realm, wsasec_socket socket, int family,
                     uint32_t *device, wsasec_status *status)
{
    switch (wsasec_carrier_of(request->profile)) {
    case WSASEC_CARRIER_POLICY:
        return wsasec_guard_ready(realm, socket, request->required ? request->profile : NULL, family, status);
    case WSASEC_CARRIER_DEVICE:
        return wsasec_device_ready(realm, socket, request->profile, family, device, status);
    default: /* only a broker may know */
        return wsasec_fail(status, WSASEC_STEP_DEVICE, WSASEC_REASON_PRIVILEGE, 0);
    }
}

int32_t wsasec_backend_ready(const struct wsasec_request *request, struct wsasec_facts *facts,
                             wsasec_socket socket, wsasec_status *status)
{
    facts->device = 0;
    return ready(request, facts->realm, socket, address_family(facts->family), &facts->device, status);
}

int32_t wsasec_backend_apply(struct wsasec_plan *opaque, const struct wsasec_facts *facts, wsasec_socket socket,
                             wsasec_status *status)
{
    /* The first option is for datagram sockets only. */
    return wsasec_plan_carry_out(opaque, facts, facts->type == WSASEC_TYPE_STREAM, socket, status);
}

int32_t wsasec_backend_apply_fresh(struct wsasec_plan *opaque, const struct wsasec_facts *facts,
                                   wsasec_socket socket, wsasec_status *status)
{
    /* It does no less, in one call in place of two. */
    if (facts->device && wsasec_one_call_may_be(facts->realm) && wsasec_backend_one_call(facts, socket))
        return 0;
    return wsasec_plan_carry_out(opaque, facts, WSASEC_PLAN_FRESH, socket, status);
}

/* By name: its interface has that in the socket's own namespace, which need not be the caller's. */
static int is_on_device(wsasec_socket socket, const wsasec_profile *profile)
{
    char wanted[WSASEC_DEVICE_NAME];
    char found[WSASEC_DEVICE_NAME] = "";

    wsasec_device_name(profile, wanted);
    return get(socket, SO_BINDTODEVICE, found, sizeof found) == 0 && strncmp(found, wanted, sizeof wanted) == 0;
}

/*
 * For a socket on a device, which it takes CAP_NET_RAW to bind elsewhere: nothing can be sent on it nor read from it,
 * though it be connected. What the kernel still sends for it (a SYN, a FIN) goes by the device, in ESP, if that is the
 * secure one. Only a TCP socket that is disconnected gets out of that.
 */
static void close_up(wsasec_socket socket)
{
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    const struct sock_fprog program = {.len = 1, .filter = nothing};
    const int on = 1;

    (void)shutdown((int)socket, SHUT_RDWR);
    /* Nothing can then be connected to a TCP socket, either; some kernels want a privilege for that. */
    if (setsockopt((int)socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0)
        (void)setsockopt((int)socket, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on);
}

/*
 * Bound to an interface that there is not, a socket finds no route for anything. It needs no privilege, and takes
 * CAP_NET_RAW to undo.
 */
int32_t wsasec_backend_block(wsasec_socket socket)
{
    const int nowhere = INT_MAX;
    const wsasec_profile *profile;
    uint32_t mark = 0;
    uint16_t number;
    int bound = 0;
    int type = 0;

    /* A datagram socket leaves any binding by IP_PKTINFO, or by connect() to AF_UNSPEC; not this. */
    if (get(socket, SO_TYPE, &type, sizeof type) == 0 && type == SOCK_DGRAM)
        (void)shutdown((int)socket, SHUT_RDWR); /* of one that is not connected it says so, and takes effect */
    if (setsockopt((int)socket, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof nowhere) == 0)
        return 0;
    if (get(socket, SO_BINDTOIFINDEX, &bound, sizeof bound) == 0 && bound == nowhere)
        return 0;
    profile = get(socket, SO_MARK, &mark, sizeof mark) ? NULL : wsasec_profile_of_mark(mark, &number);
    if (!bound || !profile || wsasec_carrier_of(profile) == WSASEC_CARRIER_POLICY)
        return -WSASEC_WSAEACCES;
    /* On another interface, too: it is all that can be done there, though it may not be enough. */
    close_up(socket);
    return is_on_device(socket, profile) ? 0 : -WSASEC_WSAEACCES;
}

int32_t wsasec_backend_options(const struct wsasec_request *request, struct wsasec_plan *opaque, int family,
                               wsasec_option *options, size_t *count, wsasec_status *status)
{
    const struct wsasec_family_plan *mine;
    wsasec_status own;
    uint32_t device = 0;
    int32_t code;

    if (family != AF_INET && family != AF_INET6)
        return wsasec_fail(status, WSASEC_STEP_KIND, WSASEC_REASON_FAMILY, 0);
    code = request->skip ? 0 : ready(request, WSASEC_REALM_HERE, -1, family, &device, status ? status : &own);
    if (code)
        return code;
    /* Without the first: clients set SO_REUSEADDR on stream sockets for good reasons. */
    mine = device ? wsasec_plan_of_device(opaque) : wsasec_plan_of(opaque, family);
    *count = mine->count - 1;
    memcpy(options, mine->options + 1, *count * sizeof *options);
    for (size_t i = 0; i < *count; i++)
        if (options[i].step == WSASEC_STEP_DEVICE)
            memcpy(options[i].value, &device, sizeof device);
    return 0;
}

int32_t wsasec_backend_guard_state(const wsasec_profile *profile, int family, wsasec_status *status)
{
    if (family != AF_INET && family != AF_INET6)
        return wsasec_fail(status, WSASEC_STEP_KIND, WSASEC_REASON_FAMILY, 0);
    switch (wsasec_carrier_of(profile)) {
    case WSASEC_CARRIER_POLICY:
        return wsasec_guard_look(profile, family, status);
    case WSASEC_CARRIER_DEVICE:
        return wsasec_device_look(profile, family, status);
    default:
        return wsasec_fail(status, WSASEC_STEP_DEVICE, WSASEC_REASON_PRIVILEGE, 0);
    }
}

void wsasec_backend_release(void)
{
    wsasec_realms_close();
    wsasec_daemon_release();
}
