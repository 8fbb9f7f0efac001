/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came out of ESP in transport mode: the checks before it may reach the host, and its IP header, which is built
 * from the association's addresses and the outer header's fields.
 */
#ifndef WSASEC_ENGINE_INNER_H
#define WSASEC_ENGINE_INNER_H

#include "packet.h"

enum wse_inner_checksum {
    WSE_CHECKSUM_AS_IS = 0, /* whoever takes it verifies it: the kernel, or the merger before it merges */
    WSE_CHECKSUM_ANEW       /* UDP encapsulation behind address translation: not to be verified (RFC 3948 3.1.2) */
};

struct wse_inner {
    const uint8_t *source;      /* 4 or 16 bytes: of the association (the peer), network order */
    const uint8_t *destination; /* this host's */
    uint8_t *bytes;             /* the transport header and its payload */
    uint32_t length;
    uint32_t device;            /* the caller's number of where it is written; merged only within one */
    uint32_t flow_label;
    uint16_t family;
    uint8_t next;               /* the ESP trailer's next header */
    uint8_t tos, ttl;           /* of the outer header: transport mode has one */
    uint8_t checksum;           /* enum wse_inner_checksum */

    /* By wse_inner_check. */
    uint8_t protocol;           /* TCP, UDP, ICMP, ICMPv6, behind IPv6 destination options */
    uint16_t transport;         /* offset in bytes */
    uint16_t headers;           /* offset of the payload of TCP or UDP */
    uint16_t checksum_offset;   /* from transport, where there is one with a pseudo header */
    uint8_t has_checksum;
};

enum { WSE_INNER_HEADER_MAX = WSE_VNET_LENGTH + 40 };

/*
 * May the packet reach the host? Fills in the last members, and cuts off what is behind a UDP datagram (RFC 4303 2.7).
 * Refused are ICMP redirects and neighbour discovery, too: a peer says nothing about this host's routes; and errors of
 * ICMP that do not quote a packet of this host to that peer (RFC 4301 section 6).
 */
enum wse_refusal wse_inner_check(struct wse_inner *inner);

/*
 * Writes a virtio_net_hdr and the IP header for a packet alone (30 or 50 bytes); returns the bytes written. With
 * WSE_CHECKSUM_ANEW a partial checksum is set in inner->bytes and told to the kernel. Write header, then bytes.
 */
uint32_t wse_inner_header(struct wse_inner *inner, uint8_t *to);

/* Writes the IP header alone (20 or 40 bytes, IPv4 with DF and checksum) for `length` bytes behind it. */
uint32_t wse_inner_ip(const struct wse_inner *inner, uint32_t length, uint8_t *to);

/* Whether the checksum of TCP, UDP or ICMPv6 (has_checksum) is right; UDP's zero is not. */
int wse_inner_checksum_right(const struct wse_inner *inner);

/* Is a pair of addresses fit for an association: unicast, not unspecified? Loopback only for both. */
enum wse_refusal wse_addresses_check(uint16_t family, const uint8_t *source, const uint8_t *destination);

#endif
