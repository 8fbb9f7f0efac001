/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the body of a netlink message: the attribute that is found lies within it. */
#include <stdlib.h>
#include <string.h>

#include "../../src/linux/netlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t whole = NLMSG_HDRLEN + size;
    struct nlmsghdr *message = malloc(whole);

    if (!message || size < 4) {
        free(message);
        return 0;
    }
    memset(message, 0, NLMSG_HDRLEN);
    message->nlmsg_len = (uint32_t)whole;
    memcpy((char *)message + NLMSG_HDRLEN, data, size);
    for (uint16_t type = 0; type < 8; type++) {
        for (size_t offset = 0; offset < 16; offset += 3) {
            size_t length = 0;
            const unsigned char *found = wsasec_attribute(message, offset, type, data[0] & 15, &length);
            unsigned sum = 0;

            for (size_t i = 0; found && i < length; i++)
                sum += found[i];
            if (found && (length < (data[0] & 15u) || sum > 255 * length))
                abort();
        }
    }
    free(message);
    return 0;
}
