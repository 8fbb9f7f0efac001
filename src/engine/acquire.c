/* SPDX-License-Identifier: Apache-2.0 */
#include "acquire.h"

#include <string.h>
#include <sys/socket.h>

#include "memory.h"
#include "worker.h"

enum { NONE = 0xffff, FRAME = WSE_VNET_LENGTH + WSE_INNER_MAX, BUCKETS = 512 };

struct held {
    uint16_t next;
    uint32_t link;
    uint32_t length;
    uint64_t since; /* milliseconds */
};

struct destination {
    uint8_t source[16], destination[16];
    uint32_t reqid;
    uint32_t link;          /* whose share it is of */
    uint16_t family;
    uint16_t next;          /* in its bucket, or in the list of free ones */
    uint16_t first, last;   /* packets that wait */
    uint16_t count;
    uint64_t asked; /* second */
};

/* What a device has of the two pools. */
struct share {
    unsigned held, destinations;
};

struct wse_holds {
    struct wse_worker *worker;
    unsigned count, destination_count;
    uint64_t roomless_second; /* in which there were so many questions for destinations of which nothing could wait */
    unsigned roomless;
    struct share shares[WSE_DEVICES_MAX];
    uint16_t free_held, free_destination;
    uint16_t buckets[BUCKETS];
    struct held held[WSE_HELD];
    struct destination destinations[WSE_HELD_DESTINATIONS];
    uint8_t *frames; /* one of FRAME bytes for each held; pages that were never used take no memory */
};

struct wse_holds *wse_holds_make(struct wse_worker *worker)
{
    struct wse_holds *holds = wse_pages(sizeof *holds);

    if (!holds)
        return NULL;
    holds->worker = worker;
    holds->frames = wse_pages((size_t)WSE_HELD * FRAME);
    if (!holds->frames)
        return NULL;
    for (unsigned i = 0; i < BUCKETS; i++)
        holds->buckets[i] = NONE;
    for (unsigned i = 0; i < WSE_HELD; i++)
        holds->held[i].next = i + 1 < WSE_HELD ? (uint16_t)(i + 1) : NONE;
    for (unsigned i = 0; i < WSE_HELD_DESTINATIONS; i++)
        holds->destinations[i].next = i + 1 < WSE_HELD_DESTINATIONS ? (uint16_t)(i + 1) : NONE;
    return holds;
}

unsigned wse_holds_count(const struct wse_holds *holds)
{
    return holds->count;
}

static size_t size_of(uint16_t family)
{
    return family == AF_INET ? 4 : 16;
}

/* Destinations are few, and drawn by local programs only. */
static unsigned bucket_of(uint32_t reqid, uint16_t family, const uint8_t *destination)
{
    uint32_t hash = reqid * 0x9e3779b1U;

    for (size_t i = 0; i < size_of(family); i++)
        hash = (hash ^ destination[i]) * 0x01000193U;
    return (hash ^ hash >> 16) % BUCKETS;
}

static uint16_t find(const struct wse_holds *holds, uint32_t reqid, const struct wse_packet *packet)
{
    uint16_t i = holds->buckets[bucket_of(reqid, packet->family, packet->destination)];

    for (; i != NONE; i = holds->destinations[i].next) {
        const struct destination *each = &holds->destinations[i];

        if (each->reqid == reqid && each->family == packet->family &&
            !memcmp(each->destination, packet->destination, size_of(packet->family)) &&
            !memcmp(each->source, packet->source, size_of(packet->family)))
            break;
    }
    return i;
}

int wse_holds_has(const struct wse_holds *holds, uint32_t reqid, const struct wse_packet *packet)
{
    uint16_t i;

    if (!holds->count)
        return 0;
    i = find(holds, reqid, packet);
    return i != NONE && holds->destinations[i].count;
}

static void ask(struct wse_holds *holds, struct destination *destination, const struct wse_packet *packet)
{
    struct wse_note note = {.type = WSE_EVENT_ACQUIRE};
    const uint64_t second = holds->worker->now / 1000;

    if (destination->asked == second)
        return;
    destination->asked = second;
    memcpy(note.acquire.source, packet->source, size_of(packet->family));
    memcpy(note.acquire.destination, packet->destination, size_of(packet->family));
    note.acquire.reqid = destination->reqid;
    note.acquire.family = packet->family;
    note.acquire.protocol = packet->protocol;
    wse_packet_ports(packet, &note.acquire.source_port, &note.acquire.destination_port);
    wse_worker_note(holds->worker, &note);
}

/* A destination of which nothing waits is forgotten at once, and with it when it was asked for: all of them together have a limit. */
static int may_ask_without_room(struct wse_holds *holds)
{
    const uint64_t second = holds->worker->now / 1000;

    if (holds->roomless_second != second) {
        holds->roomless_second = second;
        holds->roomless = 0;
    }
    return holds->roomless++ < WSE_HELD_ROOMLESS;
}

static void forget(struct wse_holds *holds, uint16_t number)
{
    struct destination *destination = &holds->destinations[number];
    uint16_t *link = &holds->buckets[bucket_of(destination->reqid, destination->family, destination->destination)];

    while (*link != number)
        link = &holds->destinations[*link].next;
    *link = destination->next;
    holds->destination_count--;
    holds->shares[destination->link].destinations--;
    destination->next = holds->free_destination;
    holds->free_destination = number;
}

/*
 * A device may have no more than is left for the others: half, if it is the only one, and of what one leaves another may
 * have half. So who floods one does not keep packets of another from waiting. A device that is alone is not given
 * all of it: the next one may come while they wait.
 */
static int has_share(unsigned own, unsigned taken, unsigned of)
{
    return own < of - taken;
}

static struct destination *make(struct wse_holds *holds, uint32_t reqid, uint32_t link, const struct wse_packet *packet)
{
    const unsigned bucket = bucket_of(reqid, packet->family, packet->destination);
    const uint16_t number = holds->free_destination;
    struct destination *destination;

    if (number == NONE ||
        !has_share(holds->shares[link].destinations, holds->destination_count, WSE_HELD_DESTINATIONS))
        return NULL;
    destination = &holds->destinations[number];
    holds->free_destination = destination->next;
    holds->destination_count++;
    holds->shares[link].destinations++;
    *destination = (struct destination){.reqid = reqid,
                                        .link = link,
                                        .family = packet->family,
                                        .next = holds->buckets[bucket],
                                        .first = NONE,
                                        .last = NONE,
                                        .asked = UINT64_MAX};
    memcpy(destination->source, packet->source, size_of(packet->family));
    memcpy(destination->destination, packet->destination, size_of(packet->family));
    holds->buckets[bucket] = number;
    return destination;
}

/* The virtio_net_hdr that says the same of the packet. */
static void write_frame(uint8_t *frame, const struct wse_packet *packet)
{
    const struct virtio_net_hdr header = {
        .flags = packet->needs_checksum ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
        .gso_type = packet->gso,
        .hdr_len = packet->gso ? packet->headers : 0,
        .gso_size = packet->gso_size,
        .csum_start = packet->needs_checksum ? packet->transport : 0,
        .csum_offset = packet->needs_checksum ? packet->checksum_offset : 0,
    };

    _Static_assert(sizeof header == WSE_VNET_LENGTH, "without num_buffers");
    memcpy(frame, &header, sizeof header);
    memcpy(frame + WSE_VNET_LENGTH, packet->bytes, packet->length);
}

void wse_holds_add(struct wse_holds *holds, uint32_t reqid, uint32_t link, const struct wse_packet *packet)
{
    uint16_t number = find(holds, reqid, packet);
    struct destination *destination =
        number == NONE ? make(holds, reqid, link, packet) : &holds->destinations[number];
    struct held *held;
    int room;

    if (!destination) {
        wse_count(&holds->worker->counters.held_lost, 1);
        return;
    }
    number = holds->free_held;
    room = number != NONE && has_share(holds->shares[link].held, holds->count, WSE_HELD) &&
           destination->count < WSE_HELD_DESTINATION && packet->length <= WSE_INNER_MAX;
    if (room || destination->count || may_ask_without_room(holds))
        ask(holds, destination, packet);
    if (!room) {
        wse_count(&holds->worker->counters.held_lost, 1);
        return;
    }
    held = &holds->held[number];
    holds->free_held = held->next;
    *held = (struct held){.next = NONE,
                          .link = link,
                          .length = WSE_VNET_LENGTH + packet->length,
                          .since = holds->worker->now};
    write_frame(holds->frames + (size_t)number * FRAME, packet);
    if (destination->last == NONE)
        destination->first = number;
    else
        holds->held[destination->last].next = number;
    destination->last = number;
    destination->count++;
    holds->count++;
    holds->shares[link].held++;
    wse_count(&holds->worker->counters.held, 1);
}

static uint16_t take(struct wse_holds *holds, struct destination *destination)
{
    const uint16_t number = destination->first;

    destination->first = holds->held[number].next;
    if (destination->first == NONE)
        destination->last = NONE;
    destination->count--;
    holds->count--;
    holds->shares[holds->held[number].link].held--;
    return number;
}

static void give_back(struct wse_holds *holds, uint16_t number)
{
    holds->held[number].next = holds->free_held;
    holds->free_held = number;
}

void wse_holds_tend(struct wse_holds *holds,
                    int (*ready)(void *context, uint32_t reqid, uint16_t family, const uint8_t *source,
                                 const uint8_t *destination),
                    void (*send)(void *context, uint32_t reqid, uint32_t link, const uint8_t *frame, size_t length),
                    void *context)
{
    const uint64_t now = holds->worker->now;

    for (unsigned bucket = 0; bucket < BUCKETS && holds->count; bucket++) {
        uint16_t next;

        for (uint16_t i = holds->buckets[bucket]; i != NONE; i = next) {
            struct destination *destination = &holds->destinations[i];
            uint16_t number;

            next = destination->next;
            /* One of them may find the association at its end, and be held again, behind the others: as many as there were. */
            for (unsigned left = destination->count; left; left--) {
                const struct held *first = &holds->held[destination->first];

                if (ready(context, destination->reqid, destination->family, destination->source,
                          destination->destination)) {
                    number = take(holds, destination);
                    send(context, destination->reqid, first->link, holds->frames + (size_t)number * FRAME,
                         first->length);
                } else if (now - first->since >= WSE_HELD_SECONDS * 1000) {
                    number = take(holds, destination);
                    wse_count(&holds->worker->counters.held_lost, 1);
                } else {
                    break;
                }
                give_back(holds, number);
            }
            if (!destination->count)
                forget(holds, i);
        }
    }
}
