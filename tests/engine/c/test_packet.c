/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: packet.c inner.c checksum.c */
#include "made_packet.h"

static const int families[] = {AF_INET, AF_INET6};

static enum wse_refusal parse(const struct made *made, struct wse_packet *packet)
{
    return wse_packet_parse_tun(packet, made->frame, made->length);
}

static void test_fields(void)
{
    for (int i = 0; i < 2; i++) {
        struct made made = make_packet(families[i], IPPROTO_TCP, 5000,
                                       i ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4, 1400);
        struct wse_packet packet;
        uint16_t source, destination;

        CHECK(parse(&made, &packet) == WSE_FINE);
        CHECK(packet.bytes == made.frame + WSE_VNET_LENGTH && packet.length == made.length - WSE_VNET_LENGTH);
        CHECK(packet.family == families[i] && packet.protocol == IPPROTO_TCP && packet.next == IPPROTO_TCP);
        CHECK(packet.payload == (i ? 40 : 20) && packet.transport == packet.payload);
        CHECK(packet.headers == packet.transport + 32);
        CHECK(packet.tos == 0x2a && packet.ttl == (i ? 62 : 63) && packet.dont_fragment);
        CHECK(packet.flow_label == (i ? 0x12345 : 0));
        CHECK(!memcmp(packet.source, i ? made_source_6 : made_source_4, i ? 16 : 4));
        CHECK(!memcmp(packet.destination, i ? made_destination_6 : made_destination_4, i ? 16 : 4));
        CHECK(packet.gso == (i ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4) && packet.gso_size == 1400);
        CHECK(packet.needs_checksum && packet.checksum_offset == 16 && !packet.fragment);
        CHECK(wse_packet_check_outbound(&packet) == WSE_FINE);
        wse_packet_ports(&packet, &source, &destination);
        CHECK(source == 40000 && destination == 443);
        free(made.frame);
    }
}

/* Cut at every length, in a buffer of just that: refused, and nothing is read behind it. */
static void test_short(void)
{
    const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, 0};

    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++) {
            const uint8_t protocol = protocols[j] ? protocols[j] : i ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
            struct made made = make_packet(families[i], protocol, 20, 0, 0);

            for (size_t length = 0; length <= made.length; length++) {
                uint8_t *cut = malloc(length ? length : 1);
                struct wse_packet packet;
                enum wse_refusal refusal;

                CHECK(cut);
                memcpy(cut, made.frame, length);
                refusal = wse_packet_parse_tun(&packet, cut, length);
                CHECK(refusal == (length == made.length ? WSE_FINE : WSE_SHORT));
                free(cut);
            }
            /* Its own length says less, down to nothing: the transport header does not fit any more. */
            memset(made.frame, 0, WSE_VNET_LENGTH);
            for (size_t length = 0; length < made.length - made.ip; length++) {
                struct wse_packet packet;
                enum wse_refusal refusal;

                if (i && length < 40)
                    continue;
                wse_put16(made.frame + made.ip + (i ? 4 : 2), (uint16_t)(i ? length - 40 : length));
                refusal = parse(&made, &packet);
                CHECK(refusal == WSE_FINE || refusal == WSE_SHORT || refusal == WSE_HEADER_BAD);
                CHECK(refusal || packet.headers <= packet.length);
                CHECK(length >= made.payload - made.ip || refusal);
            }
            free(made.frame);
        }
    }
}

static enum wse_refusal changed(int family, size_t at, uint8_t value)
{
    struct made made = make_packet(family, IPPROTO_TCP, 100, 0, 0);
    struct wse_packet packet;
    enum wse_refusal refusal;

    made.frame[made.ip + at] = value;
    refusal = parse(&made, &packet);
    if (!refusal)
        refusal = wse_packet_check_outbound(&packet);
    free(made.frame);
    return refusal;
}

static void test_refused(void)
{
    CHECK(changed(AF_INET, 0, 0x55) == WSE_VERSION_BAD);
    CHECK(changed(AF_INET, 0, 0x44) == WSE_HEADER_BAD);
    CHECK(changed(AF_INET, 0, 0x46) == WSE_OPTIONS);
    CHECK(changed(AF_INET, 9, 50) == WSE_PROTOCOL);
    CHECK(changed(AF_INET, 9, 4) == WSE_PROTOCOL);
    CHECK(changed(AF_INET, 9, IPPROTO_ICMPV6) == WSE_PROTOCOL);
    CHECK(changed(AF_INET6, 6, IPPROTO_ICMP) == WSE_PROTOCOL);
    CHECK(changed(AF_INET6, 6, IPPROTO_HOPOPTS) == WSE_OPTIONS);
    CHECK(changed(AF_INET6, 6, IPPROTO_ROUTING) == WSE_ROUTING);
    CHECK(changed(AF_INET6, 6, IPPROTO_NONE) == WSE_PROTOCOL);
    CHECK(changed(AF_INET, 20 + 12, 0x40) == WSE_HEADER_BAD); /* data offset */
    CHECK(changed(AF_INET, 20 + 12, 0xf0) == WSE_FINE);
    CHECK(changed(AF_INET, 16, 224) == WSE_ADDRESS);
    CHECK(changed(AF_INET, 16, 255) == WSE_ADDRESS);
    CHECK(changed(AF_INET, 16, 0) == WSE_ADDRESS);
    CHECK(changed(AF_INET, 12, 0) == WSE_ADDRESS);
    CHECK(changed(AF_INET, 12, 127) == WSE_ADDRESS);
    CHECK(changed(AF_INET6, 8, 0xff) == WSE_ADDRESS);
    CHECK(changed(AF_INET6, 24, 0xff) == WSE_ADDRESS);
    for (enum wse_refusal each = WSE_FINE; each < WSE_REFUSALS; each++)
        CHECK(wse_refusal_name(each) && strcmp(wse_refusal_name(each), "unknown"));
    CHECK(!strcmp(wse_refusal_name(WSE_REFUSALS), "unknown"));
}

static void test_fragments(void)
{
    struct made made = make_packet(AF_INET, IPPROTO_UDP, 100, 0, 0);
    struct wse_packet packet;

    memset(made.frame, 0, WSE_VNET_LENGTH);
    wse_put16(made.frame + made.ip + 6, 0x2000 | 0x1fff);
    CHECK(parse(&made, &packet) == WSE_FINE && packet.fragment && packet.more_fragments);
    CHECK(packet.fragment_offset == 0x1fff * 8 && packet.fragment_id == 0xfffe && packet.fragment_start == 20);
    CHECK(packet.headers == 20 && !packet.dont_fragment);
    /* No offload is possible for a fragment. */
    made.frame[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    CHECK(parse(&made, &packet) == WSE_OFFLOAD_BAD);
    made.frame[0] = 0;
    made.frame[1] = VIRTIO_NET_HDR_GSO_UDP_L4;
    wse_put16(made.frame + 4, 100);
    CHECK(parse(&made, &packet) == WSE_OFFLOAD_BAD);
    free(made.frame);

    made = make_packet(AF_INET6, IPPROTO_UDP, 100, 0, 0);
    memset(made.frame, 0, WSE_VNET_LENGTH);
    made.frame[made.ip + 6] = IPPROTO_FRAGMENT;
    memcpy(made.frame + made.transport, "\x11\0\x05\xa9\xde\xad\xbe\xef", 8);
    CHECK(parse(&made, &packet) == WSE_FINE && packet.fragment && packet.more_fragments);
    CHECK(packet.fragment_offset == 0x5a8 && packet.fragment_id == 0xdeadbeef && packet.fragment_start == 48);
    CHECK(packet.protocol == IPPROTO_UDP);
    wse_put16(made.frame + made.ip + 4, 7);
    CHECK(parse(&made, &packet) == WSE_SHORT);
    free(made.frame);
}

static void test_destination_options(void)
{
    uint8_t frame[WSE_VNET_LENGTH + 40 + 16 + 8 + 8 + 4] = {0};
    uint8_t *ip = frame + WSE_VNET_LENGTH;
    struct wse_packet packet;

    wse_put32(ip, 6u << 28);
    wse_put16(ip + 4, 16 + 8 + 8 + 4);
    ip[6] = IPPROTO_DSTOPTS;
    memcpy(ip + 8, made_source_6, 16);
    memcpy(ip + 24, made_destination_6, 16);
    memcpy(ip + 40, "\x3c\1\0\1\3abc\1\6\0\0\0\0\0\0", 16); /* Pad1, PadN of 3, of 6 */
    memcpy(ip + 56, "\x11\0\1\4\0\0\0\0", 8);
    wse_put16(ip + 64 + 4, 12);
    CHECK(wse_packet_parse_tun(&packet, frame, sizeof frame) == WSE_FINE);
    CHECK(packet.next == IPPROTO_DSTOPTS && packet.protocol == IPPROTO_UDP && packet.payload == 40);
    CHECK(packet.transport == 64 && packet.headers == 72);
    ip[56 + 2] = 201;
    CHECK(wse_packet_parse_tun(&packet, frame, sizeof frame) == WSE_OPTIONS); /* home address */
    ip[56 + 2] = 1;
    ip[56 + 3] = 5;
    CHECK(wse_packet_parse_tun(&packet, frame, sizeof frame) == WSE_HEADER_BAD); /* longer than its header */
    ip[56 + 3] = 4;
    ip[56] = IPPROTO_DSTOPTS;
    CHECK(wse_packet_parse_tun(&packet, frame, sizeof frame) == WSE_OPTIONS); /* a third */
    ip[56] = IPPROTO_FRAGMENT;
    CHECK(wse_packet_parse_tun(&packet, frame, sizeof frame) == WSE_PROTOCOL);
    ip[56] = IPPROTO_UDP;
    ip[57] = 2;
    CHECK(wse_packet_parse_tun(&packet, frame, sizeof frame) == WSE_SHORT);
}

static void test_offload(void)
{
    struct made made = make_packet(AF_INET, IPPROTO_UDP, 3000, VIRTIO_NET_HDR_GSO_UDP_L4, 1000);
    struct wse_packet packet;
    struct virtio_net_hdr offload;

    CHECK(parse(&made, &packet) == WSE_FINE && packet.gso == VIRTIO_NET_HDR_GSO_UDP_L4);
    memcpy(&offload, made.frame, sizeof offload);
#define WITH(member, value)                                                                                    \
    (offload.member = (value), memcpy(made.frame, &offload, sizeof offload), parse(&made, &packet))
    CHECK(WITH(gso_size, 0) == WSE_OFFLOAD_BAD);
    CHECK(WITH(gso_size, 1) == WSE_FINE);
    CHECK(WITH(gso_type, VIRTIO_NET_HDR_GSO_TCPV4) == WSE_OFFLOAD_BAD);
    CHECK(WITH(gso_type, VIRTIO_NET_HDR_GSO_TCPV6) == WSE_OFFLOAD_BAD);
    CHECK(WITH(gso_type, 3) == WSE_OFFLOAD_BAD); /* UFO */
    CHECK(WITH(gso_type, VIRTIO_NET_HDR_GSO_UDP_L4 | VIRTIO_NET_HDR_GSO_ECN) == WSE_FINE);
    CHECK(WITH(gso_type, 0) == WSE_FINE);
    CHECK(WITH(csum_start, 19) == WSE_OFFLOAD_BAD);
    CHECK(WITH(csum_start, 65535) == WSE_OFFLOAD_BAD);
    CHECK(WITH(csum_start, 20) == WSE_FINE);
    CHECK(WITH(csum_offset, 3007) == WSE_OFFLOAD_BAD);
    CHECK(WITH(csum_offset, 3006) == WSE_FINE);
    CHECK(WITH(csum_offset, 7) == WSE_OFFLOAD_BAD);
    CHECK(WITH(csum_offset, 3008) == WSE_OFFLOAD_BAD);
    CHECK(WITH(csum_offset, 65534) == WSE_OFFLOAD_BAD);
#undef WITH
    free(made.frame);
}

int main(void)
{
    test_fields();
    test_short();
    test_refused();
    test_fragments();
    test_destination_options();
    test_offload();
    return 0;
}
