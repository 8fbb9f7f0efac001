/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "failure.h"
#include "policy.h"

#ifndef IP_XFRM_POLICY
#define IP_XFRM_POLICY 17
#endif
#ifndef IPV6_XFRM_POLICY
#define IPV6_XFRM_POLICY 35
#endif

struct linux_plan {
    const struct wsasec_request *request;
    struct wsasec_family_plan by_family[2];
};
_Static_assert(sizeof(struct linux_plan) <= sizeof(struct wsasec_plan), "the seam leaves room for the plan");

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

const struct wsasec_family_plan *wsasec_plan_of(struct wsasec_plan *opaque, int family)
{
    struct linux_plan *plan = (struct linux_plan *)(void *)opaque->bytes;
    struct wsasec_family_plan *found = &plan->by_family[family == AF_INET6];

    if (!found->count)
        make_options(plan->request, family, found->options, &found->count);
    return found;
}

const void *wsasec_plan_value(const struct wsasec_plan *opaque, const wsasec_option *option,
                              const struct wsasec_facts *facts, uint32_t *mark)
{
    const struct wsasec_request *request = ((const struct linux_plan *)(const void *)opaque->bytes)->request;

    if (option->step != WSASEC_STEP_MARK)
        return option->value;
    /* bits outside the mask belong to others */
    *mark = (facts->mark & ~request->profile->mask) | request->profile->mark;
    return mark;
}

int32_t wsasec_plan_carry_out(struct wsasec_plan *opaque, const struct wsasec_facts *facts, uint32_t from,
                              wsasec_socket socket, wsasec_status *status)
{
    const struct wsasec_family_plan *mine =
        wsasec_plan_of(opaque, facts->family == WSASEC_FAMILY_INET6 ? AF_INET6 : AF_INET);

    for (uint32_t i = from; i < mine->count; i++) {
        const wsasec_option *option = &mine->options[i];
        uint32_t mark;
        const void *value = wsasec_plan_value(opaque, option, facts, &mark);

        if (setsockopt((int)socket, option->level, option->name, value, option->length))
            return wsasec_fail_errno(status, option->step, errno);
    }
    return 0;
}
