/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: merge.c segment.c packet.c inner.c checksum.c */
#include "merge.h"

#include "made_packet.h"
#include "segment.h"

enum { KEPT = 8192, FLOWS_MAX = 300 };

/* What goes in: segments by flow, in order. */
struct sent {
    uint8_t *bytes;
    uint32_t length;
    uint32_t flow;
};

/* What comes out. */
struct output {
    uint8_t *frames[KEPT];
    size_t lengths[KEPT];
    uint32_t devices[KEPT];
    int count;
    int vectors_most;
};

static void collect(void *context, const struct wse_inner *first, const struct iovec *vectors, int count)
{
    struct output *output = context;
    size_t length = 0, at = 0;
    uint8_t *frame;

    CHECK(count >= 1 && count <= 1 + WSE_MERGE_SEGMENTS && output->count < KEPT);
    if (count > output->vectors_most)
        output->vectors_most = count;
    for (int i = 0; i < count; i++)
        length += vectors[i].iov_len;
    frame = malloc(length);
    CHECK(frame);
    for (int i = 0; i < count; i++) {
        memcpy(frame + at, vectors[i].iov_base, vectors[i].iov_len);
        at += vectors[i].iov_len;
    }
    output->frames[output->count] = frame;
    output->lengths[output->count] = length;
    output->devices[output->count++] = first->device;
}

static void clear(struct output *output)
{
    for (int i = 0; i < output->count; i++)
        free(output->frames[i]);
    output->count = 0;
}

static struct wse_inner segment_of(int family, uint8_t protocol, uint16_t port, uint32_t sequence, uint32_t data,
                                   uint8_t flags)
{
    const uint32_t header = protocol == IPPROTO_TCP ? 32 : 8;
    struct wse_inner inner = {
        .source = family == AF_INET ? made_source_4 : made_source_6,
        .destination = family == AF_INET ? made_destination_4 : made_destination_6,
        .family = (uint16_t)family,
        .next = protocol,
        .tos = 2,
        .ttl = 64,
        .flow_label = 77,
        .length = header + data,
    };
    uint8_t *at = calloc(1, inner.length);
    uint16_t checksum;

    CHECK(at);
    inner.bytes = at;
    wse_put16(at, port);
    wse_put16(at + 2, 443);
    for (uint32_t i = 0; i < data; i++)
        at[header + i] = (uint8_t)(sequence + i * 7 + port);
    if (protocol == IPPROTO_TCP) {
        wse_put32(at + 4, sequence);
        wse_put32(at + 8, 0x11223344);
        at[12] = 0x80;
        at[13] = flags;
        wse_put16(at + 14, 1000);
        memcpy(at + 20, "\1\1\10\12\0\0\0\1\0\0\0\2", 12);
    } else {
        wse_put16(at + 4, (uint16_t)inner.length);
    }
    checksum = (uint16_t)~slow_transport_sum(family, inner.source, inner.destination, protocol, at, inner.length);
    wse_put16(at + (protocol == IPPROTO_TCP ? 16 : 6), checksum || protocol == IPPROTO_TCP ? checksum : 0xffff);
    return inner;
}

static struct wse_merge merge;
static struct output output;

static void start(int offloads)
{
    wse_merge_start(&merge, offloads, 12345, collect, &output);
}

static void add(struct wse_inner *inner)
{
    CHECK(wse_inner_check(inner) == WSE_FINE);
    wse_merge_add(&merge, inner);
}

static int count_of(int frame, struct wse_packet *packet, struct wse_segments *cut)
{
    CHECK(wse_packet_parse_tun(packet, output.frames[frame], output.lengths[frame]) == WSE_FINE);
    return (int)wse_segment_start(cut, packet);
}

/* Segments of 1,000 bytes with the given lengths and flags of the last; returns frames that came of them. */
static int frames_of(int family, const uint32_t *lengths, int count, uint8_t last_flags)
{
    struct wse_inner inners[WSE_MERGE_SEGMENTS * 2];
    uint32_t sequence = 0xffffff00;
    int frames;

    start(WSE_MERGE_TCP);
    for (int i = 0; i < count; i++) {
        inners[i] = segment_of(family, IPPROTO_TCP, 5000, sequence, lengths[i], i + 1 == count ? last_flags : 0x10);
        sequence += lengths[i];
        add(&inners[i]);
    }
    wse_merge_flush(&merge);
    CHECK(merge.flows == 0 && merge.packets == (uint64_t)count && merge.written == (uint64_t)output.count);
    for (int i = 0; i < count; i++)
        free(inners[i].bytes);
    frames = output.count;
    return frames;
}

static void test_one_flow(void)
{
    const int families[] = {AF_INET, AF_INET6};

    for (int i = 0; i < 2; i++) {
        struct wse_packet packet;
        struct wse_segments cut;
        struct virtio_net_hdr offload;

        CHECK(frames_of(families[i], (uint32_t[]){1000, 1000, 1000, 500}, 4, 0x18) == 1);
        CHECK(count_of(0, &packet, &cut) == 4);
        memcpy(&offload, output.frames[0], sizeof offload);
        CHECK(offload.gso_type == (i ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4));
        CHECK(offload.gso_size == 1000 && offload.hdr_len == (i ? 72 : 52) && offload.csum_start == (i ? 40 : 20));
        CHECK(offload.csum_offset == 16 && offload.flags == VIRTIO_NET_HDR_F_NEEDS_CSUM);
        CHECK(packet.bytes[packet.transport + 13] == 0x18 && packet.tos == 2 && packet.ttl == 64);
        CHECK(packet.flow_label == (i ? 77 : 0) && packet.next == IPPROTO_TCP);
        clear(&output);

        CHECK(frames_of(families[i], (uint32_t[]){1000, 1000, 1001}, 3, 0x10) == 2); /* longer */
        clear(&output);
        CHECK(frames_of(families[i], (uint32_t[]){1000, 500, 1000}, 3, 0x10) == 2); /* behind a short one */
        clear(&output);
        CHECK(frames_of(families[i], (uint32_t[]){1000, 1000, 0}, 3, 0x10) == 2); /* a pure ACK */
        clear(&output);
        CHECK(frames_of(families[i], (uint32_t[]){1000, 1000, 1000}, 3, 0x11) == 2); /* FIN */
        CHECK(count_of(0, &packet, &cut) == 2 && count_of(1, &packet, &cut) == 1);
        CHECK(packet.bytes[packet.transport + 13] == 0x11);
        clear(&output);
        CHECK(frames_of(families[i], (uint32_t[]){1000}, 1, 0x18) == 1);
        clear(&output);
    }
}

/* Not more than fits in an IP packet, nor than the vectors. */
static void test_limits(void)
{
    uint32_t lengths[WSE_MERGE_SEGMENTS * 2];
    struct wse_packet packet;
    struct wse_segments cut;

    for (int i = 0; i < WSE_MERGE_SEGMENTS * 2; i++)
        lengths[i] = 1400;
    CHECK(frames_of(AF_INET, lengths, 50, 0x10) == 2);
    CHECK(count_of(0, &packet, &cut) == 46 && count_of(1, &packet, &cut) == 4);
    clear(&output);
    for (int i = 0; i < WSE_MERGE_SEGMENTS * 2; i++)
        lengths[i] = 10;
    CHECK(frames_of(AF_INET6, lengths, WSE_MERGE_SEGMENTS * 2, 0x10) == 2);
    CHECK(output.vectors_most == 1 + WSE_MERGE_SEGMENTS);
    clear(&output);
}

/* Two segments that differ in one thing: not merged, in order, and the flow goes on. */
static void test_differences(void)
{
    for (int what = 0; what < 14; what++) {
        struct wse_inner first = segment_of(AF_INET6, IPPROTO_TCP, 5000, 100, 50, 0x10);
        struct wse_inner second = segment_of(AF_INET6, IPPROTO_TCP, 5000, 150, 50, 0x10);
        uint8_t *at = second.bytes;
        int expected = 2;
        uint16_t checksum;

        switch (what) {
        case 0: expected = 1; break;
        case 1: second.tos = 3; break; /* CE */
        case 2: second.ttl = 63; break;
        case 3: second.flow_label = 78; break;
        case 4: at[4 + 3]++; break;      /* sequence */
        case 5: at[8]++; break;          /* acknowledgement */
        case 6: at[13] |= 0x20; break;   /* URG */
        case 7: at[13] |= 0x40; break;   /* ECE */
        case 8: at[13] |= 0x04; break;   /* RST */
        case 9: at[15]++; break;         /* window */
        case 10: at[18]++; break;        /* urgent pointer */
        case 11: at[31]++; break;        /* options */
        case 12: at[12] = 0x70; break;   /* fewer options */
        case 13: second.device = 1; break;
        }
        wse_put16(at + 16, 0);
        checksum = (uint16_t)~slow_transport_sum(AF_INET6, second.source, second.destination, IPPROTO_TCP, at,
                                                 second.length);
        wse_put16(at + 16, checksum);
        start(WSE_MERGE_TCP);
        add(&first);
        add(&second);
        wse_merge_flush(&merge);
        CHECK(output.count == expected);
        CHECK(output.devices[0] == 0 && output.devices[output.count - 1] == (what == 13));
        clear(&output);
        free(first.bytes);
        free(second.bytes);
    }
}

/* A wrong checksum is left for the kernel to see; behind address translation none is looked at. */
static void test_wrong_checksum(void)
{
    for (int anew = 0; anew < 2; anew++) {
        struct wse_inner inners[3];
        struct wse_packet packet;
        struct wse_segments cut;

        start(WSE_MERGE_TCP);
        for (uint32_t i = 0; i < 3; i++) {
            inners[i] = segment_of(AF_INET, IPPROTO_TCP, 5000, 100 + 50 * i, 50, 0x10);
            inners[i].checksum = anew ? WSE_CHECKSUM_ANEW : WSE_CHECKSUM_AS_IS;
            inners[i].bytes[40] ^= i == 1;
            add(&inners[i]);
        }
        wse_merge_flush(&merge);
        CHECK(output.count == (anew ? 1 : 3));
        if (anew) {
            CHECK(count_of(0, &packet, &cut) == 3);
        } else {
            CHECK(count_of(1, &packet, &cut) == 1 && !packet.needs_checksum);
            CHECK(!memcmp(packet.bytes + packet.transport, inners[1].bytes, inners[1].length));
        }
        clear(&output);
        for (int i = 0; i < 3; i++)
            free(inners[i].bytes);
    }
}

/* UDP without a checksum is nobody's to merge: USO would give it one. */
static void test_udp_without_checksum(void)
{
    struct wse_inner inners[2];

    start(WSE_MERGE_UDP);
    for (uint32_t i = 0; i < 2; i++) {
        inners[i] = segment_of(AF_INET, IPPROTO_UDP, 53, i, 100, 0);
        inners[i].checksum = WSE_CHECKSUM_ANEW;
        wse_put16(inners[i].bytes + 6, 0);
        add(&inners[i]);
    }
    wse_merge_flush(&merge);
    CHECK(output.count == 2);
    for (int i = 0; i < 2; i++) {
        CHECK(!memcmp(output.frames[i] + WSE_VNET_LENGTH + 20, inners[i].bytes, 108) && output.frames[i][0] == 0);
        free(inners[i].bytes);
    }
    clear(&output);
}

/* Behind destination options, or with the bit that is part of a counter (RFC 9768): each alone. */
static void test_not_fit(void)
{
    for (int options = 0; options < 2; options++) {
        struct wse_inner inners[2];

        start(WSE_MERGE_TCP | WSE_MERGE_UDP);
        for (uint32_t i = 0; i < 2; i++) {
            struct wse_inner plain = segment_of(AF_INET6, IPPROTO_TCP, 5000, 100 + 50 * i, 50, 0x10);

            inners[i] = plain;
            if (options) {
                inners[i].bytes = malloc(plain.length + 8);
                CHECK(inners[i].bytes);
                memcpy(inners[i].bytes, "\6\0\1\4\0\0\0\0", 8);
                memcpy(inners[i].bytes + 8, plain.bytes, plain.length);
                inners[i].length = plain.length + 8;
                inners[i].next = IPPROTO_DSTOPTS;
                free(plain.bytes);
            } else {
                inners[i].bytes[12] |= 1;
                inners[i].checksum = WSE_CHECKSUM_ANEW;
            }
            add(&inners[i]);
        }
        wse_merge_flush(&merge);
        CHECK(output.count == 2);
        for (int i = 0; i < 2; i++) {
            struct wse_packet packet;
            struct wse_segments cut;

            CHECK(count_of(i, &packet, &cut) == 1 && packet.next == (options ? IPPROTO_DSTOPTS : IPPROTO_TCP));
            CHECK(packet.protocol == IPPROTO_TCP && packet.length == 40 + inners[i].length);
            free(inners[i].bytes);
        }
        clear(&output);
    }
}

static void test_udp(void)
{
    for (int offload = 0; offload < 2; offload++) {
        const uint32_t lengths[] = {700, 700, 300, 700, 700, 0, 700};
        struct wse_inner inners[7];
        struct wse_packet packet;
        struct wse_segments cut;

        start(offload ? WSE_MERGE_UDP : WSE_MERGE_TCP);
        for (uint32_t i = 0; i < 7; i++) {
            inners[i] = segment_of(AF_INET, IPPROTO_UDP, 53, i, lengths[i], 0);
            add(&inners[i]);
        }
        wse_merge_flush(&merge);
        CHECK(output.count == (offload ? 4 : 7));
        if (offload) {
            CHECK(count_of(0, &packet, &cut) == 3 && packet.gso == VIRTIO_NET_HDR_GSO_UDP_L4);
            CHECK(wse_get16(packet.bytes + 24) == 8 + 1700);
            CHECK(count_of(1, &packet, &cut) == 2 && count_of(2, &packet, &cut) == 1);
            CHECK(count_of(3, &packet, &cut) == 1);
        }
        clear(&output);
        for (int i = 0; i < 7; i++)
            free(inners[i].bytes);
    }
}

/*
 * Random flows, in bursts, some packets lost, doubled or swapped, with odd flags and sizes: what comes out, cut again,
 * is, flow by flow, what went in, byte by byte.
 */
static void test_random(uint64_t seed, uint32_t flows, int offloads)
{
    static struct sent sent[4096];
    static struct wse_inner inners[4096];
    uint32_t sequences[FLOWS_MAX], next[FLOWS_MAX] = {0};
    uint64_t state = seed;
    uint32_t count = 0;
    static uint32_t order[FLOWS_MAX][4096], many[FLOWS_MAX];

    memset(many, 0, sizeof many);
    for (uint32_t i = 0; i < flows; i++)
        sequences[i] = (uint32_t)drawn(&state);
    start(offloads);
    while (count < 2000) {
        const uint32_t flow = (uint32_t)(drawn(&state) % flows);
        const int family = flow % 2 ? AF_INET6 : AF_INET;
        const uint8_t protocol = flow % 3 == 2 ? IPPROTO_UDP : IPPROTO_TCP;
        const uint32_t burst = 1 + (uint32_t)(drawn(&state) % 40), size = 1 + (uint32_t)(drawn(&state) % 300);

        for (uint32_t i = 0; i < burst; i++) {
            const uint64_t luck = drawn(&state) % 100;
            uint32_t data = i + 1 == burst ? (uint32_t)(drawn(&state) % (size + 1)) : size;
            uint8_t flags = 0x10;

            if (luck == 0)
                data = 0;
            if (luck == 1 || i + 1 == burst)
                flags |= 0x08;
            if (luck == 2)
                flags = (uint8_t)drawn(&state);
            if (luck == 3)
                sequences[flow] += 17;
            if (luck == 4)
                sequences[flow] -= size;
            inners[count] = segment_of(family, protocol, (uint16_t)(1000 + flow), sequences[flow], data, flags);
            if (luck == 5)
                inners[count].ttl = 63;
            sequences[flow] += data;
            sent[count] = (struct sent){inners[count].bytes, inners[count].length, flow};
            order[flow][many[flow]++] = count;
            add(&inners[count]);
            count++;
            if (count % 500 == 0)
                wse_merge_flush(&merge);
        }
    }
    wse_merge_flush(&merge);
    CHECK(merge.flows == 0 && merge.packets == count && merge.written == (uint64_t)output.count);
    for (int i = 0; i < output.count; i++) {
        struct wse_packet packet;
        struct wse_segments cut;
        const int parts = count_of(i, &packet, &cut);
        const uint32_t flow = (uint32_t)(wse_get16(packet.bytes + packet.transport) - 1000);

        CHECK(flow < flows);
        for (int j = 0; j < parts; j++) {
            uint8_t to[512];
            const struct sent *expected;

            CHECK(next[flow] < many[flow]);
            expected = &sent[order[flow][next[flow]++]];
            CHECK(wse_segment_length(&cut, (uint32_t)j) == expected->length && expected->length <= sizeof to);
            CHECK(wse_segment_write(&cut, (uint32_t)j, to) == expected->length);
            CHECK(!memcmp(to, expected->bytes, expected->length));
        }
    }
    for (uint32_t i = 0; i < flows; i++)
        CHECK(next[i] == many[i]);
    if (flows <= WSE_MERGE_FLOWS && offloads == (WSE_MERGE_TCP | WSE_MERGE_UDP))
        CHECK((uint32_t)output.count < count / 2);
    clear(&output);
    for (uint32_t i = 0; i < count; i++)
        free(inners[i].bytes);
}

/* 256 flows, segment by segment in turns of 64: those that are open coalesce. */
static void test_many_flows(void)
{
    static struct wse_inner inners[256][4];

    start(WSE_MERGE_TCP);
    for (uint32_t group = 0; group < 4; group++)
        for (uint32_t i = 0; i < 4; i++)
            for (uint32_t flow = group * 64; flow < group * 64 + 64; flow++) {
                inners[flow][i] = segment_of(AF_INET, IPPROTO_TCP, (uint16_t)(1000 + flow), 100 * i, 100, 0x10);
                add(&inners[flow][i]);
            }
    wse_merge_flush(&merge);
    CHECK(output.count == 256);
    clear(&output);
    for (int flow = 0; flow < 256; flow++)
        for (int i = 0; i < 4; i++)
            free(inners[flow][i].bytes);
}

int main(void)
{
    test_one_flow();
    test_limits();
    test_differences();
    test_wrong_checksum();
    test_udp();
    test_udp_without_checksum();
    test_not_fit();
    for (uint64_t seed = 1; seed < 12; seed++) {
        test_random(seed, 1, WSE_MERGE_TCP | WSE_MERGE_UDP);
        test_random(seed, 60, WSE_MERGE_TCP | WSE_MERGE_UDP);
        test_random(seed, FLOWS_MAX, WSE_MERGE_TCP | WSE_MERGE_UDP);
        test_random(seed, 60, WSE_MERGE_TCP);
        test_random(seed, 60, 0);
    }
    test_many_flows();
    return 0;
}
