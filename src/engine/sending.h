/* SPDX-License-Identifier: Apache-2.0 */
/* What sendmsg is told beside the bytes: where to, source address, TOS, TTL, size of a segment. */
#ifndef WSASEC_ENGINE_SENDING_H
#define WSASEC_ENGINE_SENDING_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ecn.h"
#include "sa.h"

enum {
    WSE_SENDING_CONTROL = WSE_OUTER_CONTROL + CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))
};

/*
 * Writes the header of a message for an association's peer, without its bytes. control: WSE_SENDING_CONTROL bytes, aligned
 * as struct cmsghdr.
 */
void wse_sending_start(struct msghdr *header, void *control, const struct wse_sa_name *name,
                       const struct wse_target *target, struct wse_outer outer);

/* Has the system cut the message into datagrams of so many bytes (UDP_SEGMENT). */
void wse_sending_cut(struct msghdr *header, uint16_t size);

#endif
