/* SPDX-License-Identifier: Apache-2.0 */
#include "guard_policy.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "failure.h"
#include "policy.h"

struct expected {
    struct wsasec_policy policy;
    struct xfrm_mark mark;
    int equal;
    int rival;
    uint64_t added; /* when the policy was, in seconds of the wall clock */
};

static void expect(struct expected *expected, const wsasec_profile *profile, int address_family)
{
    wsasec_policy_make(&expected->policy, profile, address_family, XFRM_POLICY_OUT, 1);
    expected->mark = (struct xfrm_mark){.v = profile->mark, .m = profile->mask};
    expected->equal = expected->rival = 0;
    expected->added = 0;
}

static int equal_enough(const struct wsasec_policy *want, const struct xfrm_userpolicy_info *info,
                        const struct xfrm_user_tmpl *tmpl)
{
    return memcmp(&want->info.sel, &info->sel, sizeof info->sel) == 0 && info->dir == want->info.dir &&
           !info->priority && info->action == XFRM_POLICY_ALLOW && info->lft.hard_byte_limit == XFRM_INF &&
           info->lft.hard_packet_limit == XFRM_INF && !info->lft.hard_add_expires_seconds &&
           !info->lft.hard_use_expires_seconds && tmpl->id.proto == want->tmpl.id.proto && !tmpl->id.spi &&
           tmpl->family == want->tmpl.family && tmpl->reqid == want->tmpl.reqid &&
           tmpl->mode == XFRM_MODE_TRANSPORT && !tmpl->optional;
}

static void compare(void *context, const struct nlmsghdr *message)
{
    struct expected *expected = context;
    struct xfrm_userpolicy_info info;
    struct xfrm_user_tmpl tmpl;
    struct xfrm_mark mark;
    size_t templates;
    const void *found;

    if (message->nlmsg_type != XFRM_MSG_NEWPOLICY || message->nlmsg_len < NLMSG_LENGTH(sizeof info))
        return;
    memcpy(&info, NLMSG_DATA(message), sizeof info);
    expected->added = info.curlft.add_time;
    found = wsasec_attribute(message, sizeof info, XFRMA_TMPL, sizeof tmpl, &templates);
    if (!found || templates != sizeof tmpl)
        return;
    memcpy(&tmpl, found, sizeof tmpl);
    found = wsasec_attribute(message, sizeof info, XFRMA_MARK, sizeof mark, NULL);
    if (!found)
        return;
    memcpy(&mark, found, sizeof mark);
    if (wsasec_attribute(message, sizeof info, XFRMA_IF_ID, sizeof(uint32_t), NULL))
        return;
    expected->equal = mark.v == expected->mark.v && mark.m == expected->mark.m &&
                      equal_enough(&expected->policy, &info, &tmpl);
}

/* Returns 0 (there, as it should be), ENOENT, EEXIST (there, but another), or another errno. */
static int policy_look(struct wsasec_realm *realm, struct expected *expected)
{
    struct xfrm_userpolicy_id id = {.sel = expected->policy.info.sel, .dir = XFRM_POLICY_OUT};
    struct wsasec_message message;
    int error;

    wsasec_message_start(&message, XFRM_MSG_GETPOLICY, NLM_F_ACK, &id, sizeof id);
    wsasec_message_attribute(&message, XFRMA_MARK, &expected->mark, sizeof expected->mark);
    error = -wsasec_netlink_call(&realm->xfrm, &message, compare, expected);
    if (error)
        return error;
    return expected->equal ? 0 : EEXIST;
}

static int policy_add(struct wsasec_realm *realm, const struct expected *expected)
{
    struct wsasec_message message;

    wsasec_message_start(&message, XFRM_MSG_NEWPOLICY, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                         &expected->policy.info, sizeof expected->policy.info);
    wsasec_message_attribute(&message, XFRMA_TMPL, &expected->policy.tmpl, sizeof expected->policy.tmpl);
    wsasec_message_attribute(&message, XFRMA_MARK, &expected->mark, sizeof expected->mark);
    return -wsasec_netlink_call(&realm->xfrm, &message, NULL, NULL);
}

/*
 * The guard's policy has the highest priority, which is 0; among policies of one priority the kernel takes the
 * oldest. So an older one of priority 0 that lets the marked packets pass takes them away from the guard.
 */
static void search_rival(void *context, const struct nlmsghdr *message)
{
    struct expected *expected = context;
    struct xfrm_userpolicy_info info;
    struct xfrm_mark mark = {0, 0};
    const void *found;

    if (message->nlmsg_type != XFRM_MSG_NEWPOLICY || message->nlmsg_len < NLMSG_LENGTH(sizeof info))
        return;
    memcpy(&info, NLMSG_DATA(message), sizeof info);
    found = wsasec_attribute(message, sizeof info, XFRMA_MARK, sizeof mark, NULL);
    if (found)
        memcpy(&mark, found, sizeof mark);
    if (info.dir != XFRM_POLICY_OUT || info.priority || info.action != XFRM_POLICY_ALLOW ||
        info.sel.family != expected->policy.info.sel.family || info.curlft.add_time > expected->added ||
        (expected->mark.v & mark.m) != mark.v ||
        wsasec_attribute(message, sizeof info, XFRMA_IF_ID, sizeof(uint32_t), NULL))
        return;
    if (mark.v != expected->mark.v || mark.m != expected->mark.m ||
        memcmp(&info.sel, &expected->policy.info.sel, sizeof info.sel) != 0)
        expected->rival = 1;
}

/* Looked for once for each time the policy was put up: what comes later comes after it. */
static int32_t no_rival(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                        struct expected *expected, wsasec_status *status)
{
    struct xfrm_userpolicy_id any = {.dir = 0};
    struct wsasec_message message;
    int error;

    for (unsigned i = 0; i < realm->first_count; i++)
        if (realm->first[i].profile == profile && realm->first[i].address_family == address_family &&
            realm->first[i].added == expected->added)
            return 0;
    wsasec_message_start(&message, XFRM_MSG_GETPOLICY, NLM_F_DUMP, &any, sizeof any);
    error = -wsasec_netlink_call(&realm->xfrm, &message, search_rival, expected);
    if (error)
        return wsasec_fail_errno(status, WSASEC_STEP_GUARD, error);
    if (expected->rival)
        return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_GUARD_POLICY_RIVAL, 0);
    if (realm->first_count == WSASEC_REALM_VERIFIED)
        realm->first_count = 0;
    realm->first[realm->first_count].profile = profile;
    realm->first[realm->first_count].address_family = address_family;
    realm->first[realm->first_count++].added = expected->added;
    return 0;
}

int32_t wsasec_guard_policy_ready(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                                  wsasec_status *status)
{
    struct expected expected;
    int error;

    expect(&expected, profile, address_family);
    error = policy_look(realm, &expected);
    if (error == ENOENT) {
        error = policy_add(realm, &expected);
        if (!error || error == EEXIST) /* EEXIST: another process was faster; is it what we want? */
            error = policy_look(realm, &expected);
    }
    if (error == EEXIST)
        return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_GUARD_POLICY_FOREIGN, error);
    if (error)
        return wsasec_fail_errno(status, WSASEC_STEP_GUARD, error);
    return no_rival(realm, profile, address_family, &expected, status);
}

int32_t wsasec_guard_policy_look(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                                 wsasec_status *status)
{
    struct expected expected;
    wsasec_status rival;
    int error;

    expect(&expected, profile, address_family);
    error = policy_look(realm, &expected);
    if (error == ENOENT)
        return WSASEC_GUARD_POLICY_MISSING;
    if (error == EEXIST)
        return WSASEC_GUARD_POLICY_FOREIGN;
    if (error)
        return wsasec_fail_errno(status, WSASEC_STEP_GUARD, error);
    if (!no_rival(realm, profile, address_family, &expected, &rival))
        return WSASEC_GUARD_UP;
    if (rival.reason == WSASEC_REASON_GUARD_POLICY_RIVAL)
        return WSASEC_GUARD_POLICY_FOREIGN;
    if (status)
        *status = rival;
    return rival.code;
}
