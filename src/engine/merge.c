/* SPDX-License-Identifier: Apache-2.0 */
#include "merge.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "checksum.h"
#include "mix.h"
#include "octets.h"

enum {
    NONE = 0xffff, /* no flow */
    BUCKETS = 2 * WSE_MERGE_FLOWS,
    UDP_HEADER = 8,
    PORTS = 4,
    SEQUENCE = 4,
    ACKNOWLEDGEMENT = 8,
    FLAGS = 13,
    WINDOW = 14,
    TCP_CHECKSUM = 16,
    URGENT = 18, /* and the options behind it */
    UDP_LENGTH = 4,
    UDP_CHECKSUM = 6,
    PSH = 0x08,
    ACK = 0x10
};

_Static_assert((BUCKETS & (BUCKETS - 1)) == 0, "the hash is cut by a mask");

static inline size_t address_size(const struct wse_inner *inner)
{
    return inner->family == AF_INET ? 4 : 16;
}

static uint64_t hash_of(const struct wse_merge *merge, const struct wse_inner *inner)
{
    const uint8_t *ports = inner->bytes + inner->transport;
    uint64_t hash = wse_mix(merge->seed, (uint64_t)wse_get32(ports) << 32 | inner->device);

    for (size_t i = 0; i < address_size(inner); i += 4)
        hash = wse_mix(hash, (uint64_t)wse_get32(inner->source + i) << 32 | wse_get32(inner->destination + i));
    return wse_mix(hash, (uint64_t)inner->family << 8 | inner->protocol);
}

static inline int same(const uint8_t *one, const uint8_t *other, size_t size)
{
    return one == other || !memcmp(one, other, size);
}

static int same_flow(const struct wse_inner *one, const struct wse_inner *other)
{
    return one->device == other->device && one->family == other->family && one->protocol == other->protocol &&
           !memcmp(one->bytes + one->transport, other->bytes + other->transport, PORTS) &&
           same(one->source, other->source, address_size(one)) &&
           same(one->destination, other->destination, address_size(one));
}

static struct wse_merge_flow *find(struct wse_merge *merge, const struct wse_inner *inner, uint64_t hash)
{
    for (uint16_t i = merge->buckets[hash & (BUCKETS - 1)]; i != NONE; i = merge->table[i].chain)
        if (merge->table[i].hash == hash && same_flow(&merge->table[i].first, inner))
            return &merge->table[i];
    return NULL;
}

/* Out of bucket and list, into the free list. */
static void forget(struct wse_merge *merge, struct wse_merge_flow *flow)
{
    const uint16_t index = (uint16_t)(flow - merge->table);
    uint16_t *link = &merge->buckets[flow->hash & (BUCKETS - 1)];

    while (*link != index)
        link = &merge->table[*link].chain;
    *link = flow->chain;
    *(flow->older == NONE ? &merge->oldest : &merge->table[flow->older].newer) = flow->newer;
    *(flow->newer == NONE ? &merge->newest : &merge->table[flow->newer].older) = flow->older;
    flow->chain = merge->free;
    merge->free = index;
    merge->flows--;
}

static void emit(struct wse_merge *merge, const struct wse_inner *first, const struct iovec *vectors, int count)
{
    merge->written++;
    merge->emit(merge->context, first, vectors, count);
}

static void emit_alone(struct wse_merge *merge, const struct wse_inner *inner)
{
    uint8_t header[WSE_INNER_HEADER_MAX];
    struct wse_inner alone = *inner;
    const struct iovec vectors[] = {
        {.iov_base = header, .iov_len = wse_inner_header(&alone, header)},
        {.iov_base = alone.bytes, .iov_len = alone.length},
    };

    emit(merge, inner, vectors, 2);
}

/* What is open of it goes out as one packet, the checksum for the kernel to complete. */
static void emit_flow(struct wse_merge *merge, struct wse_merge_flow *flow)
{
    const struct wse_inner *first = &flow->first;
    const uint32_t length = first->headers + flow->data;
    const uint32_t ip = wse_inner_ip(first, length, flow->header + WSE_VNET_LENGTH);
    uint8_t *transport = flow->header + WSE_VNET_LENGTH + 40;
    struct virtio_net_hdr offload = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .hdr_len = (uint16_t)(ip + first->headers),
        .csum_start = (uint16_t)ip,
        .csum_offset = first->protocol == IPPROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM,
    };
    const uint64_t pseudo =
        wse_sum_pseudo(first->family, first->source, first->destination, first->protocol, length);

    if (flow->count > 1) {
        offload.gso_size = flow->size;
        offload.gso_type = first->protocol == IPPROTO_UDP   ? VIRTIO_NET_HDR_GSO_UDP_L4
                           : first->family == AF_INET ? VIRTIO_NET_HDR_GSO_TCPV4
                                                      : VIRTIO_NET_HDR_GSO_TCPV6;
    }
    /* The transport header was kept where it fits behind IPv6; behind IPv4 it moves up. */
    if (ip != 40)
        memmove(transport - 40 + ip, transport, first->headers);
    transport = flow->header + WSE_VNET_LENGTH + ip;
    if (first->protocol == IPPROTO_UDP)
        wse_put16(transport + UDP_LENGTH, (uint16_t)length);
    wse_put_checksum(transport + offload.csum_offset, wse_sum_fold(pseudo));
    memcpy(flow->header, &offload, WSE_VNET_LENGTH);
    flow->vectors[0] = (struct iovec){flow->header, WSE_VNET_LENGTH + ip + first->headers};
    forget(merge, flow);
    emit(merge, first, flow->vectors, 1 + flow->count);
}

/* May it be part of a larger one at all? */
static int fit(const struct wse_merge *merge, const struct wse_inner *inner)
{
    if (inner->transport || inner->length == inner->headers)
        return 0;
    if (inner->protocol == IPPROTO_TCP)
        return (merge->offloads & WSE_MERGE_TCP) && (inner->bytes[FLAGS] & ~PSH) == ACK &&
               !(inner->bytes[FLAGS - 1] & 1) /* AE of RFC 9768, once NS */;
    return (merge->offloads & WSE_MERGE_UDP) && wse_get16(inner->bytes + UDP_CHECKSUM);
}

/* Would the packet be the next segment of the flow? */
static int follows(const struct wse_merge_flow *flow, const struct wse_inner *inner)
{
    const struct wse_inner *first = &flow->first;
    const uint8_t *one = first->bytes, *other = inner->bytes;
    const uint32_t data = inner->length - inner->headers;
    const uint32_t most = first->family == AF_INET ? WSE_PACKET_MAX - 20u : WSE_PACKET_MAX;

    if (first->tos != inner->tos || first->ttl != inner->ttl || first->flow_label != inner->flow_label ||
        first->headers != inner->headers || data > flow->size || first->headers + flow->data + data > most)
        return 0;
    if (first->protocol == IPPROTO_UDP)
        return 1;
    return wse_get32(other + SEQUENCE) == flow->next_sequence &&
           !memcmp(one + ACKNOWLEDGEMENT, other + ACKNOWLEDGEMENT, FLAGS - ACKNOWLEDGEMENT) &&
           !memcmp(one + WINDOW, other + WINDOW, TCP_CHECKSUM - WINDOW) &&
           !memcmp(one + URGENT, other + URGENT, first->headers - (size_t)URGENT);
}

static void append(struct wse_merge_flow *flow, const struct wse_inner *inner)
{
    const uint32_t data = inner->length - inner->headers;

    flow->count++;
    flow->vectors[flow->count] = (struct iovec){inner->bytes + inner->headers, data};
    flow->data += data;
    flow->next_sequence += data;
    if (inner->protocol == IPPROTO_TCP && inner->bytes[FLAGS] & PSH) {
        flow->header[WSE_VNET_LENGTH + 40 + FLAGS] |= PSH;
        flow->full = 1;
    }
    if (data < flow->size || flow->count == WSE_MERGE_SEGMENTS)
        flow->full = 1;
}

static void begin(struct wse_merge *merge, const struct wse_inner *inner, uint64_t hash)
{
    struct wse_merge_flow *flow;
    uint16_t *bucket = &merge->buckets[hash & (BUCKETS - 1)];
    uint16_t index;

    if (merge->free == NONE)
        emit_flow(merge, &merge->table[merge->oldest]);
    index = merge->free;
    flow = &merge->table[index];
    merge->free = flow->chain;
    merge->flows++;
    flow->chain = *bucket;
    *bucket = index;
    flow->older = merge->newest;
    flow->newer = NONE;
    *(merge->newest == NONE ? &merge->oldest : &merge->table[merge->newest].newer) = index;
    merge->newest = index;
    flow->hash = hash;
    flow->first = *inner;
    flow->size = (uint16_t)(inner->length - inner->headers);
    flow->count = 0;
    flow->data = 0;
    flow->full = 0;
    memcpy(flow->header + WSE_VNET_LENGTH + 40, inner->bytes, inner->headers);
    if (inner->protocol == IPPROTO_TCP)
        flow->next_sequence = wse_get32(inner->bytes + SEQUENCE);
    append(flow, inner);
}

void wse_merge_start(struct wse_merge *merge, int offloads, uint64_t seed, wse_merge_emit emit_packet, void *context)
{
    memset(merge, 0, sizeof *merge);
    merge->emit = emit_packet;
    merge->context = context;
    merge->offloads = offloads;
    merge->seed = seed;
    merge->oldest = merge->newest = NONE;
    memset(merge->buckets, 0xff, sizeof merge->buckets);
    for (uint16_t i = 0; i < WSE_MERGE_FLOWS; i++)
        merge->table[i].chain = i + 1 < WSE_MERGE_FLOWS ? (uint16_t)(i + 1) : NONE;
}

void wse_merge_add(struct wse_merge *merge, const struct wse_inner *inner)
{
    struct wse_merge_flow *flow = NULL;
    uint64_t hash;
    int may, joins;

    merge->packets++;
    if (inner->protocol != IPPROTO_TCP && inner->protocol != IPPROTO_UDP) {
        emit_alone(merge, inner);
        return;
    }
    hash = hash_of(merge, inner);
    if (merge->flows)
        flow = find(merge, inner, hash);
    may = fit(merge, inner);
    joins = may && flow && follows(flow, inner);
    /* The last of what an application sent: nothing is to be waited for. */
    may &= joins || inner->protocol != IPPROTO_TCP || !(inner->bytes[FLAGS] & PSH);
    /* Merged, its checksum is not looked at again: it has to be right, unless nobody is to look at it at all. */
    may &= inner->checksum == WSE_CHECKSUM_ANEW || !may || wse_inner_checksum_right(inner);
    if (may && joins) {
        append(flow, inner);
        if (flow->full)
            emit_flow(merge, flow);
        return;
    }
    if (flow)
        emit_flow(merge, flow);
    if (may)
        begin(merge, inner, hash);
    else
        emit_alone(merge, inner);
}

void wse_merge_flush(struct wse_merge *merge)
{
    while (merge->oldest != NONE)
        emit_flow(merge, &merge->table[merge->oldest]);
}
