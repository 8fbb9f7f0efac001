/* SPDX-License-Identifier: Apache-2.0 */
/* The backend of Linux: per-socket IPsec policies (XFRM) and the guard's mark. */
#include "../backend.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "failure.h"
#include "guard.h"
#include "policy.h"
#include "realm.h"

#ifndef IP_XFRM_POLICY
#define IP_XFRM_POLICY 17
#endif
#ifndef IPV6_XFRM_POLICY
#define IPV6_XFRM_POLICY 35
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62 /* Linux 5.0 */
#endif

/* The options of one family; the first is for datagram sockets only. */
struct family_plan {
    uint32_t count; /* 0: not yet made */
    wsasec_option options[WSASEC_OPTIONS_MAX];
};

struct linux_plan {
    const struct wsasec_request *request;
    struct family_plan by_family[2];
};
_Static_assert(sizeof(struct linux_plan) <= sizeof(struct wsasec_plan), "the seam leaves room for the plan");

static int address_family(uint8_t family)
{
    return family == WSASEC_FAMILY_INET6 ? AF_INET6 : AF_INET;
}

static int get(wsasec_socket socket, int name, void *value, socklen_t length)
{
    return getsockopt((int)socket, SOL_SOCKET, name, value, &length);
}

/* getsockname tells two facts at once: the family, and whether the socket is bound. */
static int inspect_name(wsasec_socket socket, struct wsasec_facts *facts)
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

int32_t wsasec_backend_inspect(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status)
{
    int type;
    int error;

    memset(facts, 0, sizeof *facts);
    if (socket < 0 || socket > INT_MAX)
        return wsasec_fail(status, WSASEC_STEP_DESCRIPTOR, WSASEC_REASON_NOT_A_SOCKET, EBADF);
    error = inspect_name(socket, facts);
    if (error)
        return wsasec_fail_errno(status, WSASEC_STEP_DESCRIPTOR, error);
    if (facts->family == WSASEC_FAMILY_OTHER)
        return 0;
    if (get(socket, SO_TYPE, &type, sizeof type))
        return wsasec_fail_errno(status, WSASEC_STEP_KIND, errno);
    facts->type = type == SOCK_STREAM ? WSASEC_TYPE_STREAM
                  : type == SOCK_DGRAM ? WSASEC_TYPE_DGRAM
                                       : WSASEC_TYPE_OTHER;
    if (get(socket, SO_COOKIE, &facts->identity, sizeof facts->identity) ||
        get(socket, SO_MARK, &facts->mark, sizeof facts->mark))
        return wsasec_fail_errno(status, WSASEC_STEP_STATE, errno);
    if (get(socket, SO_NETNS_COOKIE, &facts->realm, sizeof facts->realm))
        return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_NAMESPACE, errno);
    return 0;
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

static void add(wsasec_option *options, uint32_t *count, unsigned step, int level, int name, const void *value,
                uint32_t length)
{
    wsasec_option *option = &options[(*count)++];

    option->level = level;
    option->name = name;
    option->length = length;
    option->step = step;
    memcpy(option->value, value, length);
}

static void make_options(const struct wsasec_request *request, int family, wsasec_option *options, uint32_t *count)
{
    const int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    const int name = family == AF_INET6 ? IPV6_XFRM_POLICY : IP_XFRM_POLICY;
    const int off = 0;
    const int on = 1;
    struct wsasec_policy policy;

    add(options, count, WSASEC_STEP_EXCLUSIVE, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off);
    add(options, count, WSASEC_STEP_EXCLUSIVE, SOL_SOCKET, SO_REUSEPORT, &off, sizeof off);
    if (request->skip)
        return;
    /* A socket has one policy slot for one family: IPv4-mapped peers would be in clear. */
    if (family == AF_INET6)
        add(options, count, WSASEC_STEP_V6ONLY, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    wsasec_policy_make(&policy, request->profile, family, XFRM_POLICY_OUT, request->required);
    add(options, count, WSASEC_STEP_POLICY_OUT, level, name, &policy, sizeof policy);
    wsasec_policy_make(&policy, request->profile, family, XFRM_POLICY_IN, request->required);
    add(options, count, WSASEC_STEP_POLICY_IN, level, name, &policy, sizeof policy);
    /* A socket that may go on in clear gets no mark: the guard would hold its packets back. */
    if (request->required)
        add(options, count, WSASEC_STEP_MARK, SOL_SOCKET, SO_MARK, &request->profile->mark,
            sizeof request->profile->mark);
}

void wsasec_backend_plan(const struct wsasec_request *request, struct wsasec_plan *opaque)
{
    struct linux_plan *plan = (struct linux_plan *)(void *)opaque->bytes;

    plan->request = request;
    plan->by_family[0].count = plan->by_family[1].count = 0;
}

static const struct family_plan *plan_of(struct linux_plan *plan, int family)
{
    struct family_plan *found = &plan->by_family[family == AF_INET6];

    if (!found->count)
        make_options(plan->request, family, found->options, &found->count);
    return found;
}

int32_t wsasec_backend_ready(const struct wsasec_request *request, const struct wsasec_facts *facts,
                             wsasec_socket socket, wsasec_status *status)
{
    return wsasec_guard_ready(facts->realm, socket, request->required ? request->profile : NULL,
                              address_family(facts->family), status);
}

int32_t wsasec_backend_apply(struct wsasec_plan *opaque, const struct wsasec_facts *facts, wsasec_socket socket,
                             wsasec_status *status)
{
    struct linux_plan *plan = (struct linux_plan *)(void *)opaque->bytes;
    const struct family_plan *mine = plan_of(plan, address_family(facts->family));

    for (uint32_t i = facts->type == WSASEC_TYPE_STREAM; i < mine->count; i++) {
        const wsasec_option *option = &mine->options[i];
        const void *value = option->value;
        uint32_t mark;

        if (option->step == WSASEC_STEP_MARK) { /* bits outside the mask belong to others */
            mark = (facts->mark & ~plan->request->profile->mask) | plan->request->profile->mark;
            value = &mark;
        }
        if (setsockopt((int)socket, option->level, option->name, value, option->length))
            return wsasec_fail_errno(status, option->step, errno);
    }
    return 0;
}

/*
 * Bound to an interface that there is not, a socket finds no route for anything. It needs no privilege, and takes
 * CAP_NET_RAW to undo.
 */
int32_t wsasec_backend_block(wsasec_socket socket)
{
    const int nowhere = INT_MAX;
    int bound = 0;

    if (setsockopt((int)socket, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof nowhere) == 0)
        return 0;
    if (get(socket, SO_BINDTOIFINDEX, &bound, sizeof bound) == 0 && bound == nowhere)
        return 0;
    return -WSASEC_WSAEACCES;
}

int32_t wsasec_backend_options(const struct wsasec_request *request, struct wsasec_plan *opaque, int family,
                               wsasec_option *options, size_t *count, wsasec_status *status)
{
    const struct family_plan *mine;
    wsasec_status own;
    int32_t code;

    if (family != AF_INET && family != AF_INET6)
        return wsasec_fail(status, WSASEC_STEP_KIND, WSASEC_REASON_FAMILY, 0);
    code = request->skip ? 0
                         : wsasec_guard_ready(WSASEC_REALM_HERE, -1, request->required ? request->profile : NULL,
                                              family, status ? status : &own);
    if (code)
        return code;
    /* Without the first: clients set SO_REUSEADDR on stream sockets for good reasons. */
    mine = plan_of((struct linux_plan *)(void *)opaque->bytes, family);
    *count = mine->count - 1;
    memcpy(options, mine->options + 1, *count * sizeof *options);
    return 0;
}

int32_t wsasec_backend_guard_state(const wsasec_profile *profile, int family, wsasec_status *status)
{
    if (family != AF_INET && family != AF_INET6)
        return wsasec_fail(status, WSASEC_STEP_KIND, WSASEC_REASON_FAMILY, 0);
    return wsasec_guard_look(profile, family, status);
}

void wsasec_backend_release(void)
{
    wsasec_realms_close();
}
