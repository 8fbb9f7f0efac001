/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a message about a link, and what it says as a voucher. */
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/linux/device_voucher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const wsasec_profile profile = {.reqid = 1, .mark = 1, .mask = 1};
    const size_t whole = NLMSG_HDRLEN + size;
    struct nlmsghdr *message = malloc(whole);
    struct wsasec_link link;
    uint32_t generation = 0;

    if (!message)
        return 0;
    memset(message, 0, NLMSG_HDRLEN);
    message->nlmsg_type = RTM_NEWLINK;
    message->nlmsg_len = (uint32_t)whole;
    memcpy((char *)message + NLMSG_HDRLEN, data, size);
    wsasec_link_read(message, &link);
    if (strnlen(link.name, sizeof link.name) == sizeof link.name ||
        strnlen(link.alias, sizeof link.alias) == sizeof link.alias)
        abort();
    (void)wsasec_voucher_read(link.alias, &profile, &generation);
    free(message);
    return 0;
}
