/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a device, and what its alias says: without an opinion on either. */
#ifndef WSASEC_LINUX_DEVICE_VOUCHER_H
#define WSASEC_LINUX_DEVICE_VOUCHER_H

#include <linux/netlink.h>

#include "wsasec.h"

/* A device as a message of RTM_NEWLINK has it. */
struct wsasec_link {
    uint32_t index; /* 0: it was none */
    int is_up;
    int is_tun;
    char name[16];
    char alias[128]; /* cut off where it is longer: then it is no voucher */
};

void wsasec_link_read(const struct nlmsghdr *message, struct wsasec_link *link);

enum wsasec_voucher {
    WSASEC_VOUCHER_GOOD,  /* of this profile; the generation is told */
    WSASEC_VOUCHER_NONE,  /* the alias is empty */
    WSASEC_VOUCHER_OTHER, /* of another profile, or no voucher */
};

enum wsasec_voucher wsasec_voucher_read(const char *alias, const wsasec_profile *profile, uint32_t *generation);

#endif
