/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP "fragmentation needed" (RFC 1191) and ICMPv6 "packet too big" (RFC 8201) for a packet from the device. */
#ifndef WSASEC_ENGINE_ICMP_H
#define WSASEC_ENGINE_ICMP_H

#include "packet.h"

enum { WSE_ICMP_MAX = WSE_VNET_LENGTH + 1280, WSE_MTU_LEAST_4 = 576, WSE_MTU_LEAST_6 = 1280 };

/* Whether a segment of the packet is larger than mtu and it may not be cut (DF, IPv6). */
int wse_icmp_needed(const struct wse_packet *packet, uint32_t mtu);

/*
 * Writes the message, for the device's TUN, with its virtio_net_hdr, to `to` (WSE_ICMP_MAX bytes). Returns its bytes,
 * or 0 where none may be sent: about ICMP errors, fragments but the first, addresses that are no unicast ones
 * (RFC 1122 3.2.2, RFC 4443 2.4 e).
 */
uint32_t wse_icmp_too_big(const struct wse_packet *packet, uint32_t mtu, uint8_t *to);

#endif
