/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a packet goes through, for tests in Python (tests/helpers/engine_packets.py): each function takes and gives lists
 * of packets, in one piece of memory, each behind its length as a number of 32 bits. They return how many, or -1 - refusal.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "icmp.h"
#include "merge.h"
#include "reassemble.h"
#include "segment.h"

int steps_cut(const uint8_t *frame, size_t length, uint8_t *out);
int steps_receive(const uint8_t *packets, size_t length, int offloads, int anew, uint8_t *out);
int steps_reassemble(const uint8_t *fragments, size_t length, uint32_t datagrams, uint8_t *out, uint64_t *lost);
int steps_too_big(const uint8_t *frame, size_t length, uint32_t mtu, uint8_t *out);

static uint32_t number(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

static uint8_t *put_number(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

/* A frame of a TUN queue becomes IP packets. */
int steps_cut(const uint8_t *frame, size_t length, uint8_t *out)
{
    struct wse_packet packet;
    struct wse_segments cut;
    enum wse_refusal refusal = wse_packet_parse_tun(&packet, frame, length);
    uint32_t count;

    if (!refusal)
        refusal = wse_packet_check_outbound(&packet);
    if (refusal)
        return -1 - (int)refusal;
    count = wse_segment_start(&cut, &packet);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = out + 4;

        at += wse_segment_ip(&cut, i, at);
        at += wse_segment_write(&cut, i, at);
        put_number(out, (uint32_t)(at - out - 4));
        out = at;
    }
    return (int)count;
}

struct receiver {
    uint8_t *out;
    int count;
};

static void emit(void *context, const struct wse_inner *first, const struct iovec *vectors, int count)
{
    struct receiver *receiver = context;
    uint8_t *at = receiver->out + 4;

    (void)first;
    for (int i = 0; i < count; i++) {
        memcpy(at, vectors[i].iov_base, vectors[i].iov_len);
        at += vectors[i].iov_len;
    }
    put_number(receiver->out, (uint32_t)(at - receiver->out - 4));
    receiver->out = at;
    receiver->count++;
}

/* A batch of IP packets, as if they had come out of ESP, becomes frames for a TUN queue. */
int steps_receive(const uint8_t *packets, size_t length, int offloads, int anew, uint8_t *out)
{
    struct wse_merge *merge = malloc(sizeof *merge);
    uint8_t *copy = malloc(length ? length : 1);
    struct receiver receiver = {out, 0};
    enum wse_refusal refusal = WSE_FINE;

    if (!merge || !copy)
        abort();
    memcpy(copy, packets, length);
    wse_merge_start(merge, offloads, 99, emit, &receiver);
    for (size_t at = 0; at < length && !refusal;) {
        const uint32_t size = number(copy + at);
        uint8_t *bytes = copy + at + 4;
        const int four = bytes[0] >> 4 == 4;
        struct wse_inner inner = {
            .source = bytes + (four ? 12 : 8),
            .destination = bytes + (four ? 16 : 24),
            .bytes = bytes + (four ? 20 : 40),
            .length = size - (four ? 20 : 40),
            .family = four ? AF_INET : AF_INET6,
            .next = bytes[four ? 9 : 6],
            .tos = four ? bytes[1] : (uint8_t)(bytes[0] << 4 | bytes[1] >> 4),
            .ttl = bytes[four ? 8 : 7],
            .checksum = anew ? WSE_CHECKSUM_ANEW : WSE_CHECKSUM_AS_IS,
        };

        refusal = wse_inner_check(&inner);
        if (!refusal)
            wse_merge_add(merge, &inner);
        at += 4 + size;
    }
    wse_merge_flush(merge);
    free(merge);
    free(copy);
    return refusal ? -1 - (int)refusal : receiver.count;
}

/* Fragments, each behind a time in milliseconds, become datagrams, each behind the number of the fragment it came with. */
int steps_reassemble(const uint8_t *fragments, size_t length, uint32_t datagrams, uint8_t *out, uint64_t *lost)
{
    void *memory = aligned_alloc(64, (wse_reassembly_bytes(datagrams) + 63) / 64 * 64);
    struct wse_reassembly *reassembly;
    uint32_t index = 0;
    int count = 0;

    if (!memory)
        abort();
    reassembly = wse_reassembly_start(memory, datagrams);
    for (size_t at = 0; at < length; index++) {
        const uint32_t now = number(fragments + at), size = number(fragments + at + 4);
        struct wse_packet packet, whole;
        const enum wse_refusal refusal = wse_packet_parse(&packet, fragments + at + 8, size);

        if (refusal || !packet.fragment) {
            free(memory);
            return -1 - (int)refusal;
        }
        if (wse_reassembly_add(reassembly, &packet, now, &whole) == WSE_REASSEMBLY_DONE) {
            out = put_number(put_number(out, index), whole.length);
            memcpy(out, whole.bytes, whole.length);
            out += whole.length;
            count++;
        }
        at += 8 + size;
    }
    *lost = wse_reassembly_lost(reassembly);
    free(memory);
    return count;
}

/* What is said about a frame of a TUN queue, as a frame for it; 0: nothing. */
int steps_too_big(const uint8_t *frame, size_t length, uint32_t mtu, uint8_t *out)
{
    struct wse_packet packet;
    const enum wse_refusal refusal = wse_packet_parse_tun(&packet, frame, length);
    uint32_t size;

    if (refusal)
        return -1 - (int)refusal;
    if (!wse_icmp_needed(&packet, mtu))
        return 0;
    size = wse_icmp_too_big(&packet, mtu, out + 4);
    put_number(out, size);
    return size != 0;
}
