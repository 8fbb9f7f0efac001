/* SPDX-License-Identifier: Apache-2.0 */
#include "guard.h"

#include <errno.h>
#include <linux/xfrm.h>
#include <sys/socket.h>

#include "failure.h"
#include "guard_policy.h"
#include "guard_sa.h"
#include "realm.h"

static enum wsasec_family family_of(int address_family)
{
    return address_family == AF_INET6 ? WSASEC_FAMILY_INET6 : WSASEC_FAMILY_INET;
}

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

static int32_t sas_ready(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                         wsasec_status *status)
{
    int unmarked = wsasec_guard_sa_unmarked(realm, profile, address_family);

    if (unmarked < 0)
        return wsasec_fail_errno(status, WSASEC_STEP_GUARD, -unmarked);
    return unmarked ? wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_GUARD_SA_UNMARKED, 0) : 0;
}

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
            if (wsasec_guard_sa_is_unmarked(realm, realm->verified[i].profile, realm->verified[i].address_family,
                                            message))
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
    code = wsasec_guard_policy_ready(realm, profile, address_family, status);
    if (!code)
        code = sysctl_ready(realm, address_family, status);
    if (!code)
        code = sas_ready(realm, profile, address_family, status);
    if (code)
        realm->verified_count = 0;
    return code;
}

/*
 * Nothing tells when a sysctl changes, or when the program closes descriptors that it does not own: by time. Leaves ESTALE in
 * status->os_error where the realm's descriptors are gone.
 */
static int32_t check(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                     wsasec_status *status)
{
    int due = profile && wsasec_realm_is_due(&realm->looked[family_of(address_family)]);
    int32_t code;
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
    code = due ? sysctl_ready(realm, address_family, status) : 0;
    if (code)
        realm->verified_count = 0;
    return code;
}

int32_t wsasec_guard_ready(uint64_t cookie, wsasec_socket socket, const wsasec_profile *profile,
                           int address_family, wsasec_status *status)
{
    int stale = 1;
    int32_t code = 0;

    for (int attempt = 0; stale && attempt < 2; attempt++) {
        struct wsasec_realm *realm = wsasec_realm_enter(cookie, socket, WSASEC_REALM_POLICIES, status);

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
    int32_t state = wsasec_realm_open_here(&realm, WSASEC_REALM_POLICIES, status);
    int unmarked;

    if (state)
        return state;
    state = wsasec_guard_policy_look(&realm, profile, address_family, status);
    unmarked = state < 0 ? 0 : wsasec_guard_sa_unmarked(&realm, profile, address_family);
    if (unmarked < 0)
        state = wsasec_fail_errno(status, WSASEC_STEP_GUARD, -unmarked);
    if (state >= 0 && wsasec_sysctl_get(&realm.reflect[family_of(address_family)]) != 1)
        state |= WSASEC_GUARD_REFLECT_OFF;
    if (state >= 0 && unmarked)
        state |= WSASEC_GUARD_SA_UNMARKED;
    wsasec_realm_close(&realm);
    return state;
}
