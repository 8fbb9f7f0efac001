/* SPDX-License-Identifier: Apache-2.0 */
#include "ecn.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum { TTL_UNKNOWN = 64 };

int wse_outer_enable(int fd, int family)
{
    const int on = 1;

    if (family == AF_INET6) {
        if (setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on) ||
            setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on))
            return -errno;
        return 0;
    }
    if (setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof on) ||
        setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof on))
        return -errno;
    return 0;
}

static size_t put(uint8_t *at, int level, int type, int value)
{
    struct cmsghdr *header = (struct cmsghdr *)(void *)at;

    memset(at, 0, CMSG_SPACE(sizeof value));
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(sizeof value);
    memcpy(CMSG_DATA(header), &value, sizeof value);
    return CMSG_SPACE(sizeof value);
}

size_t wse_outer_write(void *control, int family, struct wse_outer outer)
{
    const int six = family == AF_INET6;
    const int level = six ? IPPROTO_IPV6 : IPPROTO_IP;
    size_t length = put(control, level, six ? IPV6_TCLASS : IP_TOS, outer.tos);

    if (outer.ttl)
        length += put((uint8_t *)control + length, level, six ? IPV6_HOPLIMIT : IP_TTL, outer.ttl);
    return length;
}

struct wse_outer wse_outer_read(const struct msghdr *message)
{
    struct wse_outer outer = {0, TTL_UNKNOWN};
    struct msghdr *walked = (struct msghdr *)(uintptr_t)message; /* CMSG_NXTHDR does not write */

    for (struct cmsghdr *each = CMSG_FIRSTHDR(walked); each; each = CMSG_NXTHDR(walked, each)) {
        const int four = each->cmsg_level == IPPROTO_IP, six = each->cmsg_level == IPPROTO_IPV6;
        int value;

        /* TOS is one byte; the others are numbers. */
        if (four && each->cmsg_type == IP_TOS && each->cmsg_len >= CMSG_LEN(1)) {
            outer.tos = *CMSG_DATA(each);
            continue;
        }
        if (each->cmsg_len < CMSG_LEN(sizeof value))
            continue;
        memcpy(&value, CMSG_DATA(each), sizeof value);
        if (six && each->cmsg_type == IPV6_TCLASS)
            outer.tos = (uint8_t)value;
        if ((four && each->cmsg_type == IP_TTL) || (six && each->cmsg_type == IPV6_HOPLIMIT))
            outer.ttl = (uint8_t)value;
    }
    return outer;
}
