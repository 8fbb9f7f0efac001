/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: icmp.c packet.c inner.c checksum.c */
#include "icmp.h"

#include "made_packet.h"

static const int families[] = {AF_INET, AF_INET6};

static void test_needed(void)
{
    struct made made = make_packet(AF_INET, IPPROTO_TCP, 5000, VIRTIO_NET_HDR_GSO_TCPV4, 1400);
    struct wse_packet packet;

    CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
    CHECK(!wse_icmp_needed(&packet, 1452) && wse_icmp_needed(&packet, 1451)); /* a segment counts */
    made.frame[made.ip + 6] = 0;
    CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
    CHECK(!wse_icmp_needed(&packet, 1000)); /* may be cut */
    free(made.frame);
    made = make_packet(AF_INET6, IPPROTO_UDP, 1000, 0, 0);
    CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
    CHECK(!wse_icmp_needed(&packet, 1048) && wse_icmp_needed(&packet, 1047));
    free(made.frame);
}

static void test_message(void)
{
    for (int i = 0; i < 2; i++) {
        for (size_t data = 0; data < 3000; data += 101) {
            struct made made = make_packet(families[i], IPPROTO_TCP, data, 0, 0);
            const size_t ip = i ? 40 : 20, size = made.length - made.ip;
            const size_t quoted = size < (i ? 1232 : 548) ? size : i ? 1232 : 548;
            uint8_t *to = malloc(WSE_VNET_LENGTH + ip + 8 + quoted);
            const uint8_t *icmp = to + WSE_VNET_LENGTH + ip;
            struct wse_packet packet, answer;
            uint32_t length;

            CHECK(to);
            CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
            length = wse_icmp_too_big(&packet, 1400, to);
            CHECK(length == WSE_VNET_LENGTH + ip + 8 + quoted && length <= WSE_ICMP_MAX);
            CHECK(wse_packet_parse_tun(&answer, to, length) == WSE_FINE);
            CHECK(answer.protocol == (i ? IPPROTO_ICMPV6 : IPPROTO_ICMP) && answer.length == ip + 8 + quoted);
            CHECK(!memcmp(answer.source, packet.destination, i ? 16 : 4));
            CHECK(!memcmp(answer.destination, packet.source, i ? 16 : 4));
            CHECK(!memcmp(icmp + 8, packet.bytes, quoted));
            if (i) {
                CHECK(icmp[0] == 2 && icmp[1] == 0 && wse_get32(icmp + 4) == 1400);
                CHECK(slow_transport_sum(AF_INET6, answer.source, answer.destination, IPPROTO_ICMPV6, icmp,
                                         8 + quoted) == 0xffff);
            } else {
                CHECK(icmp[0] == 3 && icmp[1] == 4 && wse_get16(icmp + 6) == 1400 && wse_get16(icmp + 4) == 0);
                CHECK(slow_sum(icmp, 8 + quoted, 0) == 0xffff && slow_sum(answer.bytes, 20, 0) == 0xffff);
            }
            free(to);
            free(made.frame);
        }
    }
}

static void test_none(void)
{
    for (int i = 0; i < 2; i++) {
        struct made made = make_packet(families[i], i ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 1000, 0, 0);
        struct wse_packet packet;
        uint8_t to[WSE_ICMP_MAX];

        for (int type = 0; type < 256; type++) {
            const int error = i ? type < 128 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;

            made.frame[made.transport] = (uint8_t)type;
            CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
            CHECK((wse_icmp_too_big(&packet, 1280, to) == 0) == error);
        }
        /* To a group: none. */
        made.frame[made.transport] = i ? 128 : 8;
        made.frame[made.ip + (i ? 24 : 16)] = i ? 0xff : 224;
        CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
        CHECK(!wse_icmp_too_big(&packet, 1280, to));
        free(made.frame);
    }
    struct made made = make_packet(AF_INET, IPPROTO_UDP, 1000, 0, 0);
    struct wse_packet packet;
    uint8_t to[WSE_ICMP_MAX];

    memset(made.frame, 0, WSE_VNET_LENGTH);
    wse_put16(made.frame + made.ip + 6, 0x2000); /* the first fragment */
    CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE && wse_icmp_too_big(&packet, 576, to));
    wse_put16(made.frame + made.ip + 6, 0x2001);
    CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE && !wse_icmp_too_big(&packet, 576, to));
    free(made.frame);
}

int main(void)
{
    test_needed();
    test_message();
    test_none();
    return 0;
}
