/* SPDX-License-Identifier: Apache-2.0 */
/* Packets as a TUN device gives them out, made in buffers of just their size, and a checksum that is slow and plain. */
#ifndef WSASEC_TESTS_MADE_PACKET_H
#define WSASEC_TESTS_MADE_PACKET_H

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "check.h"
#include "octets.h"
#include "packet.h"

static const uint8_t made_source_4[4] = {10, 1, 2, 3}, made_destination_4[4] = {10, 1, 2, 4};
static const uint8_t made_source_6[16] = {0xfd, 1, [15] = 7}, made_destination_6[16] = {0xfd, 1, [15] = 8};

static inline uint16_t slow_sum(const uint8_t *bytes, size_t length, uint32_t sum)
{
    for (size_t i = 0; i < length; i++)
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* The sum, with the pseudo header, of a TCP, UDP or ICMPv6 packet as it lies behind IP: 0xffff where it is right. */
static inline uint16_t slow_transport_sum(int family, const uint8_t *source, const uint8_t *destination,
                                          uint8_t protocol, const uint8_t *bytes, size_t length)
{
    const size_t size = family == AF_INET ? 4 : 16;
    uint32_t sum = slow_sum(source, size, 0);

    sum = slow_sum(destination, size, sum) + (uint32_t)protocol;
    sum += (uint32_t)(length >> 16) + (uint32_t)(length & 0xffff);
    return slow_sum(bytes, length, sum);
}

struct made {
    uint8_t *frame; /* with the virtio_net_hdr; to be freed */
    size_t length;
    size_t ip;      /* offset of the IP header */
    size_t transport, payload;
};

/* TCP with 12 bytes of options, UDP, or ICMP's echo; so many bytes of payload; gso is 0 or a GSO type. Partial sums. */
static inline struct made make_packet(int family, uint8_t protocol, size_t data, uint8_t gso, uint16_t gso_size)
{
    const size_t ip = family == AF_INET ? 20 : 40, header = protocol == IPPROTO_TCP ? 32 : 8;
    struct made made = {.length = WSE_VNET_LENGTH + ip + header + data, .ip = WSE_VNET_LENGTH};
    struct virtio_net_hdr offload = {0};
    const uint8_t *source = family == AF_INET ? made_source_4 : made_source_6;
    const uint8_t *destination = family == AF_INET ? made_destination_4 : made_destination_6;
    uint8_t *at;
    uint32_t pseudo;

    made.frame = calloc(1, made.length);
    CHECK(made.frame);
    made.transport = made.ip + ip;
    made.payload = made.transport + header;
    at = made.frame + made.ip;
    if (family == AF_INET) {
        at[0] = 0x45;
        at[1] = 0x2a;
        wse_put16(at + 2, (uint16_t)(ip + header + data));
        wse_put16(at + 4, 0xfffe);
        at[6] = 0x40;
        at[8] = 63;
        at[9] = protocol;
        memcpy(at + 12, source, 4);
        memcpy(at + 16, destination, 4);
        wse_put16(at + 10, (uint16_t)~slow_sum(at, 20, 0));
    } else {
        wse_put32(at, 0x62a12345);
        wse_put16(at + 4, (uint16_t)(header + data));
        at[6] = protocol;
        at[7] = 62;
        memcpy(at + 8, source, 16);
        memcpy(at + 24, destination, 16);
    }
    at = made.frame + made.transport;
    for (size_t i = 0; i < data; i++)
        at[header + i] = (uint8_t)(i * 31 + (i >> 8) * 7 + 1);
    pseudo = (uint32_t)slow_transport_sum(family, source, destination, protocol, at, 0);
    pseudo = (uint32_t)(header + data) + pseudo;
    pseudo = (pseudo & 0xffff) + (pseudo >> 16);
    if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
        wse_put16(at, 40000);
        wse_put16(at + 2, 443);
        offload.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        offload.csum_start = (uint16_t)(made.transport - made.ip);
    }
    if (protocol == IPPROTO_TCP) {
        wse_put32(at + 4, 0xfffffff0); /* wraps */
        wse_put32(at + 8, 0x01020304);
        at[12] = 0x80;
        at[13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR ACK PSH FIN */
        wse_put16(at + 14, 501);
        wse_put16(at + 16, (uint16_t)pseudo);
        memcpy(at + 20, "\1\1\10\12\0\0\0\1\0\0\0\2", 12);
        offload.csum_offset = 16;
    } else if (protocol == IPPROTO_UDP) {
        wse_put16(at + 4, (uint16_t)(8 + data));
        wse_put16(at + 6, (uint16_t)pseudo);
        offload.csum_offset = 6;
    } else {
        uint16_t sum;

        at[0] = family == AF_INET ? 8 : 128;
        sum = family == AF_INET ? slow_sum(at, header + data, 0)
                                : slow_transport_sum(family, source, destination, protocol, at, header + data);
        wse_put16(at + 2, (uint16_t)~sum);
    }
    offload.gso_type = gso;
    offload.gso_size = gso_size;
    memcpy(made.frame, &offload, WSE_VNET_LENGTH);
    return made;
}

#endif
