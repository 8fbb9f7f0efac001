/* SPDX-License-Identifier: Apache-2.0 */
#include "device_voucher.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "netlink.h"

/* A string in an attribute has its zero or not: the kernel's strings do. */
static void copy(char *to, size_t room, const void *from, size_t length)
{
    const size_t used = from ? strnlen(from, length) : 0;

    memset(to, 0, room);
    if (used)
        memcpy(to, from, used < room ? used : room - 1);
}

/* The kind is in an attribute within an attribute. */
static int is_tun(const void *info, size_t length)
{
    static const char tun[] = "tun";
    const unsigned char *at = info;
    struct nlattr attribute;

    while (at && length >= sizeof attribute) {
        size_t whole;

        memcpy(&attribute, at, sizeof attribute);
        if (attribute.nla_len < sizeof attribute || attribute.nla_len > length)
            return 0;
        if ((attribute.nla_type & NLA_TYPE_MASK) == IFLA_INFO_KIND)
            return attribute.nla_len >= sizeof attribute + 3 &&
                   strnlen((const char *)at + sizeof attribute, attribute.nla_len - sizeof attribute) == 3 &&
                   memcmp(at + sizeof attribute, tun, 3) == 0;
        whole = ((size_t)attribute.nla_len + 3) & ~(size_t)3;
        if (whole > length)
            return 0;
        at += whole;
        length -= whole;
    }
    return 0;
}

void wsasec_link_read(const struct nlmsghdr *message, struct wsasec_link *link)
{
    struct ifinfomsg info;
    size_t length = 0;
    const void *at;

    memset(link, 0, sizeof *link);
    if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(sizeof info))
        return;
    memcpy(&info, NLMSG_DATA(message), sizeof info);
    if (info.ifi_index <= 0)
        return;
    link->index = (uint32_t)info.ifi_index;
    link->is_up = (info.ifi_flags & IFF_UP) != 0;
    at = wsasec_attribute(message, sizeof info, IFLA_IFNAME, 0, &length);
    copy(link->name, sizeof link->name, at, length);
    at = wsasec_attribute(message, sizeof info, IFLA_IFALIAS, 0, &length);
    copy(link->alias, sizeof link->alias, at, length);
    at = wsasec_attribute(message, sizeof info, IFLA_LINKINFO, 0, &length);
    link->is_tun = is_tun(at, length);
}

/* A number as "%u" writes it, and nothing behind it. Returns 0, or -1. */
static int read_number(const char *text, uint32_t *number)
{
    uint64_t value = 0;

    if (!*text || (text[0] == '0' && text[1]))
        return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > UINT32_MAX)
            return -1;
    }
    *number = (uint32_t)value;
    return 0;
}

enum wsasec_voucher wsasec_voucher_read(const char *alias, const wsasec_profile *profile, uint32_t *generation)
{
    char wanted[96];
    const int length = snprintf(wanted, sizeof wanted, "wsasec/1 reqid=%u mark=0x%08x/0x%08x nft=", profile->reqid,
                                profile->mark, profile->mask);

    if (!*alias)
        return WSASEC_VOUCHER_NONE;
    if (strncmp(alias, wanted, (size_t)length) != 0 || read_number(alias + length, generation))
        return WSASEC_VOUCHER_OTHER;
    return WSASEC_VOUCHER_GOOD;
}
