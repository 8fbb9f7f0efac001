/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: merge.c segment.c packet.c inner.c checksum.c; runs 40000 */
/*
 * Packets of four flows, as the bytes say it: what is merged, cut again, is, flow by flow, what went in. Eight bytes a
 * packet: flow and fields that differ, flags, length, what the sequence number is off, header length, window.
 */
#include "merge.h"

#include "../c/made_packet.h"
#include "checksum.h"
#include "segment.h"

enum { PACKETS = 150, ROOM = 64 + 256, FLOWS = 4 };

static struct wse_merge merge;
static uint8_t bytes[PACKETS][ROOM];
static struct wse_inner inners[PACKETS];
static int expected[FLOWS][PACKETS], many[FLOWS], next[FLOWS];

static void emit(void *context, const struct wse_inner *first, const struct iovec *vectors, int count)
{
    static uint8_t frame[WSE_VNET_LENGTH + WSE_INNER_MAX];
    size_t length = 0;
    struct wse_packet packet;
    struct wse_segments cut;
    uint32_t parts, flow;

    (void)context;
    for (int i = 0; i < count; i++) {
        CHECK(length + vectors[i].iov_len <= sizeof frame);
        memcpy(frame + length, vectors[i].iov_base, vectors[i].iov_len);
        length += vectors[i].iov_len;
    }
    CHECK(wse_packet_parse_tun(&packet, frame, length) == WSE_FINE && packet.length + WSE_VNET_LENGTH == length);
    parts = wse_segment_start(&cut, &packet);
    flow = wse_get16(packet.bytes + packet.transport);
    CHECK(flow < FLOWS && first->device == flow / 2 && parts <= WSE_MERGE_SEGMENTS);
    for (uint32_t i = 0; i < parts; i++) {
        const struct wse_inner *inner;
        uint8_t to[ROOM];

        CHECK(next[flow] < many[flow]);
        inner = &inners[expected[flow][next[flow]++]];
        CHECK(wse_segment_length(&cut, i) == inner->length && wse_segment_write(&cut, i, to) == inner->length);
        CHECK(!memcmp(to, inner->bytes, inner->length) && packet.tos == inner->tos && packet.ttl == inner->ttl);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t sequence[FLOWS] = {0, 0xffffff00, 1, 2};
    int count = 0;

    memset(many, 0, sizeof many);
    memset(next, 0, sizeof next);
    wse_merge_start(&merge, WSE_MERGE_TCP | WSE_MERGE_UDP, 1, emit, NULL);
    for (; size >= 8 && count < PACKETS; size -= 8, data += 8, count++) {
        const uint32_t flow = data[0] & 3;
        const int udp = flow == 3;
        const int family = flow % 2 ? AF_INET6 : AF_INET;
        const uint32_t header = udp ? 8 : 20 + 4 * (data[4] & 15u) % 44, length = header + data[2];
        struct wse_inner *inner = &inners[count];
        uint8_t *at = bytes[count];
        uint64_t sum;

        *inner = (struct wse_inner){
            .source = family == AF_INET ? made_source_4 : made_source_6,
            .destination = family == AF_INET ? made_destination_4 : made_destination_6,
            .bytes = at,
            .length = length,
            .device = flow / 2,
            .family = (uint16_t)family,
            .next = udp ? IPPROTO_UDP : IPPROTO_TCP,
            .tos = data[0] >> 2 & 1,
            .ttl = 60 + (data[0] >> 3 & 1),
            .checksum = WSE_CHECKSUM_AS_IS,
        };
        memset(at, data[6], length);
        wse_put16(at, (uint16_t)flow);
        wse_put16(at + 2, 80);
        if (udp) {
            wse_put16(at + 4, (uint16_t)length);
            wse_put16(at + 6, 0);
        } else {
            sequence[flow] += (uint32_t)(int8_t)data[3];
            wse_put32(at + 4, sequence[flow]);
            wse_put32(at + 8, data[0] >> 4 & 1);
            at[12] = (uint8_t)(header / 4 << 4);
            at[13] = data[1];
            wse_put16(at + 14, data[5]);
            wse_put32(at + 16, 0);
            sequence[flow] += data[2];
        }
        sum = wse_sum_pseudo(family, inner->source, inner->destination, inner->next, length) + wse_sum(at, length);
        wse_put_checksum(at + (udp ? 6 : 16), wse_checksum(sum));
        if (udp && !wse_get16(at + 6))
            wse_put16(at + 6, 0xffff);
        at[length - 1] ^= data[7] == 0xa5; /* a wrong checksum, now and then */
        CHECK(wse_inner_check(inner) == WSE_FINE);
        expected[flow][many[flow]++] = count;
        wse_merge_add(&merge, inner);
        if (data[7] == 0x5a)
            wse_merge_flush(&merge);
    }
    wse_merge_flush(&merge);
    for (int i = 0; i < FLOWS; i++)
        CHECK(next[i] == many[i]);
    CHECK(merge.flows == 0 && merge.packets == (uint64_t)count && merge.written <= merge.packets);
    return 0;
}
