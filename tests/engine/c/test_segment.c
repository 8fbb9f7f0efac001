/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: segment.c packet.c inner.c checksum.c */
#include "segment.h"

#include "made_packet.h"

static const int families[] = {AF_INET, AF_INET6};

/* Cuts it, checks each segment by itself, and that the payloads in a row are the super packet's. */
static void cut_all(int family, uint8_t protocol, size_t data, uint8_t gso, uint16_t size)
{
    const size_t header = protocol == IPPROTO_TCP ? 32 : 8, ip_length = family == AF_INET ? 20 : 40;
    struct made made = make_packet(family, protocol, data, gso, size);
    const uint8_t *payload = made.frame + made.payload;
    struct wse_packet packet;
    struct wse_segments cut;
    size_t done = 0;
    uint32_t count;

    CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
    count = wse_segment_start(&cut, &packet);
    CHECK(count == (gso && data > size ? (data + size - 1) / size : 1));
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t length = wse_segment_length(&cut, i);
        uint8_t *to = malloc(length);
        uint8_t ip[40];

        CHECK(to && length > 0 && length <= header + (gso ? size : data));
        CHECK(i + 1 == count || length == header + size);
        CHECK(wse_segment_write(&cut, i, to) == length);
        CHECK(!memcmp(to + header, payload + done, length - header));
        CHECK(!memcmp(to, made.frame + made.transport, 4)); /* ports */
        CHECK(slow_transport_sum(family, family == AF_INET ? made_source_4 : made_source_6,
                                 family == AF_INET ? made_destination_4 : made_destination_6, protocol, to,
                                 length) == 0xffff);
        if (protocol == IPPROTO_TCP) {
            CHECK(wse_get32(to + 4) == (uint32_t)(0xfffffff0 + done));
            CHECK((to[13] & 0x10) && !!(to[13] & 0x80) == (i == 0) && (to[13] & 9) == (i + 1 == count ? 9 : 0));
            CHECK(!memcmp(to + 14, made.frame + made.transport + 14, 2));
            CHECK(!memcmp(to + 18, made.frame + made.transport + 18, 14));
        } else {
            CHECK(wse_get16(to + 4) == length && wse_get16(to + 6));
        }
        CHECK(wse_segment_ip(&cut, i, ip) == ip_length);
        if (family == AF_INET) {
            CHECK(slow_sum(ip, 20, 0) == 0xffff && wse_get16(ip + 2) == 20 + length);
            CHECK(wse_get16(ip + 4) == (uint16_t)(0xfffe + i)); /* wraps */
        } else {
            CHECK(wse_get16(ip + 4) == length);
        }
        done += length - header;
        free(to);
    }
    CHECK(done == data);
    free(made.frame);
}

static void test_cut(void)
{
    for (int i = 0; i < 2; i++) {
        const uint8_t tso = i ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;

        for (size_t data = 0; data < 260; data++) {
            cut_all(families[i], IPPROTO_TCP, data, tso, 64);
            cut_all(families[i], IPPROTO_UDP, data, VIRTIO_NET_HDR_GSO_UDP_L4, 63);
            cut_all(families[i], IPPROTO_TCP, data, 0, 0);
            cut_all(families[i], IPPROTO_UDP, data, 0, 0);
        }
        cut_all(families[i], IPPROTO_TCP, 65000, tso, 1388);
        cut_all(families[i], IPPROTO_TCP, 65000, tso, 1);
        cut_all(families[i], IPPROTO_TCP, 4 * 1388, tso, 1388);
        cut_all(families[i], IPPROTO_UDP, 65000, VIRTIO_NET_HDR_GSO_UDP_L4, 1399);
        cut_all(families[i], IPPROTO_TCP, 65000, tso, 65535);
    }
}

/* Nothing is to be completed: the bytes are as they were, right or not. */
static void test_as_is(void)
{
    for (int i = 0; i < 2; i++) {
        struct made made = make_packet(families[i], i ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 333, 0, 0);
        struct wse_packet packet;
        struct wse_segments cut;
        uint8_t to[341];

        CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
        CHECK(wse_segment_start(&cut, &packet) == 1 && wse_segment_length(&cut, 0) == sizeof to);
        CHECK(wse_segment_write(&cut, 0, to) == sizeof to && !memcmp(to, made.frame + made.transport, sizeof to));
        free(made.frame);
    }
}

/* A UDP datagram whose checksum comes out as zero: 0xffff stands for it, whole or cut. */
static void test_udp_zero(void)
{
    for (int gso = 0; gso < 2; gso++) {
        struct made made = make_packet(AF_INET, IPPROTO_UDP, 4, gso ? VIRTIO_NET_HDR_GSO_UDP_L4 : 0, gso ? 2 : 0);
        struct wse_packet packet;
        struct wse_segments cut;
        uint8_t to[12];
        uint32_t length;
        uint16_t checksum;

        memset(made.frame + made.payload, 0, 4);
        CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
        wse_segment_start(&cut, &packet);
        length = wse_segment_write(&cut, 0, to);
        checksum = wse_get16(to + 6);
        memcpy(made.frame + made.payload, &(uint16_t){htons(checksum)}, 2); /* now the sum is all ones */
        length = wse_segment_write(&cut, 0, to);
        CHECK(wse_get16(to + 6) == 0xffff);
        wse_put16(to + 6, 0);
        CHECK(slow_transport_sum(AF_INET, made_source_4, made_destination_4, IPPROTO_UDP, to, length) == 0xffff);
        free(made.frame);
    }
}

int main(void)
{
    test_cut();
    test_as_is();
    test_udp_zero();
    return 0;
}
