/* SPDX-License-Identifier: Apache-2.0 */
#include "sending.h"

#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static void add(struct msghdr *header, int level, int type, const void *value, size_t length)
{
    struct cmsghdr *control = (struct cmsghdr *)((uint8_t *)header->msg_control + header->msg_controllen);

    control->cmsg_level = level;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(control), value, length);
    header->msg_controllen += CMSG_SPACE(length);
}

void wse_sending_start(struct msghdr *header, void *control, const struct wse_sa_name *name,
                       const struct wse_target *target, struct wse_outer outer)
{
    memset(header, 0, sizeof *header);
    header->msg_name = (void *)(uintptr_t)&target->any;
    header->msg_namelen = target->length;
    header->msg_control = control;
    header->msg_controllen = wse_outer_write(control, name->family, outer);
    if (name->family == AF_INET) {
        struct in_pktinfo info = {0};

        memcpy(&info.ipi_spec_dst, name->source, 4);
        add(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else {
        struct in6_pktinfo info = {0};

        memcpy(&info.ipi6_addr, name->source, 16);
        add(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
}

void wse_sending_cut(struct msghdr *header, uint16_t size)
{
    add(header, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
}
