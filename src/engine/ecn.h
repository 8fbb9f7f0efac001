/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TOS and TTL in transport mode: there is one IP header, so its DSCP, ECN and TTL are the inner packet's on the way
 * out, and the arriving packet's, with what routers did to them, on the way in (RFC 4301 5.1.2 and RFC 6040 are about
 * tunnels; RFC 3168 9.2: transport mode has no second ECN field, so a CE mark reaches the transport by itself). With
 * sockets in between they travel as control messages. The flow label is not carried: a socket's own is sent, and on
 * receive there is none.
 */
#ifndef WSASEC_ENGINE_ECN_H
#define WSASEC_ENGINE_ECN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "packet.h"

struct wse_outer {
    uint8_t tos; /* TOS or traffic class */
    uint8_t ttl; /* TTL or hop limit; 0: not known, not set */
};

enum { WSE_OUTER_CONTROL = 2 * CMSG_SPACE(sizeof(int)) }; /* bytes that wse_outer_write needs */

/* Sets what wse_outer_read needs: IP_RECVTOS, IP_RECVTTL; IPV6_RECVTCLASS, IPV6_RECVHOPLIMIT. Returns 0 or -errno. */
int wse_outer_enable(int fd, int family);

/* Writes control messages for sendmsg; returns the bytes, at most WSE_OUTER_CONTROL. Aligned as struct cmsghdr. */
size_t wse_outer_write(void *control, int family, struct wse_outer outer);

/* What a received message's control messages say; where one is missing, TOS 0 and TTL 64. */
struct wse_outer wse_outer_read(const struct msghdr *message);

/* What the outer header is to have for an inner packet, and for each of its segments. */
static inline struct wse_outer wse_outer_of(const struct wse_packet *packet)
{
    return (struct wse_outer){packet->tos, packet->ttl};
}

#endif
