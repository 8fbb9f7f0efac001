/* SPDX-License-Identifier: Apache-2.0 */
/* An inner IP packet as a TUN device with IFF_VNET_HDR gives it out: where its parts are. Nothing is read outside. */
#ifndef WSASEC_ENGINE_PACKET_H
#define WSASEC_ENGINE_PACKET_H

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* Linux 6.2 */
#endif

enum {
    WSE_VNET_LENGTH = 10,      /* struct virtio_net_hdr without num_buffers */
    WSE_PACKET_MAX = 65535,    /* of an IPv4 packet with its header; IPv6 has 40 bytes more */
    WSE_INNER_MAX = 65535 + 40 /* of any packet */
};

/* Why a packet is not carried. */
enum wse_refusal {
    WSE_FINE = 0,
    WSE_SHORT,       /* lengths do not fit: too short, or more said than is there */
    WSE_VERSION_BAD, /* neither IPv4 nor IPv6 */
    WSE_HEADER_BAD,  /* the header's own fields contradict each other */
    WSE_OPTIONS,     /* IPv4 or IPv6 hop-by-hop options: the outer header's; and the home address option */
    WSE_ROUTING,     /* a routing header: would change the destination */
    WSE_ADDRESS,     /* multicast, broadcast, unspecified or loopback where it may not be; quoted ones of others */
    WSE_PROTOCOL,    /* a transport protocol that is not carried */
    WSE_OFFLOAD_BAD, /* the virtio_net_hdr does not fit the packet */
    WSE_FRAGMENT,    /* a fragment where none may be */
    WSE_CHECKSUM_BAD,
    WSE_REFUSALS /* their number, for counters */
};

const char *wse_refusal_name(enum wse_refusal refusal);

struct wse_packet {
    const uint8_t *bytes;       /* the IP header */
    const uint8_t *source;      /* within bytes: 4 or 16, network order */
    const uint8_t *destination;
    uint32_t length;            /* of the whole IP packet */
    uint16_t family;            /* AF_INET, AF_INET6 */
    uint16_t payload;           /* offset of what ESP carries in transport mode: behind the IP header */
    uint16_t transport;         /* offset of the transport header: behind IPv6 destination options */
    uint16_t headers;           /* offset of the transport's payload where it is TCP or UDP, else = transport */
    uint8_t next;               /* the next header of ESP: what is at `payload` */
    uint8_t protocol;           /* what is at `transport` */
    uint8_t fragment;           /* it is a fragment (then transport = headers = payload) */
    uint8_t dont_fragment;      /* IPv4 DF; 1 for IPv6 */
    uint8_t tos;                /* IPv4 TOS, IPv6 traffic class */
    uint8_t ttl;                /* TTL, hop limit */
    uint8_t more_fragments;
    uint32_t flow_label;        /* IPv6 */
    uint32_t fragment_id;
    uint32_t fragment_offset;   /* bytes */
    uint32_t fragment_start;    /* offset in the packet of the fragment's data */
    uint32_t reqid;             /* the caller's, 0 after parsing: fragments of different ones are not put together */

    /* From the virtio_net_hdr. */
    uint8_t gso;                /* VIRTIO_NET_HDR_GSO_NONE, _TCPV4, _TCPV6, _UDP_L4, without _ECN */
    uint8_t needs_checksum;     /* partial: the pseudo header's sum stands at transport + checksum_offset */
    uint16_t checksum_offset;   /* from transport */
    uint16_t gso_size;          /* payload bytes a segment; not 0 where gso is not NONE */
};

/* Parses a bare IP packet; bytes behind its own length are ignored. */
enum wse_refusal wse_packet_parse(struct wse_packet *packet, const uint8_t *bytes, size_t length);

/* Parses what was read from a TUN queue: struct virtio_net_hdr (10 bytes) and the packet. */
enum wse_refusal wse_packet_parse_tun(struct wse_packet *packet, const uint8_t *frame, size_t length);

/* The header behind IP (and behind IPv6 destination options) where ESP carries it. Offsets from the first byte. */
struct wse_transport_header {
    uint16_t transport;
    uint16_t headers;     /* of the payload of TCP or UDP; else = transport */
    uint16_t said;        /* UDP's own length */
    uint16_t checksum;    /* offset from transport of a checksum with a pseudo header */
    uint8_t protocol;
    uint8_t has_checksum; /* TCP, UDP, ICMPv6 */
};

/* Parses `length` bytes of which the first are a header of the kind `next`. TCP, UDP, ICMP and ICMPv6 are carried. */
enum wse_refusal wse_transport_parse(const uint8_t *bytes, uint32_t length, uint16_t family, uint8_t next,
                                     struct wse_transport_header *header);

/* May it go out: wse_addresses_check of its addresses. */
enum wse_refusal wse_packet_check_outbound(const struct wse_packet *packet);

/* Whether a TCP header begins a connection, or answers such a one. */
static inline int wse_tcp_begins(const uint8_t *header)
{
    return header[13] & 2;
}

/* The ports of TCP or UDP (machine's order), 0 for others. */
void wse_packet_ports(const struct wse_packet *packet, uint16_t *source, uint16_t *destination);

#endif
