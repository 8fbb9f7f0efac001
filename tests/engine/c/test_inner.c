/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: segment.c packet.c inner.c checksum.c */
#include "inner.h"

#include "checksum.h"
#include "made_packet.h"
#include "segment.h"

static const int families[] = {AF_INET, AF_INET6};

/* What ESP would have carried of it; the bytes are to be freed. */
static struct wse_inner received(int family, uint8_t protocol, size_t data)
{
    struct made made = make_packet(family, protocol, data, 0, 0);
    struct wse_packet packet;
    struct wse_segments cut;
    struct wse_inner inner = {
        .source = family == AF_INET ? made_source_4 : made_source_6,
        .destination = family == AF_INET ? made_destination_4 : made_destination_6,
        .family = (uint16_t)family,
        .next = protocol,
        .tos = 0x2b,
        .ttl = 61,
        .flow_label = 0x54321,
    };

    CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
    wse_segment_start(&cut, &packet);
    inner.length = wse_segment_length(&cut, 0);
    inner.bytes = malloc(inner.length);
    CHECK(inner.bytes);
    wse_segment_write(&cut, 0, inner.bytes);
    free(made.frame);
    return inner;
}

static void test_round_trip(void)
{
    for (int i = 0; i < 2; i++) {
        const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, i ? IPPROTO_ICMPV6 : IPPROTO_ICMP};

        for (int j = 0; j < 3; j++) {
            for (int anew = 0; anew < 2; anew++) {
                struct wse_inner inner = received(families[i], protocols[j], 77);
                const uint32_t ip = i ? 40 : 20;
                uint8_t *frame = malloc(WSE_INNER_HEADER_MAX + inner.length);
                struct wse_packet packet;
                uint32_t head;

                CHECK(frame);
                inner.checksum = anew ? WSE_CHECKSUM_ANEW : WSE_CHECKSUM_AS_IS;
                CHECK(wse_inner_check(&inner) == WSE_FINE && inner.protocol == protocols[j]);
                CHECK(inner.has_checksum == !(j == 2 && !i));
                CHECK(!inner.has_checksum || wse_inner_checksum_right(&inner));
                head = wse_inner_header(&inner, frame);
                CHECK(head == WSE_VNET_LENGTH + ip);
                memcpy(frame + head, inner.bytes, inner.length);
                CHECK(wse_packet_parse_tun(&packet, frame, head + inner.length) == WSE_FINE);
                CHECK(packet.length == ip + inner.length && packet.tos == 0x2b && packet.ttl == 61);
                CHECK(packet.dont_fragment && packet.flow_label == (i ? 0x54321 : 0) && packet.protocol == protocols[j]);
                CHECK(!memcmp(packet.source, inner.source, i ? 16 : 4));
                CHECK(!memcmp(packet.destination, inner.destination, i ? 16 : 4));
                CHECK(i || slow_sum(packet.bytes, 20, 0) == 0xffff);
                CHECK(packet.needs_checksum == (anew && inner.has_checksum) && packet.gso == 0);
                if (packet.needs_checksum)
                    wse_checksum_complete(frame + WSE_VNET_LENGTH, packet.length, packet.transport,
                                          packet.checksum_offset, packet.protocol);
                CHECK(!inner.has_checksum ||
                      slow_transport_sum(families[i], packet.source, packet.destination, packet.protocol,
                                         packet.bytes + packet.transport,
                                         packet.length - packet.transport) == 0xffff);
                free(frame);
                free(inner.bytes);
            }
        }
    }
}

/* Behind address translation: the checksum was made for other addresses. */
static void test_translated(void)
{
    static const uint8_t other[4] = {192, 0, 2, 1};
    struct wse_inner inner = received(AF_INET, IPPROTO_TCP, 50);
    uint8_t header[WSE_INNER_HEADER_MAX];

    inner.source = other;
    CHECK(wse_inner_check(&inner) == WSE_FINE && !wse_inner_checksum_right(&inner));
    inner.checksum = WSE_CHECKSUM_ANEW;
    wse_inner_header(&inner, header);
    wse_checksum_complete(inner.bytes, inner.length, 0, 16, IPPROTO_TCP);
    CHECK(wse_inner_checksum_right(&inner));
    free(inner.bytes);

    /* UDP that has none keeps none. */
    inner = received(AF_INET, IPPROTO_UDP, 50);
    wse_put16(inner.bytes + 6, 0);
    inner.checksum = WSE_CHECKSUM_ANEW;
    CHECK(wse_inner_check(&inner) == WSE_FINE);
    wse_inner_header(&inner, header);
    CHECK(header[0] == 0 && wse_get16(inner.bytes + 6) == 0);
    free(inner.bytes);
}

static void test_one_bit(void)
{
    struct wse_inner inner = received(AF_INET6, IPPROTO_TCP, 61);

    CHECK(wse_inner_check(&inner) == WSE_FINE && wse_inner_checksum_right(&inner));
    for (uint32_t bit = 0; bit < 8 * inner.length; bit++) {
        inner.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!wse_inner_checksum_right(&inner));
        inner.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(inner.bytes);
}

/* Behind the ICMP header, an IP header of a packet of this host to the peer. */
static void quote(struct wse_inner *inner)
{
    const size_t size = inner->family == AF_INET ? 4 : 16;
    uint8_t *at = inner->bytes + inner->transport + 8, *source = at + (size == 4 ? 12 : 8);

    memset(at, 0, size == 4 ? 20 : 40);
    at[0] = size == 4 ? 0x45 : 0x60;
    memcpy(source, inner->destination, size);
    memcpy(source + size, inner->source, size);
}

/* An error is about what this host sent to that peer; what quotes nothing is not looked at. */
static void test_quotes(void)
{
    for (int i = 0; i < 2; i++) {
        const uint32_t header = i ? 40 : 20, size = i ? 16 : 4, source = 8 + (i ? 8 : 12);
        struct wse_inner inner = received(families[i], i ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 60);

        for (int type = 0; type < 256; type++) {
            const int error = i ? type < 128 : type == 3 || type == 4 || type == 11 || type == 12;
            const int refused = i ? type >= 133 && type <= 137 : type == 5;
            struct wse_inner cut = inner;

            if (refused)
                continue;
            quote(&inner);
            inner.bytes[0] = (uint8_t)type;
            CHECK(wse_inner_check(&inner) == WSE_FINE);
            for (uint32_t byte = source; byte < source + 2 * size; byte++) {
                inner.bytes[byte] ^= 1;
                CHECK(wse_inner_check(&inner) == (error ? WSE_ADDRESS : WSE_FINE));
                inner.bytes[byte] ^= 1;
            }
            for (cut.length = 8; cut.length < 8 + header; cut.length++)
                CHECK(wse_inner_check(&cut) == (error ? WSE_SHORT : WSE_FINE));
            CHECK(wse_inner_check(&cut) == WSE_FINE);
            inner.bytes[8] = i ? 0x45 : 0x65;
            CHECK(wse_inner_check(&inner) == (error ? WSE_VERSION_BAD : WSE_FINE));
            inner.bytes[8] = 0x44;
            CHECK(i || wse_inner_check(&inner) == (error ? WSE_HEADER_BAD : WSE_FINE));
            /* A packet of the peer to this host, the other way round. */
            quote(&inner);
            memcpy(inner.bytes + source, inner.source, size);
            memcpy(inner.bytes + source + size, inner.destination, size);
            CHECK(wse_inner_check(&inner) == (error ? WSE_ADDRESS : WSE_FINE));
        }
        free(inner.bytes);
    }
}

/* The same behind destination options. */
static void test_quotes_behind_options(void)
{
    struct wse_inner inner = received(AF_INET6, IPPROTO_ICMPV6, 60);

    memset(inner.bytes, 0, 16);
    inner.next = IPPROTO_DSTOPTS;
    inner.bytes[0] = IPPROTO_ICMPV6;
    inner.bytes[2] = 1; /* PadN */
    inner.bytes[3] = 4;
    inner.bytes[8] = 1;
    inner.transport = 8;
    quote(&inner);
    CHECK(wse_inner_check(&inner) == WSE_FINE && inner.transport == 8);
    inner.bytes[8 + 8 + 39] ^= 1;
    CHECK(wse_inner_check(&inner) == WSE_ADDRESS);
    inner.bytes[8 + 8 + 39] ^= 1;
    inner.length = 8 + 8 + 39;
    CHECK(wse_inner_check(&inner) == WSE_SHORT);
    free(inner.bytes);
}

static void test_refused(void)
{
    struct wse_inner inner = received(AF_INET, IPPROTO_TCP, 10);
    static const uint8_t group[4] = {224, 0, 0, 1}, local[4] = {127, 0, 0, 1};
    static const uint8_t mapped[16] = {[10] = 255, 255, 10, 0, 0, 1};

#define WITH(member, value, expected)                                                                          \
    do {                                                                                                       \
        struct wse_inner changed = inner;                                                                      \
        changed.member = (value);                                                                              \
        CHECK(wse_inner_check(&changed) == (expected));                                                        \
    } while (0)
    WITH(source, group, WSE_ADDRESS);
    WITH(destination, group, WSE_ADDRESS);
    WITH(source, local, WSE_ADDRESS);
    WITH(destination, local, WSE_ADDRESS);
    WITH(family, 0, WSE_VERSION_BAD);
    WITH(next, 50, WSE_PROTOCOL);
    WITH(next, 4, WSE_PROTOCOL);
    WITH(next, 59, WSE_PROTOCOL);
    WITH(next, IPPROTO_ICMPV6, WSE_PROTOCOL);
    WITH(next, IPPROTO_DSTOPTS, WSE_PROTOCOL); /* IPv4 has none */
    WITH(length, 0, WSE_SHORT);
    WITH(length, 19, WSE_SHORT);
    WITH(length, 31, WSE_SHORT);
    WITH(length, 32, WSE_FINE);
    WITH(length, 65536, WSE_SHORT);
    CHECK(wse_addresses_check(AF_INET, local, local) == WSE_FINE);
    CHECK(wse_addresses_check(AF_INET6, mapped, made_destination_6) == WSE_ADDRESS);
    CHECK(wse_addresses_check(AF_INET6, made_source_6, (const uint8_t[16]){0}) == WSE_ADDRESS);
    free(inner.bytes);

    inner = received(AF_INET6, IPPROTO_TCP, 10);
    WITH(next, IPPROTO_ICMP, WSE_PROTOCOL);
    WITH(next, IPPROTO_HOPOPTS, WSE_OPTIONS);
    WITH(next, IPPROTO_ROUTING, WSE_ROUTING);
    WITH(next, IPPROTO_FRAGMENT, WSE_PROTOCOL);
    free(inner.bytes);

    /* Redirects, router and neighbour discovery. */
    inner = received(AF_INET, IPPROTO_ICMP, 60);
    inner.bytes[0] = 5;
    quote(&inner);
    CHECK(wse_inner_check(&inner) == WSE_PROTOCOL);
    inner.bytes[0] = 3;
    CHECK(wse_inner_check(&inner) == WSE_FINE);
    free(inner.bytes);
    inner = received(AF_INET6, IPPROTO_ICMPV6, 60);
    quote(&inner);
    for (int type = 0; type < 256; type++) {
        inner.bytes[0] = (uint8_t)type;
        CHECK(wse_inner_check(&inner) == (type >= 133 && type <= 137 ? WSE_PROTOCOL : WSE_FINE));
    }
    free(inner.bytes);
#undef WITH
}

static void test_udp_length(void)
{
    for (uint32_t said = 0; said < 100; said++) {
        struct wse_inner inner = received(AF_INET, IPPROTO_UDP, 50);

        wse_put16(inner.bytes + 4, (uint16_t)said);
        CHECK(wse_inner_check(&inner) == (said >= 8 && said <= 58 ? WSE_FINE : WSE_HEADER_BAD));
        CHECK(said < 8 || said > 58 || inner.length == said); /* what hides the length is cut off */
        free(inner.bytes);
    }
}

int main(void)
{
    test_round_trip();
    test_translated();
    test_one_bit();
    test_refused();
    test_quotes();
    test_quotes_behind_options();
    test_udp_length();
    return 0;
}
