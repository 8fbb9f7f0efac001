/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: merge.c packet.c inner.c checksum.c */
/*
 * Any bytes as what came out of ESP. What passes the checks becomes a packet that a TUN device would give out, too:
 * alone, and through the merger.
 */
#include "merge.h"

#include "../c/made_packet.h"

static struct wse_merge merge;
static int emitted;

static void emit(void *context, const struct wse_inner *first, const struct iovec *vectors, int count)
{
    const struct wse_inner *inner = context;
    struct wse_packet packet;
    uint8_t *frame = malloc(WSE_INNER_HEADER_MAX + inner->length + 1);
    size_t length = 0;

    CHECK(frame && first->device == inner->device);
    for (int i = 0; i < count; i++) {
        CHECK(length + vectors[i].iov_len <= WSE_INNER_HEADER_MAX + inner->length);
        memcpy(frame + length, vectors[i].iov_base, vectors[i].iov_len);
        length += vectors[i].iov_len;
    }
    CHECK(wse_packet_parse_tun(&packet, frame, length) == WSE_FINE);
    CHECK(packet.length + WSE_VNET_LENGTH == length && packet.protocol == inner->protocol && !packet.fragment);
    CHECK(packet.length == packet.payload + inner->length && packet.gso == 0);
    free(frame);
    emitted++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wse_inner inner = {.tos = 1, .ttl = 2, .flow_label = 3, .device = 4};
    enum wse_refusal refusal;
    uint8_t header[WSE_INNER_HEADER_MAX];

    if (size < 34)
        return 0;
    inner.family = data[0] & 1 ? AF_INET6 : AF_INET;
    inner.checksum = data[0] & 2 ? WSE_CHECKSUM_ANEW : WSE_CHECKSUM_AS_IS;
    inner.source = data[0] & 4 ? data + 2 : inner.family == AF_INET ? made_source_4 : made_source_6;
    inner.destination = data[0] & 4 ? data + 18 : inner.family == AF_INET ? made_destination_4 : made_destination_6;
    inner.next = data[1];
    inner.length = (uint32_t)(size - 34);
    inner.bytes = malloc(size - 34 ? size - 34 : 1);
    CHECK(inner.bytes);
    memcpy(inner.bytes, data + 34, size - 34);
    refusal = wse_inner_check(&inner);
    CHECK(refusal < WSE_REFUSALS && inner.length <= size - 34);
    if (!refusal) {
        CHECK(inner.transport <= inner.headers && inner.headers <= inner.length);
        CHECK(!inner.has_checksum || inner.transport + inner.checksum_offset + 2u <= inner.length);
        (void)wse_inner_checksum_right(&inner);
        wse_merge_start(&merge, WSE_MERGE_TCP | WSE_MERGE_UDP, 1, emit, &inner);
        emitted = 0;
        wse_merge_add(&merge, &inner);
        wse_merge_flush(&merge);
        CHECK(emitted == 1);
        (void)wse_inner_header(&inner, header);
    }
    free(inner.bytes);
    return 0;
}
