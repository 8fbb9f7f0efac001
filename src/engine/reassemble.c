/* SPDX-License-Identifier: Apache-2.0 */
#include "reassemble.h"

#include <netinet/in.h>
#include <stdalign.h>
#include <sys/socket.h>

#include "checksum.h"
#include "octets.h"

enum {
    UNIT = 8, /* fragments are cut at multiples of it */
    UNITS = 65536 / UNIT,
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    UNKNOWN = -1,
    DATAGRAMS_MAX = 1024
};

enum state {
    FREE = 0,
    OPEN,
    DEAD /* overlapped: what follows of it is dropped, too (RFC 5722), until its time is over */
};

struct datagram {
    uint64_t until;     /* milliseconds */
    uint8_t source[16], destination[16];
    uint32_t id;
    uint32_t reqid;
    uint16_t family;
    uint8_t protocol;
    uint8_t state;
    int32_t total;      /* bytes of data; UNKNOWN before the last fragment */
    uint32_t end;       /* of the furthest data so far */
    uint32_t had;       /* units that are there */
    uint32_t fragments;
    uint16_t header;    /* bytes of the first fragment's IP header, 0 before it is there */
    uint64_t present[UNITS / 64];
    alignas(16) uint8_t bytes[IPV6_HEADER + 65536]; /* the IP header ends, and data begins, at IPV6_HEADER */
};

struct wse_reassembly {
    uint32_t datagrams;
    uint32_t open;
    uint64_t lost;
    alignas(16) struct datagram table[];
};

size_t wse_reassembly_bytes(uint32_t datagrams)
{
    return datagrams < 1 || datagrams > DATAGRAMS_MAX
               ? 0
               : sizeof(struct wse_reassembly) + datagrams * sizeof(struct datagram);
}

struct wse_reassembly *wse_reassembly_start(void *memory, uint32_t datagrams)
{
    struct wse_reassembly *reassembly = memory;

    reassembly->datagrams = datagrams;
    reassembly->open = 0;
    reassembly->lost = 0;
    for (uint32_t i = 0; i < datagrams; i++)
        reassembly->table[i].state = FREE;
    return reassembly;
}

uint64_t wse_reassembly_lost(const struct wse_reassembly *reassembly)
{
    return reassembly->lost;
}

static void give_up(struct wse_reassembly *reassembly, struct datagram *datagram, enum state state)
{
    if (datagram->state == OPEN)
        reassembly->lost++;
    if (state == FREE)
        reassembly->open--;
    datagram->state = (uint8_t)state;
}

uint32_t wse_reassembly_expire(struct wse_reassembly *reassembly, uint64_t now)
{
    uint32_t count = 0;

    for (uint32_t i = 0; reassembly->open && i < reassembly->datagrams; i++) {
        struct datagram *datagram = &reassembly->table[i];

        if (datagram->state == FREE || now < datagram->until)
            continue;
        count += datagram->state == OPEN;
        give_up(reassembly, datagram, FREE);
    }
    return count;
}

/* Which of two entries is to make room: what is dead, then what is older. The fragments of a datagram come in a row. */
static struct datagram *sooner(struct datagram *one, struct datagram *other)
{
    if (!one || (other->state == DEAD) > (one->state == DEAD))
        return other;
    if ((other->state == DEAD) < (one->state == DEAD))
        return one;
    return other->until < one->until ? other : one;
}

/* The datagram's entry, or a new one. */
static struct datagram *entry_of(struct wse_reassembly *reassembly, const struct wse_packet *packet, uint64_t now)
{
    const size_t size = packet->family == AF_INET ? 4 : 16;
    struct datagram *found = NULL, *victim = NULL;

    for (uint32_t i = 0; i < reassembly->datagrams; i++) {
        struct datagram *datagram = &reassembly->table[i];

        if (datagram->state != FREE && now >= datagram->until)
            give_up(reassembly, datagram, FREE);
        if (datagram->state == FREE) {
            if (!found)
                found = datagram;
            continue;
        }
        /* RFC 791: protocol is part of an IPv4 datagram's name; of an IPv6 one's not (RFC 8200 4.5). */
        if (datagram->id == packet->fragment_id && datagram->reqid == packet->reqid &&
            datagram->family == packet->family &&
            (packet->family == AF_INET6 || datagram->protocol == packet->protocol) &&
            !memcmp(datagram->source, packet->source, size) &&
            !memcmp(datagram->destination, packet->destination, size))
            return datagram;
        victim = sooner(victim, datagram);
    }
    if (!found) {
        give_up(reassembly, victim, FREE);
        found = victim;
    }
    reassembly->open++;
    found->state = OPEN;
    found->until = now + WSE_REASSEMBLE_SECONDS * UINT64_C(1000);
    found->id = packet->fragment_id;
    found->reqid = packet->reqid;
    found->family = packet->family;
    found->protocol = packet->protocol;
    memcpy(found->source, packet->source, size);
    memcpy(found->destination, packet->destination, size);
    found->total = UNKNOWN;
    found->end = 0;
    found->had = 0;
    found->fragments = 0;
    found->header = 0;
    memset(found->present, 0, sizeof found->present);
    return found;
}

/* The bits of word `index` that belong to units from `first` on, before `last`. */
static uint64_t mask_of(uint32_t index, uint32_t first, uint32_t last)
{
    uint64_t mask = ~UINT64_C(0);

    if (first > index * 64)
        mask &= ~UINT64_C(0) << (first - index * 64);
    if (last < index * 64 + 64)
        mask &= ~(~UINT64_C(0) << (last - index * 64));
    return mask;
}

/* How many units of a range, which is not empty, are there. */
static uint32_t present_in(const struct datagram *datagram, uint32_t first, uint32_t last)
{
    uint32_t count = 0;

    for (uint32_t i = first / 64; i <= (last - 1) / 64; i++)
        count += (uint32_t)__builtin_popcountll(datagram->present[i] & mask_of(i, first, last));
    return count;
}

/* All is there: its header says so. */
static enum wse_reassembled finish(struct wse_reassembly *reassembly, struct datagram *datagram,
                                   struct wse_packet *whole)
{
    uint8_t *header = datagram->bytes + IPV6_HEADER - datagram->header;
    const uint32_t total = (uint32_t)datagram->total;

    if (datagram->family == AF_INET) {
        wse_put16(header + 2, (uint16_t)(datagram->header + total));
        wse_put16(header + 6, 0);
        wse_put16(header + 10, 0);
        wse_put_checksum(header + 10, wse_checksum(wse_sum(header, datagram->header)));
    } else {
        wse_put16(header + 4, (uint16_t)total);
        header[6] = datagram->protocol;
    }
    datagram->state = FREE; /* its bytes stay until the next call */
    reassembly->open--;
    if (wse_packet_parse(whole, header, datagram->header + (size_t)total) || whole->fragment) {
        reassembly->lost++;
        return WSE_REASSEMBLY_DROPPED;
    }
    whole->dont_fragment = 0; /* it was cut once, and may be again */
    return WSE_REASSEMBLY_DONE;
}

enum wse_reassembled wse_reassembly_add(struct wse_reassembly *reassembly, const struct wse_packet *packet,
                                        uint64_t now, struct wse_packet *whole)
{
    const uint32_t length = packet->length - packet->fragment_start;
    const uint32_t offset = packet->fragment_offset;
    const uint32_t end = offset + length;
    const uint32_t most = packet->family == AF_INET ? WSE_PACKET_MAX - IPV4_HEADER : WSE_PACKET_MAX;
    const uint32_t first = offset / UNIT, last = (end + UNIT - 1) / UNIT;
    const uint8_t *data = packet->bytes + packet->fragment_start;
    struct datagram *datagram;
    uint32_t present;

    /* Only the last may end within a unit; the whole has to fit in a packet (a "ping of death" does not). */
    if (!length || (packet->more_fragments && length % UNIT) || end > most)
        return WSE_REASSEMBLY_DROPPED;
    datagram = entry_of(reassembly, packet, now);
    if (datagram->state == DEAD)
        return WSE_REASSEMBLY_DROPPED;
    /* Data behind the end, or an end before data (so two ends, too): it contradicts itself. Or too many pieces. */
    if ((datagram->total != UNKNOWN && end > (uint32_t)datagram->total) ||
        (!packet->more_fragments && end < datagram->end) || ++datagram->fragments > WSE_REASSEMBLE_FRAGMENTS) {
        give_up(reassembly, datagram, DEAD);
        return WSE_REASSEMBLY_DROPPED;
    }
    present = present_in(datagram, first, last);
    if (present) {
        /* The same once more is no overlap (RFC 8200 4.5). */
        if (present == last - first && !memcmp(datagram->bytes + IPV6_HEADER + offset, data, length))
            return WSE_REASSEMBLY_WAITS;
        give_up(reassembly, datagram, DEAD);
        return WSE_REASSEMBLY_DROPPED;
    }
    for (uint32_t i = first / 64; i <= (last - 1) / 64; i++)
        datagram->present[i] |= mask_of(i, first, last);
    datagram->had += last - first;
    memcpy(datagram->bytes + IPV6_HEADER + offset, data, length);
    if (end > datagram->end)
        datagram->end = end;
    if (!packet->more_fragments)
        datagram->total = (int32_t)end;
    if (!offset) {
        datagram->header = packet->family == AF_INET ? IPV4_HEADER : IPV6_HEADER;
        memcpy(datagram->bytes + IPV6_HEADER - datagram->header, packet->bytes, datagram->header);
        datagram->protocol = packet->protocol; /* of the first fragment: RFC 8200 4.5 */
    }
    if (datagram->total == UNKNOWN || datagram->had * UNIT < (uint32_t)datagram->total)
        return WSE_REASSEMBLY_WAITS;
    return finish(reassembly, datagram, whole);
}
