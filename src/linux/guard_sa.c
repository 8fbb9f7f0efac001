/* SPDX-License-Identifier: Apache-2.0 */
#include "guard_sa.h"

#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#ifndef XFRMA_SA_DIR
#define XFRMA_SA_DIR_ 33 /* Linux 6.10; linux/xfrm.h has it as an enumerator */
#else
#define XFRMA_SA_DIR_ XFRMA_SA_DIR
#endif

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
    if (sa.reqid != search->profile->reqid || sa.family != search->address_family ||
        sa.id.proto != search->profile->protocol)
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

int wsasec_guard_sa_unmarked(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family)
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

int wsasec_guard_sa_is_unmarked(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                                const struct nlmsghdr *message)
{
    struct search search = {.realm = realm, .profile = profile, .address_family = address_family};

    search_sa(&search, message);
    return search.found;
}
