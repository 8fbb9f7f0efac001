/* SPDX-License-Identifier: Apache-2.0 */
/* Which flows send much: from when on, for how long, and that both directions agree. */
/* Compiled with: bulk.c packet.c inner.c checksum.c */
#include "bulk.h"

#include "made_packet.h"

enum { SEGMENT = 1400, SUPER = 40 * SEGMENT, LASTS = (WSE_BULK_MOST - WSE_BULK_LIMIT) / WSE_BULK_RATE };

static struct wse_bulk bulk;

static int sent_by(uint32_t device, const struct made *made, uint64_t now)
{
    struct wse_packet packet;

    CHECK(wse_packet_parse_tun(&packet, made->frame, made->length) == WSE_FINE);
    return wse_bulk_sent(&bulk, device, &packet, now);
}

static int sent(const struct made *made, uint64_t now)
{
    return sent_by(1, made, now);
}

/* Of what the peer sends in the same flow; or with another port, in another. */
static int answered(int family, uint8_t protocol, uint16_t port, uint32_t device, uint64_t now)
{
    uint8_t bytes[32] = {[12] = 0x80};
    struct wse_inner inner = {
        .source = family == AF_INET ? made_destination_4 : made_destination_6,
        .destination = family == AF_INET ? made_source_4 : made_source_6,
        .bytes = bytes,
        .length = sizeof bytes,
        .device = device,
        .family = (uint16_t)family,
        .protocol = protocol,
    };

    wse_put16(bytes, 443);
    wse_put16(bytes + 2, port);
    return wse_bulk_answered(&bulk, &inner, now);
}

static int found(int family, uint8_t protocol, uint64_t now)
{
    CHECK(!answered(family, protocol, 40001, 1, now) && !answered(family, protocol, 40000, 2, now));
    return answered(family, protocol, 40000, 1, now);
}

static void a_stream(int family, uint8_t protocol, uint64_t now)
{
    const uint8_t gso = protocol == IPPROTO_UDP ? VIRTIO_NET_HDR_GSO_UDP_L4
                        : family == AF_INET     ? VIRTIO_NET_HDR_GSO_TCPV4
                                                : VIRTIO_NET_HDR_GSO_TCPV6;
    const struct made made = make_packet(family, protocol, SUPER, gso, SEGMENT);

    wse_bulk_start(&bulk, 7);
    CHECK(!found(family, protocol, now));
    CHECK(!sent(&made, now) && !found(family, protocol, now));
    CHECK(sent(&made, now) && found(family, protocol, now));
    /* Another worker's clock may be behind. */
    CHECK(found(family, protocol, now - 1));
    /* What it has in the second queue may be there for a while. */
    CHECK(LASTS >= 1000 && found(family, protocol, now + LASTS - 1));
    CHECK(sent(&made, now + LASTS - 1) && found(family, protocol, now + 2 * LASTS - 2));
    CHECK(!found(family, protocol, now + 2 * LASTS) && !found(family, protocol, now + 100 * LASTS));
    free(made.frame);
}

static void slow(uint64_t now)
{
    const struct made made =
        make_packet(AF_INET, IPPROTO_TCP, SUPER, VIRTIO_NET_HDR_GSO_TCPV4, SEGMENT);

    wse_bulk_start(&bulk, 7);
    for (int i = 0; i < 1000; i++, now += SUPER / WSE_BULK_RATE)
        CHECK(!sent(&made, now) && !found(AF_INET, IPPROTO_TCP, now));
    free(made.frame);
}

/* How many packets until they are much. */
static int many(uint8_t protocol, size_t data, uint64_t now)
{
    const struct made made = make_packet(AF_INET6, protocol, data, VIRTIO_NET_HDR_GSO_NONE, 0);
    int count = 1;

    wse_bulk_start(&bulk, 7);
    while (count < 1000000 && !sent(&made, now))
        count++;
    free(made.frame);
    return count;
}

static void singles(uint64_t now)
{
    CHECK(many(IPPROTO_TCP, SEGMENT, now) == WSE_BULK_LIMIT * WSE_BULK_SINGLE / SEGMENT + 1);
    CHECK(many(IPPROTO_UDP, 160, now) == WSE_BULK_LIMIT * WSE_BULK_SINGLE / 160 + 1);
    /* Acknowledgements, and what has no ports. */
    CHECK(many(IPPROTO_TCP, 0, now) == 1000000);
    CHECK(many(IPPROTO_ICMPV6, SEGMENT, now) == 1000000);
    CHECK(!answered(AF_INET6, IPPROTO_ICMPV6, 40000, 1, now));
}

static void devices(uint64_t now)
{
    const struct made made =
        make_packet(AF_INET, IPPROTO_TCP, SUPER, VIRTIO_NET_HDR_GSO_TCPV4, SEGMENT);

    wse_bulk_start(&bulk, 7);
    for (uint32_t device = 0; device < 64; device++)
        CHECK(!sent_by(device, &made, now));
    free(made.frame);
}

/* The seed says which flows are counted together. */
static void seeds(void)
{
    const struct made made =
        make_packet(AF_INET, IPPROTO_TCP, SUPER, VIRTIO_NET_HDR_GSO_TCPV4, SEGMENT);
    uint32_t together[2] = {0};

    for (uint64_t seed = 1; seed <= 2; seed++) {
        wse_bulk_start(&bulk, seed);
        sent(&made, 5);
        sent(&made, 5);
        CHECK(answered(AF_INET, IPPROTO_TCP, 40000, 1, 5));
        for (uint16_t port = 40001; port && !together[seed - 1]; port++)
            if (answered(AF_INET, IPPROTO_TCP, port, 1, 5))
                together[seed - 1] = port;
    }
    CHECK(together[0] != together[1]);
    free(made.frame);
}

int main(void)
{
    static const uint64_t starts[] = {2000, UINT32_MAX - 1, UINT64_C(1) << 32, UINT64_C(1) << 40};

    for (unsigned i = 0; i < sizeof starts / sizeof *starts; i++) {
        for (int family = 0; family < 2; family++) {
            a_stream(family ? AF_INET6 : AF_INET, IPPROTO_TCP, starts[i]);
            a_stream(family ? AF_INET6 : AF_INET, IPPROTO_UDP, starts[i]);
        }
        slow(starts[i]);
        singles(starts[i]);
        devices(starts[i]);
    }
    seeds();
    return 0;
}
