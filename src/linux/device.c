/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "device_voucher.h"
#include "failure.h"
#include "realm.h"

/* How long who vouches may take to look again after a change, and how often that is asked, nanoseconds. */
static const uint64_t PATIENCE = UINT64_C(500000000);
static const struct timespec MOMENT = {.tv_nsec = 2000000};

enum { NFT_GENERATION = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN };

/* What a look at a device came to. */
struct look {
    uint32_t state; /* a sum of enum wsasec_guard_state */
    uint32_t index;
    uint32_t vouched; /* the generation that the alias names; 0 without one */
    uint32_t generation;
};

void wsasec_device_name(const wsasec_profile *profile, char name[WSASEC_DEVICE_NAME])
{
    snprintf(name, WSASEC_DEVICE_NAME, "ws%u", profile->reqid);
}

static void note_link(void *context, const struct nlmsghdr *message)
{
    struct wsasec_link found;

    wsasec_link_read(message, &found);
    if (found.index)
        *(struct wsasec_link *)context = found;
}

/* Returns 0 or an errno; index 0: there is none of that name. */
static int find_link(struct wsasec_realm *realm, const char *name, struct wsasec_link *link)
{
    const struct ifinfomsg any = {.ifi_family = AF_UNSPEC};
    struct wsasec_message message;
    int error;

    memset(link, 0, sizeof *link);
    wsasec_message_start(&message, RTM_GETLINK, NLM_F_ACK, &any, sizeof any);
    wsasec_message_attribute(&message, IFLA_IFNAME, name, strlen(name) + 1);
    error = -wsasec_netlink_call(&realm->links, &message, note_link, link);
    return error == ENODEV ? 0 : error;
}

static void note_generation(void *context, const struct nlmsghdr *message)
{
    uint32_t *generation = context;
    const void *at;

    if (message->nlmsg_type != NFT_GENERATION)
        return;
    at = wsasec_attribute(message, sizeof(struct nfgenmsg), NFTA_GEN_ID, sizeof *generation, NULL);
    if (at) {
        memcpy(generation, at, sizeof *generation);
        *generation = ntohl(*generation);
    }
}

/* The kernel counts from 1; 0 stands for none, which no voucher has. Returns 0 or an errno. */
static int find_generation(struct wsasec_realm *realm, uint32_t *generation)
{
    const struct nfgenmsg any = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    struct wsasec_message message;

    *generation = 0;
    wsasec_message_start(&message, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_ACK, &any, sizeof any);
    return -wsasec_netlink_call(&realm->nftables, &message, note_generation, generation);
}

static int32_t fail_nftables(int error, wsasec_status *status)
{
    /* Of a subsystem that is not there. */
    if (error == EINVAL || error == EOPNOTSUPP)
        return wsasec_fail(status, WSASEC_STEP_DEVICE, WSASEC_REASON_NO_NFTABLES, error);
    return wsasec_fail_errno(status, WSASEC_STEP_DEVICE, error);
}

/* The alias first: a change of the rules after it was written is then seen, and one before it was looked at. */
static int32_t look(struct wsasec_realm *realm, const wsasec_profile *profile, struct look *found,
                    wsasec_status *status)
{
    char name[WSASEC_DEVICE_NAME];
    struct wsasec_link link;
    int error;

    memset(found, 0, sizeof *found);
    wsasec_device_name(profile, name);
    error = find_link(realm, name, &link);
    if (error)
        return wsasec_fail_errno(status, WSASEC_STEP_DEVICE, error);
    if (!link.index) {
        found->state = WSASEC_GUARD_DEVICE_MISSING;
        return 0;
    }
    found->index = link.index;
    if (!link.is_up)
        found->state |= WSASEC_GUARD_DEVICE_DOWN;
    /* The kernel finds it by another name that it has, too; rules match the first. */
    switch (link.is_tun && strcmp(link.name, name) == 0 ? wsasec_voucher_read(link.alias, profile, &found->vouched)
                                                        : WSASEC_VOUCHER_OTHER) {
    case WSASEC_VOUCHER_GOOD:
        break;
    case WSASEC_VOUCHER_NONE:
        found->state |= WSASEC_GUARD_DEVICE_UNVOUCHED;
        return 0;
    case WSASEC_VOUCHER_OTHER:
        found->state |= WSASEC_GUARD_DEVICE_OTHER;
        return 0;
    }
    error = find_generation(realm, &found->generation);
    if (error)
        return fail_nftables(error, status);
    if (!found->generation || found->generation != found->vouched)
        found->state |= WSASEC_GUARD_DEVICE_RULES;
    return 0;
}

static int is_reflecting(const struct wsasec_realm *realm, int address_family)
{
    /* A socket of IPv6 may have peers of IPv4. */
    return wsasec_sysctl_get(&realm->reflect[WSASEC_FAMILY_INET]) == 1 &&
           (address_family != AF_INET6 || wsasec_sysctl_get(&realm->reflect[WSASEC_FAMILY_INET6]) == 1);
}

static int32_t check_reflect(const struct wsasec_realm *realm, int address_family, wsasec_status *status)
{
    if (address_family == AF_INET6 && wsasec_sysctl_get(&realm->reflect[WSASEC_FAMILY_INET6]) == -ENOENT)
        return wsasec_fail(status, WSASEC_STEP_DEVICE, WSASEC_REASON_FAMILY_UNSUPPORTED, ENOENT);
    return is_reflecting(realm, address_family)
               ? 0
               : wsasec_fail(status, WSASEC_STEP_DEVICE, WSASEC_REASON_DEVICE_REFLECT, 0);
}

/* What stands in the way most. */
static int32_t fail_state(uint32_t state, wsasec_status *status)
{
    unsigned reason = WSASEC_REASON_DEVICE_RULES;

    if (state & WSASEC_GUARD_DEVICE_MISSING)
        reason = WSASEC_REASON_NO_DEVICE;
    else if (state & WSASEC_GUARD_DEVICE_OTHER)
        reason = WSASEC_REASON_DEVICE_OTHER;
    else if (state & WSASEC_GUARD_DEVICE_DOWN)
        reason = WSASEC_REASON_DEVICE_DOWN;
    else if (state & WSASEC_GUARD_DEVICE_UNVOUCHED)
        reason = WSASEC_REASON_DEVICE_UNVOUCHED;
    return wsasec_fail(status, WSASEC_STEP_DEVICE, reason, 0);
}

static void on_link(void *context, const struct nlmsghdr *message)
{
    struct wsasec_realm *realm = context;
    struct ifinfomsg info;

    if (message) {
        if ((message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) ||
            message->nlmsg_len < NLMSG_LENGTH(sizeof info))
            return;
        memcpy(&info, NLMSG_DATA(message), sizeof info);
        for (unsigned i = 0; i < realm->device_count; i++)
            if (!realm->devices[i].index || realm->devices[i].index == (uint32_t)info.ifi_index)
                realm->device_count = 0;
        return;
    }
    realm->device_count = 0;
}

/* Each transaction ends with the new generation, whatever it changed. */
static void on_rules(void *context, const struct nlmsghdr *message)
{
    struct wsasec_realm *realm = context;

    if (!message || message->nlmsg_type == NFT_GENERATION)
        realm->device_count = 0;
}

static struct wsasec_realm_device *known(struct wsasec_realm *realm, const wsasec_profile *profile)
{
    for (unsigned i = 0; i < realm->device_count; i++)
        if (realm->devices[i].profile == profile)
            return &realm->devices[i];
    return NULL;
}

/* Whether it has only just come to this, so that who vouches may be about to look. */
static int is_new_doubt(struct wsasec_realm *realm, const wsasec_profile *profile, const struct look *found)
{
    const uint64_t now = wsasec_backend_clock();

    if (found->state & ~(uint32_t)(WSASEC_GUARD_DEVICE_UNVOUCHED | WSASEC_GUARD_DEVICE_RULES))
        return 0;
    if (realm->doubt.profile != profile || realm->doubt.generation != found->generation) {
        realm->doubt.profile = profile;
        realm->doubt.generation = found->generation;
        realm->doubt.since = now;
    }
    return now - realm->doubt.since < PATIENCE;
}

static int32_t look_and_note(struct wsasec_realm *realm, const wsasec_profile *profile, uint32_t *index, int *again,
                             wsasec_status *status)
{
    struct wsasec_realm_device *device;
    struct look found;
    int32_t code;

    if (realm->device_count == WSASEC_PROFILES_MAX)
        realm->device_count = 0;
    /* Entered before the look: a notification that comes in meanwhile strikes it out again. */
    device = &realm->devices[realm->device_count++];
    *device = (struct wsasec_realm_device){.profile = profile};
    code = look(realm, profile, &found, status);
    if (!code && found.state) {
        *again = is_new_doubt(realm, profile, &found);
        code = fail_state(found.state, status);
    }
    if (code) {
        realm->device_count = 0;
        return code;
    }
    if (realm->doubt.profile == profile)
        realm->doubt.profile = NULL;
    *index = found.index;
    device = known(realm, profile);
    if (device) {
        device->index = found.index;
        device->generation = found.generation;
    }
    return 0;
}

/* One system call where nobody has anything to say. */
static int poll_all(struct wsasec_realm *realm, int due)
{
    struct pollfd both[] = {{.fd = realm->links.fd, .events = POLLIN}, {.fd = realm->nftables.fd, .events = POLLIN}};
    int error;

    realm->links.notify = on_link;
    realm->nftables.notify = on_rules;
    realm->links.context = realm->nftables.context = realm;
    if (due && (!wsasec_netlink_alive(&realm->links) || !wsasec_netlink_alive(&realm->nftables)))
        return -EBADF;
    if (poll(both, 2, 0) == 0)
        return 0;
    error = wsasec_netlink_poll(&realm->links);
    return error ? error : wsasec_netlink_poll(&realm->nftables);
}

/* As the check of the guard; *again: it failed, and may not shortly. */
static int32_t check(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family, uint32_t *index,
                     int *again, wsasec_status *status)
{
    const int due = wsasec_realm_is_due(&realm->looked_at_devices[address_family == AF_INET6 ? WSASEC_FAMILY_INET6
                                                                                              : WSASEC_FAMILY_INET]);
    const struct wsasec_realm_device *device;
    int32_t code;

    if (poll_all(realm, due))
        return wsasec_fail(status, WSASEC_STEP_DEVICE, WSASEC_REASON_SYSTEM, ESTALE);
    device = known(realm, profile);
    if (device) {
        *index = device->index;
        code = due ? check_reflect(realm, address_family, status) : 0;
    } else {
        code = look_and_note(realm, profile, index, again, status);
        if (!code)
            code = check_reflect(realm, address_family, status);
    }
    if (code)
        realm->device_count = 0;
    return code;
}

static int32_t check_in(uint64_t cookie, wsasec_socket socket, const wsasec_profile *profile, int address_family,
                        uint32_t *index, int *again, wsasec_status *status)
{
    int stale = 1;
    int32_t code = 0;

    for (int attempt = 0; stale && attempt < 2; attempt++) {
        struct wsasec_realm *realm = wsasec_realm_enter(cookie, socket, WSASEC_REALM_DEVICES, status);

        if (!realm)
            return status->code;
        *again = 0;
        code = check(realm, profile, address_family, index, again, status);
        stale = code && status->os_error == ESTALE;
        wsasec_realm_leave(realm, stale);
    }
    return code;
}

int32_t wsasec_device_ready(uint64_t cookie, wsasec_socket socket, const wsasec_profile *profile, int address_family,
                            uint32_t *index, wsasec_status *status)
{
    const uint64_t end = wsasec_after(wsasec_backend_clock(), PATIENCE);
    int again = 0;
    int32_t code;

    *index = 0;
    for (;;) {
        code = check_in(cookie, socket, profile, address_family, index, &again, status);
        if (!code)
            return 0;
        *index = 0;
        if (!again || wsasec_backend_clock() >= end)
            return code;
        /* Without the lock: other profiles and namespaces have no part in this. */
        (void)nanosleep(&MOMENT, NULL);
    }
}

int32_t wsasec_device_look(const wsasec_profile *profile, int address_family, wsasec_status *status)
{
    struct wsasec_realm realm;
    struct look found;
    int32_t code = wsasec_realm_open_here(&realm, WSASEC_REALM_DEVICES, status);

    if (code)
        return code;
    code = look(&realm, profile, &found, status);
    if (!code && !is_reflecting(&realm, address_family))
        found.state |= WSASEC_GUARD_REFLECT_OFF;
    wsasec_realm_close(&realm);
    return code ? code : (int32_t)found.state;
}
