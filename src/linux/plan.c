/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "carrier.h"
#include "failure.h"
#include "options.h"
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
    struct wsasec_family_plan of_device;
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

static void make_exclusive(wsasec_option *options, uint32_t *count)
{
    const int off = 0;

    add(options, count, WSASEC_STEP_EXCLUSIVE, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off);
    add(options, count, WSASEC_STEP_EXCLUSIVE, SOL_SOCKET, SO_REUSEPORT, &off, sizeof off);
}

static void make_options(const struct wsasec_request *request, int family, wsasec_option *options, uint32_t *count)
{
    const int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    const int name = family == AF_INET6 ? IPV6_XFRM_POLICY : IP_XFRM_POLICY;
    const int on = 1;
    struct wsasec_policy policy;

    make_exclusive(options, count);
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

/*
 * The mark first: by it the rules around the device hold a socket that could then not be bound. An IPv6 socket may keep
 * its peers of IPv4, as they are behind the device, too. The index, which differs from realm to realm, is not in the plan.
 */
static void make_device_options(const struct wsasec_request *request, wsasec_option *options, uint32_t *count)
{
    const int nowhere = 0;

    make_exclusive(options, count);
    if (request->skip)
        return;
    add(options, count, WSASEC_STEP_MARK, SOL_SOCKET, SO_MARK, &request->profile->mark, sizeof request->profile->mark);
    add(options, count, WSASEC_STEP_DEVICE, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof nowhere);
}

void wsasec_backend_plan(const struct wsasec_request *request, struct wsasec_plan *opaque)
{
    struct linux_plan *plan = (struct linux_plan *)(void *)opaque->bytes;

    plan->request = request;
    plan->by_family[0].count = plan->by_family[1].count = plan->of_device.count = 0;
}

enum wsasec_carrier wsasec_plan_carrier(const struct wsasec_plan *opaque)
{
    return wsasec_carrier_of(((const struct linux_plan *)(const void *)opaque->bytes)->request->profile);
}

const struct wsasec_family_plan *wsasec_plan_of(struct wsasec_plan *opaque, int family)
{
    struct linux_plan *plan = (struct linux_plan *)(void *)opaque->bytes;
    struct wsasec_family_plan *found = &plan->by_family[family == AF_INET6];

    if (!found->count)
        make_options(plan->request, family, found->options, &found->count);
    return found;
}

const struct wsasec_family_plan *wsasec_plan_of_device(struct wsasec_plan *opaque)
{
    struct linux_plan *plan = (struct linux_plan *)(void *)opaque->bytes;

    if (!plan->of_device.count)
        make_device_options(plan->request, plan->of_device.options, &plan->of_device.count);
    return &plan->of_device;
}

/* Without a device where the profile says that it is one, this is its plan all the same: it is refused there. */
const struct wsasec_family_plan *wsasec_plan_for(struct wsasec_plan *opaque, const struct wsasec_facts *facts)
{
    const struct wsasec_profile *profile = ((const struct linux_plan *)(const void *)opaque->bytes)->request->profile;

    if (facts->device || (profile && profile->carrier == WSASEC_CARRIER_DEVICE))
        return wsasec_plan_of_device(opaque);
    return wsasec_plan_of(opaque, facts->family == WSASEC_FAMILY_INET6 ? AF_INET6 : AF_INET);
}

int wsasec_plan_lacks_device(const struct wsasec_family_plan *mine, const struct wsasec_facts *facts)
{
    return !facts->device && mine->options[mine->count - 1].step == WSASEC_STEP_DEVICE;
}

const void *wsasec_plan_value(const struct wsasec_plan *opaque, const wsasec_option *option,
                              const struct wsasec_facts *facts, uint32_t *mark)
{
    const struct wsasec_request *request = ((const struct linux_plan *)(const void *)opaque->bytes)->request;

    if (option->step == WSASEC_STEP_DEVICE)
        return &facts->device;
    if (option->step != WSASEC_STEP_MARK)
        return option->value;
    /* bits outside the mask belong to others */
    *mark = (facts->mark & ~request->profile->mask) | request->profile->mark;
    return mark;
}

int32_t wsasec_plan_carry_out(struct wsasec_plan *opaque, const struct wsasec_facts *facts, uint32_t from,
                              wsasec_socket socket, wsasec_status *status)
{
    const struct wsasec_family_plan *mine = wsasec_plan_for(opaque, facts);

    if (wsasec_plan_lacks_device(mine, facts))
        return wsasec_fail(status, WSASEC_STEP_DEVICE, WSASEC_REASON_NO_DEVICE, 0);
    for (uint32_t i = from; i < mine->count; i++) {
        const wsasec_option *option = &mine->options[i];
        uint32_t mark;
        const void *value = wsasec_plan_value(opaque, option, facts, &mark);

        if (setsockopt((int)socket, option->level, option->name, value, option->length))
            return wsasec_fail_errno(status, option->step, errno);
    }
    return 0;
}
