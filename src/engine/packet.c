/* SPDX-License-Identifier: Apache-2.0 */
#include "packet.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "inner.h"
#include "octets.h"

enum {
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    TCP_HEADER = 20,
    UDP_HEADER = 8,
    ICMP_HEADER = 8,
    TCP_CHECKSUM = 16,
    UDP_CHECKSUM = 6,
    ICMP6_CHECKSUM = 2,
    FRAGMENT_HEADER = 8,
    DESTINATION_HEADERS = 2, /* RFC 8200 4.1: there are no more */
    HOME_ADDRESS = 201       /* RFC 6275 6.3: would change the source */
};

const char *wse_refusal_name(enum wse_refusal refusal)
{
    static const char *const names[] = {
        [WSE_FINE] = "fine",           [WSE_SHORT] = "short",
        [WSE_VERSION_BAD] = "version", [WSE_HEADER_BAD] = "header",
        [WSE_OPTIONS] = "options",     [WSE_ROUTING] = "routing",
        [WSE_ADDRESS] = "address",     [WSE_PROTOCOL] = "protocol",
        [WSE_OFFLOAD_BAD] = "offload", [WSE_FRAGMENT] = "fragment",
        [WSE_CHECKSUM_BAD] = "checksum",
    };

    return (size_t)refusal < sizeof names / sizeof *names ? names[refusal] : "unknown";
}

static enum wse_refusal parse_4(struct wse_packet *packet, const uint8_t *bytes, size_t length)
{
    uint16_t fragment;

    if (length < IPV4_HEADER)
        return WSE_SHORT;
    packet->length = wse_get16(bytes + 2);
    if (packet->length > length)
        return WSE_SHORT;
    if ((bytes[0] & 15) < 5 || packet->length < 4 * (bytes[0] & 15u))
        return WSE_HEADER_BAD;
    if ((bytes[0] & 15) > 5)
        return WSE_OPTIONS;
    fragment = wse_get16(bytes + 6);
    packet->family = AF_INET;
    packet->source = bytes + 12;
    packet->destination = bytes + 16;
    packet->tos = bytes[1];
    packet->ttl = bytes[8];
    packet->next = packet->protocol = bytes[9];
    packet->payload = packet->transport = packet->headers = IPV4_HEADER;
    packet->dont_fragment = (fragment >> 14) & 1;
    packet->more_fragments = (fragment >> 13) & 1;
    packet->fragment_offset = (fragment & 0x1fffu) * 8;
    packet->fragment = packet->more_fragments || packet->fragment_offset;
    packet->fragment_id = wse_get16(bytes + 4);
    packet->fragment_start = IPV4_HEADER;
    return WSE_FINE;
}

/* Options of a destination options header of `length` bytes: all but the home address are the host's business. */
static enum wse_refusal check_options(const uint8_t *bytes, uint32_t length)
{
    for (uint32_t at = 2; at < length;) {
        if (bytes[at] == 0) { /* Pad1 */
            at++;
            continue;
        }
        if (bytes[at] == HOME_ADDRESS)
            return WSE_OPTIONS;
        if (length - at < 2 || length - at < 2u + bytes[at + 1])
            return WSE_HEADER_BAD;
        at += 2u + bytes[at + 1];
    }
    return WSE_FINE;
}

/*
 * Skips destination options. *transport and *protocol are where to begin, and then the first header that is no such.
 * 16 bits are enough: two headers of at most 2,048 bytes.
 */
static enum wse_refusal skip_options(const uint8_t *bytes, uint32_t length, uint16_t *transport, uint8_t *protocol)
{
    for (int i = 0; *protocol == IPPROTO_DSTOPTS; i++) {
        const uint32_t at = *transport;
        enum wse_refusal refusal;
        uint32_t size;

        if (i == DESTINATION_HEADERS)
            return WSE_OPTIONS;
        if (length - at < 8)
            return WSE_SHORT;
        size = 8 * (bytes[at + 1] + 1u);
        if (length - at < size)
            return WSE_SHORT;
        refusal = check_options(bytes + at, size);
        if (refusal)
            return refusal;
        *protocol = bytes[at];
        *transport = (uint16_t)(at + size);
    }
    if (*protocol == IPPROTO_HOPOPTS)
        return WSE_OPTIONS;
    if (*protocol == IPPROTO_ROUTING)
        return WSE_ROUTING;
    return WSE_FINE;
}

static enum wse_refusal parse_6(struct wse_packet *packet, const uint8_t *bytes, size_t length)
{
    uint32_t first;

    if (length < IPV6_HEADER)
        return WSE_SHORT;
    packet->length = IPV6_HEADER + wse_get16(bytes + 4);
    if (packet->length > length)
        return WSE_SHORT;
    first = wse_get32(bytes);
    packet->family = AF_INET6;
    packet->source = bytes + 8;
    packet->destination = bytes + 24;
    packet->tos = (uint8_t)(first >> 20);
    packet->flow_label = first & 0xfffff;
    packet->ttl = bytes[7];
    packet->next = packet->protocol = bytes[6];
    packet->payload = packet->transport = packet->headers = IPV6_HEADER;
    packet->dont_fragment = 1;
    if (packet->next == IPPROTO_FRAGMENT) {
        const uint8_t *header = bytes + IPV6_HEADER;

        if (packet->length < IPV6_HEADER + FRAGMENT_HEADER)
            return WSE_SHORT;
        packet->fragment = 1;
        packet->next = packet->protocol = header[0];
        packet->fragment_offset = wse_get16(header + 2) & 0xfff8u;
        packet->more_fragments = header[3] & 1;
        packet->fragment_id = wse_get32(header + 4);
        packet->fragment_start = IPV6_HEADER + FRAGMENT_HEADER;
        packet->payload = packet->transport = packet->headers = IPV6_HEADER + FRAGMENT_HEADER;
        return WSE_FINE;
    }
    return skip_options(bytes, packet->length, &packet->transport, &packet->protocol);
}

enum wse_refusal wse_transport_parse(const uint8_t *bytes, uint32_t length, uint16_t family, uint8_t next,
                                     struct wse_transport_header *header)
{
    enum wse_refusal refusal;
    uint32_t rest;

    *header = (struct wse_transport_header){.protocol = next};
    if (family == AF_INET6) {
        refusal = skip_options(bytes, length, &header->transport, &header->protocol);
        if (refusal)
            return refusal;
    }
    bytes += header->transport;
    rest = length - header->transport;
    header->headers = header->transport;
    switch (header->protocol) {
    case IPPROTO_TCP:
        if (rest < TCP_HEADER)
            return WSE_SHORT;
        if (bytes[12] >> 4 < 5)
            return WSE_HEADER_BAD;
        if (rest < 4u * (bytes[12] >> 4))
            return WSE_SHORT;
        header->headers = (uint16_t)(header->headers + 4 * (bytes[12] >> 4));
        header->checksum = TCP_CHECKSUM;
        header->has_checksum = 1;
        return WSE_FINE;
    case IPPROTO_UDP:
        if (rest < UDP_HEADER)
            return WSE_SHORT;
        header->headers = (uint16_t)(header->headers + UDP_HEADER);
        header->checksum = UDP_CHECKSUM;
        header->has_checksum = 1;
        header->said = wse_get16(bytes + 4);
        return WSE_FINE;
    case IPPROTO_ICMP:
        if (family != AF_INET)
            return WSE_PROTOCOL;
        return rest < ICMP_HEADER ? WSE_SHORT : WSE_FINE;
    case IPPROTO_ICMPV6:
        if (family != AF_INET6)
            return WSE_PROTOCOL;
        header->checksum = ICMP6_CHECKSUM;
        header->has_checksum = 1;
        return rest < ICMP_HEADER ? WSE_SHORT : WSE_FINE;
    default:
        return WSE_PROTOCOL;
    }
}

enum wse_refusal wse_packet_parse(struct wse_packet *packet, const uint8_t *bytes, size_t length)
{
    struct wse_transport_header header;
    enum wse_refusal refusal;

    memset(packet, 0, sizeof *packet);
    packet->bytes = bytes;
    if (!length)
        return WSE_SHORT;
    if (bytes[0] >> 4 == 4)
        refusal = parse_4(packet, bytes, length);
    else if (bytes[0] >> 4 == 6)
        refusal = parse_6(packet, bytes, length);
    else
        return WSE_VERSION_BAD;
    if (refusal || packet->fragment)
        return refusal;
    refusal = wse_transport_parse(bytes + packet->transport, packet->length - packet->transport, packet->family,
                                  packet->protocol, &header);
    if (refusal)
        return refusal;
    packet->headers = (uint16_t)(packet->transport + header.headers);
    return WSE_FINE;
}

enum wse_refusal wse_packet_parse_tun(struct wse_packet *packet, const uint8_t *frame, size_t length)
{
    struct virtio_net_hdr offload;
    enum wse_refusal refusal;
    uint8_t gso;

    if (length < WSE_VNET_LENGTH) {
        memset(packet, 0, sizeof *packet);
        return WSE_SHORT;
    }
    memcpy(&offload, frame, WSE_VNET_LENGTH);
    refusal = wse_packet_parse(packet, frame + WSE_VNET_LENGTH, length - WSE_VNET_LENGTH);
    if (refusal)
        return refusal;
    if (offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        if (packet->fragment || offload.csum_start != packet->transport || offload.csum_offset % 2 ||
            packet->transport + offload.csum_offset + 2u > packet->length)
            return WSE_OFFLOAD_BAD;
        packet->needs_checksum = 1;
        packet->checksum_offset = offload.csum_offset;
    }
    gso = offload.gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
    if (gso == VIRTIO_NET_HDR_GSO_NONE)
        return WSE_FINE;
    /* UFO (VIRTIO_NET_HDR_GSO_UDP) is never asked for. */
    if (packet->fragment || !offload.gso_size ||
        !((gso == VIRTIO_NET_HDR_GSO_TCPV4 && packet->family == AF_INET && packet->protocol == IPPROTO_TCP) ||
          (gso == VIRTIO_NET_HDR_GSO_TCPV6 && packet->family == AF_INET6 && packet->protocol == IPPROTO_TCP) ||
          (gso == VIRTIO_NET_HDR_GSO_UDP_L4 && packet->protocol == IPPROTO_UDP)))
        return WSE_OFFLOAD_BAD;
    packet->gso = gso;
    packet->gso_size = offload.gso_size;
    return WSE_FINE;
}

enum wse_refusal wse_packet_check_outbound(const struct wse_packet *packet)
{
    return wse_addresses_check(packet->family, packet->source, packet->destination);
}

void wse_packet_ports(const struct wse_packet *packet, uint16_t *source, uint16_t *destination)
{
    const int has = !packet->fragment && (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP);

    *source = has ? wse_get16(packet->bytes + packet->transport) : 0;
    *destination = has ? wse_get16(packet->bytes + packet->transport + 2) : 0;
}
