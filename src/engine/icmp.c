/* SPDX-License-Identifier: Apache-2.0 */
#include "icmp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "checksum.h"
#include "inner.h"
#include "octets.h"

enum {
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    ICMP_HEADER = 8,
    QUOTED_4 = 576 - IPV4_HEADER - ICMP_HEADER,   /* RFC 1812 4.3.2.3: not more than 576 bytes in all */
    QUOTED_6 = 1280 - IPV6_HEADER - ICMP_HEADER,  /* RFC 4443 2.4 c */
    UNREACHABLE = 3,
    FRAGMENTATION_NEEDED = 4,
    ICMP6_ERRORS = 128, /* types below it */
    TOO_BIG = 2,
    TTL = 64
};

static uint32_t header_of(uint16_t family)
{
    return family == AF_INET ? IPV4_HEADER : IPV6_HEADER;
}

int wse_icmp_needed(const struct wse_packet *packet, uint32_t mtu)
{
    uint32_t length = packet->length;

    if (!packet->dont_fragment)
        return 0;
    if (packet->gso != VIRTIO_NET_HDR_GSO_NONE && length - packet->headers > packet->gso_size)
        length = packet->headers + (uint32_t)packet->gso_size;
    return length > mtu;
}

/* May an error be sent about it? */
static int may_be_told(const struct wse_packet *packet)
{
    const uint8_t *transport = packet->bytes + packet->transport;
    uint8_t type;

    if (packet->fragment_offset || wse_addresses_check(packet->family, packet->source, packet->destination))
        return 0;
    if (packet->protocol != IPPROTO_ICMP && packet->protocol != IPPROTO_ICMPV6)
        return 1;
    if (packet->length <= packet->transport)
        return 0;
    type = *transport;
    if (packet->family == AF_INET6)
        return type >= ICMP6_ERRORS;
    /* RFC 1122 3.2.2: unreachable, source quench, redirect, time exceeded, parameter problem. */
    return type != 3 && type != 4 && type != 5 && type != 11 && type != 12;
}

uint32_t wse_icmp_too_big(const struct wse_packet *packet, uint32_t mtu, uint8_t *to)
{
    const int four = packet->family == AF_INET;
    const uint32_t most = four ? QUOTED_4 : QUOTED_6;
    const uint32_t quoted = packet->length < most ? packet->length : most;
    uint8_t *icmp = to + WSE_VNET_LENGTH + header_of(packet->family);
    const struct wse_inner answer = {
        .source = packet->destination, /* as if the peer's side said it: a source that the device's rules know */
        .destination = packet->source,
        .family = packet->family,
        .next = four ? IPPROTO_ICMP : IPPROTO_ICMPV6,
        .ttl = TTL,
    };
    uint64_t sum;

    if (!may_be_told(packet))
        return 0;
    memset(to, 0, WSE_VNET_LENGTH);
    wse_inner_ip(&answer, ICMP_HEADER + quoted, to + WSE_VNET_LENGTH);
    memset(icmp, 0, ICMP_HEADER);
    memcpy(icmp + ICMP_HEADER, packet->bytes, quoted);
    if (four) {
        icmp[0] = UNREACHABLE;
        icmp[1] = FRAGMENTATION_NEEDED;
        wse_put16(icmp + 6, (uint16_t)(mtu > UINT16_MAX ? UINT16_MAX : mtu));
        sum = 0;
    } else {
        icmp[0] = TOO_BIG;
        wse_put32(icmp + 4, mtu);
        sum = wse_sum_pseudo(AF_INET6, answer.source, answer.destination, IPPROTO_ICMPV6, ICMP_HEADER + quoted);
    }
    wse_put_checksum(icmp + 2, wse_checksum(sum + wse_sum(icmp, ICMP_HEADER + quoted)));
    return WSE_VNET_LENGTH + header_of(packet->family) + ICMP_HEADER + quoted;
}
