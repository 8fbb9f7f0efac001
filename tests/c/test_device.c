/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of a secure device: its message, and the voucher in its alias. */
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "../../src/linux/device_voucher.h"
#include "../../src/linux/netlink.h"

static int failures;

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);          \
            failures++;                                                              \
        }                                                                            \
    } while (0)

static const wsasec_profile profile = {.reqid = 119, .mark = 0x60000000, .mask = 0xff000000};

static enum wsasec_voucher voucher(const char *alias, uint32_t *generation)
{
    *generation = 0;
    return wsasec_voucher_read(alias, &profile, generation);
}

static void test_vouchers(void)
{
    static const char *const others[] = {
        "uplink",
        "wsasec/1",
        "wsasec/1 reqid=119 mark=0x60000000/0xff000000",
        "wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=",
        "wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=01",
        "wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=-1",
        "wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=1 ",
        "wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=4294967296",
        "wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=99999999999999999999999",
        "wsasec/1 reqid=119 mark=0x60000000/0xFF000000 nft=1",
        "wsasec/1 reqid=119 mark=0x60000000/0xff000000  nft=1",
        "wsasec/1 reqid=118 mark=0x60000000/0xff000000 nft=1",
        "wsasec/2 reqid=119 mark=0x60000000/0xff000000 nft=1",
    };
    uint32_t generation;

    CHECK(voucher("wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=7", &generation) == WSASEC_VOUCHER_GOOD);
    CHECK(generation == 7);
    CHECK(voucher("wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=4294967295", &generation) == WSASEC_VOUCHER_GOOD);
    CHECK(generation == UINT32_MAX);
    CHECK(voucher("", &generation) == WSASEC_VOUCHER_NONE);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        CHECK(voucher(others[i], &generation) == WSASEC_VOUCHER_OTHER);
}

static void begin(struct wsasec_message *message, uint16_t type, int index, unsigned flags)
{
    const struct ifinfomsg info = {.ifi_index = index, .ifi_flags = flags};

    wsasec_message_start(message, type, 0, &info, sizeof info);
}

/* The kind in an attribute within one. */
static void add_kind(struct wsasec_message *message, const char *kind, uint16_t size)
{
    unsigned char inner[64] = {0};
    const struct nlattr attribute = {.nla_type = IFLA_INFO_KIND, .nla_len = (uint16_t)(sizeof attribute + size)};

    memcpy(inner, &attribute, sizeof attribute);
    memcpy(inner + sizeof attribute, kind, size);
    wsasec_message_attribute(message, IFLA_LINKINFO, inner, sizeof attribute + ((size + 3u) & ~3u));
}

static void test_links(void)
{
    struct wsasec_message message;
    struct wsasec_link link;
    char longest[200];

    begin(&message, RTM_NEWLINK, 5, IFF_UP);
    wsasec_message_attribute(&message, IFLA_IFNAME, "ws119", 6);
    wsasec_message_attribute(&message, IFLA_IFALIAS, "alias", 6);
    add_kind(&message, "tun", 4);
    wsasec_link_read(&message.header, &link);
    CHECK(link.index == 5 && link.is_up && link.is_tun);
    CHECK(strcmp(link.name, "ws119") == 0 && strcmp(link.alias, "alias") == 0);

    begin(&message, RTM_NEWLINK, 5, IFF_BROADCAST);
    wsasec_link_read(&message.header, &link);
    CHECK(link.index == 5 && !link.is_up && !link.is_tun && !*link.name && !*link.alias);

    begin(&message, RTM_NEWLINK, 5, IFF_UP);
    add_kind(&message, "tunnel", 7);
    memset(longest, 'x', sizeof longest);
    wsasec_message_attribute(&message, IFLA_IFALIAS, longest, sizeof longest); /* no zero at its end, and too long */
    wsasec_link_read(&message.header, &link);
    CHECK(!link.is_tun && strlen(link.alias) == sizeof link.alias - 1);

    begin(&message, RTM_DELLINK, 5, IFF_UP);
    wsasec_link_read(&message.header, &link);
    CHECK(link.index == 0);
    begin(&message, RTM_NEWLINK, 0, IFF_UP);
    wsasec_link_read(&message.header, &link);
    CHECK(link.index == 0);
}

int main(void)
{
    test_vouchers();
    test_links();
    return failures != 0;
}
