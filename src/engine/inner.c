/* SPDX-License-Identifier: Apache-2.0 */
#include "inner.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "checksum.h"
#include "octets.h"

enum {
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    DONT_FRAGMENT = 0x4000,
    ICMP_HEADER = 8, /* what is quoted is behind it */
    ICMP_UNREACHABLE = 3,
    ICMP_SOURCE_QUENCH = 4,
    ICMP_REDIRECT = 5,
    ICMP_TIME_EXCEEDED = 11,
    ICMP_PARAMETER_PROBLEM = 12,
    ICMP6_ERRORS = 128,          /* RFC 4443 2.1: types below it */
    ICMP6_DISCOVERY_FIRST = 133, /* RFC 4861: router and neighbour discovery, redirects */
    ICMP6_DISCOVERY_LAST = 137
};

static enum wse_refusal check_address_4(const uint8_t *address)
{
    /* 0.0.0.0/8, 224.0.0.0/4 (multicast), 240.0.0.0/4 (reserved, and the broadcast). */
    return address[0] == 0 || address[0] >= 224 ? WSE_ADDRESS : WSE_FINE;
}

static enum wse_refusal check_address_6(const uint8_t *address)
{
    static const uint8_t zero[16], mapped[12] = {[10] = 0xff, 0xff};

    /* RFC 4291: unspecified, multicast, and what is IPv4 in truth. */
    if (address[0] == 0xff || !memcmp(address, zero, sizeof zero) || !memcmp(address, mapped, sizeof mapped))
        return WSE_ADDRESS;
    return WSE_FINE;
}

static int loopback(uint16_t family, const uint8_t *address)
{
    static const uint8_t one[16] = {[15] = 1};

    return family == AF_INET ? address[0] == 127 : !memcmp(address, one, sizeof one);
}

enum wse_refusal wse_addresses_check(uint16_t family, const uint8_t *source, const uint8_t *destination)
{
    if (family != AF_INET && family != AF_INET6)
        return WSE_VERSION_BAD;
    if (family == AF_INET ? check_address_4(source) || check_address_4(destination)
                          : check_address_6(source) || check_address_6(destination))
        return WSE_ADDRESS;
    return loopback(family, source) != loopback(family, destination) ? WSE_ADDRESS : WSE_FINE;
}

static int quotes(uint16_t family, uint8_t type)
{
    if (family == AF_INET6)
        return type < ICMP6_ERRORS;
    return type == ICMP_UNREACHABLE || type == ICMP_SOURCE_QUENCH || type == ICMP_TIME_EXCEEDED ||
           type == ICMP_PARAMETER_PROBLEM;
}

/*
 * RFC 4301 section 6: an error is about a packet that this host sent to that peer. One about a third host would have a
 * peer end, or narrow, connections that are none of its business. A quote too short to tell is refused, too.
 */
static enum wse_refusal check_quote(const struct wse_inner *inner, const uint8_t *quote, uint32_t length)
{
    const int four = inner->family == AF_INET;
    const size_t size = four ? 4 : 16;
    const uint8_t *source;

    if (length < (uint32_t)(four ? IPV4_HEADER : IPV6_HEADER))
        return WSE_SHORT;
    if (quote[0] >> 4 != (four ? 4 : 6))
        return WSE_VERSION_BAD;
    if (four && (quote[0] & 15) < 5)
        return WSE_HEADER_BAD;
    source = quote + (four ? 12 : 8);
    if (memcmp(source, inner->destination, size) || memcmp(source + size, inner->source, size))
        return WSE_ADDRESS;
    return WSE_FINE;
}

enum wse_refusal wse_inner_check(struct wse_inner *inner)
{
    struct wse_transport_header header;
    enum wse_refusal refusal = wse_addresses_check(inner->family, inner->source, inner->destination);
    const uint32_t most = inner->family == AF_INET ? WSE_PACKET_MAX - IPV4_HEADER : WSE_PACKET_MAX;
    const uint8_t *at;

    if (refusal)
        return refusal;
    if (inner->length > most)
        return WSE_SHORT;
    refusal = wse_transport_parse(inner->bytes, inner->length, inner->family, inner->next, &header);
    if (refusal)
        return refusal;
    at = inner->bytes + header.transport;
    if (header.protocol == IPPROTO_UDP) {
        if (header.said < 8 || header.said > inner->length - header.transport)
            return WSE_HEADER_BAD;
        /* RFC 4303 2.7: what is behind a datagram that knows its length hides how long it is. */
        inner->length = (uint32_t)header.transport + header.said;
    }
    /* A peer says nothing about this host's routes and neighbours. */
    if ((header.protocol == IPPROTO_ICMP && at[0] == ICMP_REDIRECT) ||
        (header.protocol == IPPROTO_ICMPV6 && at[0] >= ICMP6_DISCOVERY_FIRST && at[0] <= ICMP6_DISCOVERY_LAST))
        return WSE_PROTOCOL;
    if ((header.protocol == IPPROTO_ICMP || header.protocol == IPPROTO_ICMPV6) && quotes(inner->family, at[0])) {
        refusal = check_quote(inner, at + ICMP_HEADER, inner->length - header.transport - ICMP_HEADER);
        if (refusal)
            return refusal;
    }
    inner->protocol = header.protocol;
    inner->transport = header.transport;
    inner->headers = header.headers;
    inner->checksum_offset = header.checksum;
    inner->has_checksum = header.has_checksum;
    return WSE_FINE;
}

uint32_t wse_inner_ip(const struct wse_inner *inner, uint32_t length, uint8_t *to)
{
    if (inner->family == AF_INET6) {
        wse_put32(to, 6u << 28 | (uint32_t)inner->tos << 20 | (inner->flow_label & 0xfffff));
        wse_put16(to + 4, (uint16_t)length);
        to[6] = inner->next;
        to[7] = inner->ttl;
        memcpy(to + 8, inner->source, 16);
        memcpy(to + 24, inner->destination, 16);
        return IPV6_HEADER;
    }
    to[0] = 0x45;
    to[1] = inner->tos;
    wse_put16(to + 2, (uint16_t)(IPV4_HEADER + length));
    wse_put16(to + 4, 0); /* RFC 6864 4.1: of no meaning in what is no fragment and may not become one */
    wse_put16(to + 6, DONT_FRAGMENT);
    to[8] = inner->ttl;
    to[9] = inner->next;
    wse_put16(to + 10, 0);
    memcpy(to + 12, inner->source, 4);
    memcpy(to + 16, inner->destination, 4);
    wse_put_checksum(to + 10, wse_checksum(wse_sum(to, IPV4_HEADER)));
    return IPV4_HEADER;
}

static uint64_t pseudo_of(const struct wse_inner *inner)
{
    return wse_sum_pseudo(inner->family, inner->source, inner->destination, inner->protocol,
                          inner->length - inner->transport);
}

uint32_t wse_inner_header(struct wse_inner *inner, uint8_t *to)
{
    struct virtio_net_hdr offload = {0};
    const uint32_t ip = wse_inner_ip(inner, inner->length, to + WSE_VNET_LENGTH);

    if (inner->checksum == WSE_CHECKSUM_ANEW && inner->has_checksum) {
        uint8_t *checksum = inner->bytes + inner->transport + inner->checksum_offset;

        /* UDP without a checksum stays so: that is the sender's word (and IPv6 refuses it). */
        if (inner->protocol != IPPROTO_UDP || wse_get16(checksum)) {
            offload.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
            offload.csum_start = (uint16_t)(ip + inner->transport);
            offload.csum_offset = inner->checksum_offset;
            wse_put_checksum(checksum, wse_sum_fold(pseudo_of(inner)));
        }
    }
    memcpy(to, &offload, WSE_VNET_LENGTH);
    return WSE_VNET_LENGTH + ip;
}

int wse_inner_checksum_right(const struct wse_inner *inner)
{
    const uint64_t sum = wse_sum(inner->bytes + inner->transport, inner->length - inner->transport);

    return wse_sum_fold(sum + pseudo_of(inner)) == 0xffff;
}
