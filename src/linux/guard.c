/* SPDX-License-Identifier: Apache-2.0 */
#include "guard.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "failure.h"
#include "policy.h"
#include "realm.h"

enum { INTERVAL_MS = 100 };

#ifndef XFRMA_SA_DIR
#define XFRMA_SA_DIR_ 33 /* Linux 6.10; linux/xfrm.h has it as an enumerator */
#else
#define XFRMA_SA_DIR_ XFRMA_SA_DIR
#endif

static enum wsasec_family family_of(int address_family)
{
    return address_family == AF_INET6 ? WSASEC_FAMILY_INET6 : WSASEC_FAMILY_INET;
}

/* --- the marked system policy --- */

struct expected {
    struct wsasec_policy policy;
    struct xfrm_mark mark;
    int equal;
};

static void expect(struct expected *expected, const wsasec_profile *profile, int address_family)
{
    wsasec_policy_make(&expected->policy, profile, address_family, XFRM_POLICY_OUT, 1);
    expected->mark = (struct xfrm_mark){.v = profile->mark, .m = profile->mask};
    expected->equal = 0;
}

static int equal_enough(const struct wsasec_policy *want, const struct xfrm_userpolicy_info *info,
                        const struct xfrm_user_tmpl *tmpl)
{
    return memcmp(&want->info.sel, &info->sel, sizeof info->sel) == 0 && info->dir == want->info.dir &&
           info->action == XFRM_POLICY_ALLOW && info->lft.hard_byte_limit == XFRM_INF &&
           info->lft.hard_packet_limit == XFRM_INF && !info->lft.hard_add_expires_seconds &&
           !info->lft.hard_use_expires_seconds && tmpl->id.proto == IPPROTO_ESP && !tmpl->id.spi &&
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

static int32_t policy_ready(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                            wsasec_status *status)
{
    struct expected expected;
    int error;

    expect(&expected, profile, address_family);
    error = policy_look(realm, &expected);
    if (error == ENOENT) {
        error = policy_add(realm, &expected);
        if (error == EEXIST) /* another process was faster; is it what we want? */
            error = policy_look(realm, &expected);
    }
    if (error == EEXIST)
        return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_GUARD_POLICY_FOREIGN, error);
    return error ? wsasec_fail_errno(status, WSASEC_STEP_GUARD, error) : 0;
}

/* --- fwmark_reflect --- */

static int32_t sysctl_ready(struct wsasec_realm *realm, int address_family, wsasec_status *status)
{
    struct wsasec_sysctl *sysctl = &realm->reflect[family_of(address_family)];
    int on = wsasec_sysctl_get(sysctl);

    if (on == -ENOENT && address_family == AF_INET6)
        return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_FAMILY_UNSUPPORTED, ENOENT);
    if (on == 0)
        on = wsasec_sysctl_set(sysctl);
    if (on < 0)
        return wsasec_fail(status, WSASEC_STEP_GUARD,
                           address_family == AF_INET6 ? WSASEC_REASON_GUARD_SYSCTL6
                                                      : WSASEC_REASON_GUARD_SYSCTL4, -on);
    return 0;
}

/* --- SAs that do not set the mark --- */

static void note_local(void *context, const struct nlmsghdr *message)
{
    struct rtmsg route;

    if (message->nlmsg_type != RTM_NEWROUTE || message->nlmsg_len < NLMSG_LENGTH(sizeof route))
        return;
    memcpy(&route, NLMSG_DATA(message), sizeof route);
    *(int *)context = route.rtm_type == RTN_LOCAL;
}

/* Whether packets to the address end here. */
static int is_local(struct wsasec_realm *realm, int address_family, const xfrm_address_t *address)
{
    const size_t size = address_family == AF_INET6 ? 16 : 4;
    struct rtmsg route = {.rtm_family = (unsigned char)address_family, .rtm_dst_len = (unsigned char)(size * 8)};
    struct wsasec_message message;
    int local = 0;

    wsasec_message_start(&message, RTM_GETROUTE, NLM_F_ACK, &route, sizeof route);
    wsasec_message_attribute(&message, RTA_DST, address, size);
    if (wsasec_netlink_call(&realm->route, &message, note_local, &local))
        return 0; /* no route: nothing can arrive under this SA */
    return local;
}

struct search {
    struct wsasec_realm *realm;
    const wsasec_profile *profile;
    int address_family;
    int found;
};

static void search_sa(void *context, const struct nlmsghdr *message)
{
    struct search *search = context;
    struct xfrm_usersa_info sa;
    uint32_t value = 0;
    uint32_t mask = UINT32_MAX; /* what the kernel takes where only the mark is given */
    const void *at;

    if ((message->nlmsg_type != XFRM_MSG_NEWSA && message->nlmsg_type != XFRM_MSG_UPDSA) ||
        message->nlmsg_len < NLMSG_LENGTH(sizeof sa))
        return;
    memcpy(&sa, NLMSG_DATA(message), sizeof sa);
    if (sa.reqid != search->profile->reqid || sa.family != search->address_family || sa.id.proto != IPPROTO_ESP)
        return;
    at = wsasec_attribute(message, sizeof sa, XFRMA_SET_MARK, sizeof value, NULL);
    if (at) {
        memcpy(&value, at, sizeof value);
        at = wsasec_attribute(message, sizeof sa, XFRMA_SET_MARK_MASK, sizeof mask, NULL);
        if (at)
            memcpy(&mask, at, sizeof mask);
    }
    if ((mask & search->profile->mask) == search->profile->mask &&
        (value & search->profile->mask) == search->profile->mark)
        return;
    at = wsasec_attribute(message, sizeof sa, XFRMA_SA_DIR_, 1, NULL);
    if (at ? *(const unsigned char *)at == 1 /* XFRM_SA_DIR_IN */
           : is_local(search->realm, sa.family, &sa.id.daddr))
        search->found = 1;
}

/* Returns 1 if the profile has an inbound SA that does not set the mark, 0 if not, or -errno. */
static int find_unmarked(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family)
{
    struct search search = {.realm = realm, .profile = profile, .address_family = address_family};
    struct xfrm_usersa_id any = {0};
    struct wsasec_message message;
    int error;

    /* The body of a dump request is empty; the size of the id is what the kernel's table asks for. */
    wsasec_message_start(&message, XFRM_MSG_GETSA, NLM_F_DUMP, &any, sizeof any);
    error = wsasec_netlink_call(&realm->xfrm, &message, search_sa, &search);
    return error ? error : search.found;
}

static int32_t sas_ready(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                         wsasec_status *status)
{
    int unmarked = find_unmarked(realm, profile, address_family);

    if (unmarked < 0)
        return wsasec_fail_errno(status, WSASEC_STEP_GUARD, -unmarked);
    return unmarked ? wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_GUARD_SA_UNMARKED, 0) : 0;
}

/* --- the whole, and what ends its being known --- */

/* A policy came or went, or an SA came without the mark: all that was found complete is to be found so again. */
static void on_notification(void *context, const struct nlmsghdr *message)
{
    struct wsasec_realm *realm = context;
    unsigned verified = realm->verified_count;

    if (!message) {
        realm->verified_count = 0;
        return;
    }
    switch (message->nlmsg_type) {
    case XFRM_MSG_NEWPOLICY:
    case XFRM_MSG_UPDPOLICY:
    case XFRM_MSG_DELPOLICY:
    case XFRM_MSG_POLEXPIRE:
    case XFRM_MSG_FLUSHPOLICY:
        realm->verified_count = 0;
        break;
    case XFRM_MSG_NEWSA:
    case XFRM_MSG_UPDSA:
        for (unsigned i = 0; i < verified && realm->verified_count; i++) {
            struct search search = {.realm = realm,
                                    .profile = realm->verified[i].profile,
                                    .address_family = realm->verified[i].address_family};

            search_sa(&search, message);
            if (search.found)
                realm->verified_count = 0;
        }
        break;
    default:
        break;
    }
}

static int is_verified(const struct wsasec_realm *realm, const wsasec_profile *profile, int address_family)
{
    for (unsigned i = 0; i < realm->verified_count; i++)
        if (realm->verified[i].profile == profile && realm->verified[i].address_family == address_family)
            return 1;
    return 0;
}

static int32_t look_and_mend(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                             wsasec_status *status)
{
    int32_t code;

    if (realm->verified_count == WSASEC_REALM_VERIFIED)
        realm->verified_count = 0;
    /* Entered before the look: a notification that comes in meanwhile strikes it out again. */
    realm->verified[realm->verified_count].profile = profile;
    realm->verified[realm->verified_count++].address_family = address_family;
    code = policy_ready(realm, profile, address_family, status);
    if (!code)
        code = sysctl_ready(realm, address_family, status);
    if (!code)
        code = sas_ready(realm, profile, address_family, status);
    if (code)
        realm->verified_count = 0;
    return code;
}

/* Nothing tells when a sysctl changes, or when the program closes descriptors that it does not own: by time. */
static int is_due(struct timespec *last)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (last->tv_sec && (int64_t)(now.tv_sec - last->tv_sec) * 1000 + (now.tv_nsec - last->tv_nsec) / 1000000 <
                            INTERVAL_MS)
        return 0;
    *last = now;
    return 1;
}

/* Leaves ESTALE in status->os_error where the realm's descriptors are gone. */
static int32_t check(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                     wsasec_status *status)
{
    int due = is_due(&realm->looked[family_of(address_family)]);
    int error;

    realm->xfrm.notify = on_notification;
    realm->xfrm.context = realm;
    error = due && !wsasec_netlink_alive(&realm->xfrm) ? -EBADF : wsasec_netlink_poll(&realm->xfrm);
    if (error)
        return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_SYSTEM, ESTALE);
    if (!profile)
        return 0;
    if (!is_verified(realm, profile, address_family))
        return look_and_mend(realm, profile, address_family, status);
    return due ? sysctl_ready(realm, address_family, status) : 0;
}

int32_t wsasec_guard_ready(uint64_t cookie, wsasec_socket socket, const wsasec_profile *profile,
                           int address_family, wsasec_status *status)
{
    int stale = 1;
    int32_t code = 0;

    for (int attempt = 0; stale && attempt < 2; attempt++) {
        struct wsasec_realm *realm = wsasec_realm_enter(cookie, socket, status);

        if (!realm)
            return status->code;
        code = check(realm, profile, address_family, status);
        stale = code && status->os_error == ESTALE;
        wsasec_realm_leave(realm, stale);
    }
    return code;
}

int32_t wsasec_guard_look(const wsasec_profile *profile, int address_family, wsasec_status *status)
{
    struct wsasec_realm realm;
    struct expected expected;
    int32_t state = wsasec_realm_open_here(&realm, status);
    int error;
    int unmarked;

    if (state)
        return state;
    expect(&expected, profile, address_family);
    error = policy_look(&realm, &expected);
    if (error == ENOENT)
        state |= WSASEC_GUARD_POLICY_MISSING;
    else if (error == EEXIST)
        state |= WSASEC_GUARD_POLICY_FOREIGN;
    else if (error)
        state = wsasec_fail_errno(status, WSASEC_STEP_GUARD, error);
    unmarked = state < 0 ? 0 : find_unmarked(&realm, profile, address_family);
    if (unmarked < 0)
        state = wsasec_fail_errno(status, WSASEC_STEP_GUARD, -unmarked);
    if (state >= 0 && wsasec_sysctl_get(&realm.reflect[family_of(address_family)]) != 1)
        state |= WSASEC_GUARD_REFLECT_OFF;
    if (state >= 0 && unmarked)
        state |= WSASEC_GUARD_SA_UNMARKED;
    wsasec_realm_close(&realm);
    return state;
}
