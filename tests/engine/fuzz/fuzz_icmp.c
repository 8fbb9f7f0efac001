/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: icmp.c packet.c inner.c checksum.c */
/* Any packet that is too big: what is said of it is a packet by itself, with right checksums, and never about an error. */
#include "icmp.h"

#include "../c/made_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wse_packet packet, answer;
    uint8_t *frame, *to;
    uint32_t mtu, length;

    if (size < 2)
        return 0;
    mtu = (uint32_t)data[0] << 8 | data[1];
    data += 2;
    size -= 2;
    frame = malloc(size ? size : 1);
    to = malloc(WSE_ICMP_MAX);
    CHECK(frame && to);
    memcpy(frame, data, size);
    if (wse_packet_parse_tun(&packet, frame, size) == WSE_FINE) {
        (void)wse_icmp_needed(&packet, mtu);
        length = wse_icmp_too_big(&packet, mtu, to);
        if (length) {
            const size_t ip = packet.family == AF_INET ? 20 : 40;
            const uint8_t *icmp = to + WSE_VNET_LENGTH + ip;

            CHECK(length <= WSE_ICMP_MAX && wse_packet_parse_tun(&answer, to, length) == WSE_FINE);
            CHECK(answer.length + WSE_VNET_LENGTH == length && answer.family == packet.family);
            CHECK(wse_packet_check_outbound(&answer) == WSE_FINE && !packet.fragment_offset);
            CHECK(!memcmp(answer.destination, packet.source, ip == 20 ? 4 : 16));
            CHECK((ip == 20 ? slow_sum(icmp, answer.length - ip, 0)
                            : slow_transport_sum(AF_INET6, answer.source, answer.destination, IPPROTO_ICMPV6, icmp,
                                                 answer.length - ip)) == 0xffff);
            /* About this one nothing may be said. */
            CHECK(!wse_icmp_too_big(&answer, mtu, frame));
        }
    }
    free(frame);
    free(to);
    return 0;
}
