/* SPDX-License-Identifier: Apache-2.0 */
#include "bulk.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "mix.h"
#include "octets.h"

_Static_assert((WSE_BULK_FLOWS & (WSE_BULK_FLOWS - 1)) == 0, "the hash is cut by a mask");

void wse_bulk_start(struct wse_bulk *bulk, uint64_t seed)
{
    bulk->seed = seed;
    for (unsigned i = 0; i < WSE_BULK_FLOWS; i++)
        atomic_init(&bulk->flows[i], 0);
}

/* The same for both directions. */
static uint64_t both(uint64_t hash, uint32_t one, uint32_t other)
{
    return wse_mix(hash, (uint64_t)(one ^ other) << 32 | (uint32_t)(one + other));
}

static uint32_t place(const struct wse_bulk *bulk, uint32_t device, uint16_t family, const uint8_t *one,
                      const uint8_t *other, const uint8_t *ports)
{
    uint64_t hash = both(bulk->seed, wse_get16(ports), wse_get16(ports + 2)) + device;

    for (unsigned i = 0; i < (family == AF_INET ? 4 : 16); i += 4)
        hash = both(hash, wse_get32(one + i), wse_get32(other + i));
    return (uint32_t)hash & (WSE_BULK_FLOWS - 1);
}

/* What is left of a count. Another worker's clock may be a little ahead. */
static uint32_t left(uint64_t flow, uint64_t now)
{
    const uint32_t bytes = (uint32_t)flow;
    const int32_t gone = (int32_t)((uint32_t)now - (uint32_t)(flow >> 32));
    const uint64_t less = gone > 0 ? (uint64_t)gone * WSE_BULK_RATE : 0;

    return less < bytes ? bytes - (uint32_t)less : 0;
}

static int has_ports(uint8_t protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

int wse_bulk_sent(struct wse_bulk *bulk, uint32_t device, const struct wse_packet *packet, uint64_t now)
{
    _Atomic(uint64_t) *flow;
    uint32_t bytes = packet->length - packet->headers;

    if (packet->fragment || !has_ports(packet->protocol))
        return 0;
    if (!packet->gso)
        bytes /= WSE_BULK_SINGLE;
    flow = &bulk->flows[place(bulk, device, packet->family, packet->source, packet->destination,
                              packet->bytes + packet->transport)];
    bytes += left(atomic_load_explicit(flow, memory_order_relaxed), now);
    /* For as long as packets may be left in the second queue it stays there: they would be overtaken. */
    if (bytes > WSE_BULK_LIMIT)
        bytes = WSE_BULK_MOST;
    /* Of two workers' counts at once one is lost; that flow is counted again soon. */
    atomic_store_explicit(flow, now << 32 | bytes, memory_order_relaxed);
    return bytes > WSE_BULK_LIMIT;
}

int wse_bulk_answered(const struct wse_bulk *bulk, const struct wse_inner *inner, uint64_t now)
{
    const _Atomic(uint64_t) *flow;

    if (!has_ports(inner->protocol))
        return 0;
    flow = &bulk->flows[place(bulk, inner->device, inner->family, inner->source, inner->destination,
                              inner->bytes + inner->transport)];
    return left(atomic_load_explicit(flow, memory_order_relaxed), now) > WSE_BULK_LIMIT;
}
