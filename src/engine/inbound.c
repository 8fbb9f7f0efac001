/* SPDX-License-Identifier: Apache-2.0 */
#include "inbound.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ecn.h"
#include "esp.h"
#include "inner.h"
#include "memory.h"
#include "merge.h"
#include "worker.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    MESSAGES = 16,  /* received by one call; their flows are put together */
    MESSAGE = 65536, /* bytes of one: many datagrams, where the system joined them */
    ERRORS = 64,    /* of routers that are taken at a time */
    RECEIVES = 4,   /* calls of one socket before the others have their turn */
    CONTROL = 256
};

/* Where a message came from and went to. */
struct origin {
    uint16_t family;
    uint16_t port;
    const uint8_t *source; /* 4 or 16 bytes */
    uint8_t destination[16];
    uint32_t size; /* of each datagram but the last; 0: there is one */
    struct wse_outer outer;
    int udp;
};

/* What was counted for an association and not yet written there. */
struct run {
    struct wse_association *association;
    uint64_t packets, bytes, replayed, forged, refused;
};

struct wse_inbound {
    struct wse_worker *worker;
    struct run run;
    struct wse_merge merge;
    struct mmsghdr headers[MESSAGES];
    struct iovec vectors[MESSAGES];
    struct sockaddr_storage names[MESSAGES];
    alignas(struct cmsghdr) uint8_t controls[MESSAGES][CONTROL];
    uint8_t *buffers;
};

/* By the queue by which the kernel is to send what belongs to the same flow. */
static void emit(void *context, const struct wse_inner *first, const struct iovec *vectors, int count)
{
    struct wse_inbound *inbound = context;
    struct wse_worker *worker = inbound->worker;
    const struct wse_link *link = atomic_load_explicit(&worker->engine->links[first->device], memory_order_acquire);
    const int bulk = wse_bulk_answered(&worker->engine->bulk, first, worker->now);

    if (!link || writev(wse_link_queue(link, worker->index, bulk), vectors, count) < 0)
        wse_count(&worker->counters.no_buffer, 1);
    else
        wse_count(&worker->counters.written, 1);
}

int wse_inbound_make(struct wse_inbound **made, struct wse_worker *worker)
{
    struct wse_inbound *inbound = wse_pages(sizeof *inbound);
    uint64_t seed;

    if (!inbound)
        return -ENOMEM;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return -errno;
    inbound->worker = worker;
    inbound->buffers = wse_pages((size_t)MESSAGES * MESSAGE);
    if (!inbound->buffers)
        return -ENOMEM;
    wse_merge_start(&inbound->merge, WSE_MERGE_TCP | (worker->engine->uso ? WSE_MERGE_UDP : 0), seed, emit, inbound);
    *made = inbound;
    return 0;
}

static void count_run(struct wse_inbound *inbound)
{
    struct run *run = &inbound->run;
    struct wse_counters *counters = &inbound->worker->counters;
    uint32_t what;

    if (!run->association)
        return;
    if (run->packets) {
        wse_count(&counters->received_packets, run->packets);
        wse_count(&counters->received_bytes, run->bytes);
        what = wse_association_count(run->association, run->packets, run->bytes, inbound->worker->now / 1000);
        if (what)
            wse_worker_expire(inbound->worker, run->association, what);
    }
    if (run->replayed) {
        wse_count(&counters->replayed, run->replayed);
        atomic_fetch_add_explicit(&run->association->replayed, run->replayed, memory_order_relaxed);
    }
    if (run->forged) {
        wse_count(&counters->forged, run->forged);
        atomic_fetch_add_explicit(&run->association->forged, run->forged, memory_order_relaxed);
    }
    if (run->refused) {
        wse_count(&counters->refused, run->refused);
        atomic_fetch_add_explicit(&run->association->refused, run->refused, memory_order_relaxed);
    }
    memset(run, 0, sizeof *run);
}

/* Whether the peer is where it was seen last; if not, it is told once a second. The packet was authenticated. */
static void check_mapping(struct wse_inbound *inbound, struct wse_association *association,
                          const struct origin *origin)
{
    const struct wse_target *target = atomic_load_explicit(&association->target, memory_order_acquire);
    const size_t size = origin->family == AF_INET ? 4 : 16;
    const void *address =
        origin->family == AF_INET ? (const void *)&target->v4.sin_addr : (const void *)&target->v6.sin6_addr;
    const uint16_t port = ntohs(origin->family == AF_INET ? target->v4.sin_port : target->v6.sin6_port);
    const uint64_t second = inbound->worker->now / 1000;
    struct wse_note note = {.type = WSE_EVENT_MAPPING, .association = association};

    if ((port == origin->port && !memcmp(address, origin->source, size)) ||
        atomic_exchange_explicit(&association->mapping_told, second, memory_order_relaxed) == second)
        return;
    note.mapping.name = association->name;
    note.mapping.reqid = association->reqid;
    memcpy(note.mapping.address, origin->source, size);
    note.mapping.port = origin->port;
    wse_worker_note(inbound->worker, &note);
}

/* What was authenticated goes to its device. */
static void deliver(struct wse_inbound *inbound, struct wse_association *association, const struct origin *origin,
                    const struct wse_esp_opened *opened)
{
    const struct wse_link *link = atomic_load_explicit(&association->link, memory_order_acquire);
    struct wse_inner inner = {
        .source = association->name.source,
        .destination = association->name.destination,
        .bytes = opened->payload,
        .length = (uint32_t)opened->length,
        .family = association->name.family,
        .next = opened->next_header,
        .tos = origin->outer.tos,
        .ttl = origin->outer.ttl ? origin->outer.ttl : 64,
        .checksum = origin->udp ? WSE_CHECKSUM_ANEW : WSE_CHECKSUM_AS_IS,
    };

    inbound->run.packets++;
    inbound->run.bytes += opened->length + (association->name.family == AF_INET ? 20 : 40);
    if (!link) {
        wse_count(&inbound->worker->counters.no_buffer, 1);
        return;
    }
    if (wse_inner_check(&inner) != WSE_FINE) {
        inbound->run.refused++;
        return;
    }
    if (inner.protocol == IPPROTO_TCP && wse_tcp_begins(inner.bytes + inner.transport))
        wse_turns_begin(&inbound->worker->turns, inbound->worker->now);
    inner.device = link->number;
    wse_merge_add(&inbound->merge, &inner);
}

/* An ESP packet. */
static void take(struct wse_inbound *inbound, const struct origin *origin, uint8_t *packet, size_t size)
{
    struct wse_counters *counters = &inbound->worker->counters;
    struct wse_association *association = inbound->run.association;
    struct wse_esp_opened opened;
    uint32_t spi;

    if (size < WSE_ESP_MIN) {
        wse_count(&counters->malformed, 1);
        return;
    }
    spi = wse_esp_spi(packet);
    /* Datagrams that were joined are of one peer, and mostly of one association. */
    if (!association || association->name.spi != spi) {
        count_run(inbound);
        association = wse_table_inbound(&inbound->worker->engine->table, spi, origin->family, origin->source,
                                        origin->destination, origin->udp);
        if (!association) {
            wse_count(&counters->unknown_spi, 1);
            return;
        }
        inbound->run.association = association;
    }
    if (wse_at_end(association)) {
        wse_count(&counters->unknown_spi, 1);
        return;
    }
    switch (wse_esp_open(association->key, inbound->worker->index, association->replay,
                         association->flags & WSE_SA_ESN, packet, size, &opened)) {
    case WSE_ESP_OK:
        if (origin->udp)
            check_mapping(inbound, association, origin);
        deliver(inbound, association, origin, &opened);
        break;
    case WSE_ESP_EMPTY:
        wse_count(&counters->dummies, 1);
        break;
    case WSE_ESP_REPLAYED:
        inbound->run.replayed++;
        break;
    case WSE_ESP_FORGED:
        inbound->run.forged++;
        break;
    case WSE_ESP_MALFORMED:
        wse_count(&counters->malformed, 1);
        break;
    default:
        wse_count(&counters->no_buffer, 1);
        break;
    }
}

static void describe(struct origin *origin, struct msghdr *header, const struct wse_port *port)
{
    struct cmsghdr *control;

    memset(origin, 0, sizeof *origin);
    origin->family = port->transport.family;
    origin->udp = port->transport.kind == WSE_UDP;
    if (origin->family == AF_INET) {
        const struct sockaddr_in *name = header->msg_name;

        origin->source = (const uint8_t *)&name->sin_addr;
        origin->port = ntohs(name->sin_port);
    } else {
        const struct sockaddr_in6 *name = header->msg_name;

        origin->source = (const uint8_t *)&name->sin6_addr;
        origin->port = ntohs(name->sin6_port);
    }
    origin->outer = wse_outer_read(header);
    for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO) {
            int size;

            memcpy(&size, CMSG_DATA(control), sizeof size);
            origin->size = size > 0 ? (uint32_t)size : 0;
        } else if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(control), sizeof info);
            memcpy(origin->destination, &info.ipi_addr, 4);
        } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;

            memcpy(&info, CMSG_DATA(control), sizeof info);
            memcpy(origin->destination, &info.ipi6_addr, 16);
        }
    }
}

/* A datagram of the UDP port that IKE has, too (RFC 3948 section 2). */
static int is_for_ike(const uint8_t *datagram, size_t size)
{
    return (size == 1 && datagram[0] == 0xff) || (size >= 4 && !memcmp(datagram, "\0\0\0", 4));
}

static void take_message(struct wse_inbound *inbound, const struct wse_port *port, struct msghdr *header,
                         uint8_t *bytes, size_t length)
{
    struct wse_counters *counters = &inbound->worker->counters;
    struct origin origin;
    size_t offset, size;

    if (header->msg_flags & MSG_TRUNC) {
        wse_count(&counters->malformed, 1);
        return;
    }
    describe(&origin, header, port);
    /* Another peer's message: its packets are looked up anew. */
    count_run(inbound);
    if (!origin.udp) {
        /* A raw socket gives IPv4 with its header, and IPv6 without. */
        const size_t skipped = origin.family != AF_INET ? 0 : length ? (size_t)(bytes[0] & 15) * 4 : 0;

        wse_count(&counters->datagrams, 1);
        if (length < skipped)
            wse_count(&counters->malformed, 1);
        else
            take(inbound, &origin, bytes + skipped, length - skipped);
        return;
    }
    for (offset = 0; offset < length; offset += size) {
        size = origin.size && length - offset > origin.size ? origin.size : length - offset;
        wse_count(&counters->datagrams, 1);
        if (is_for_ike(bytes + offset, size))
            wse_count(&counters->not_ours, 1);
        else
            take(inbound, &origin, bytes + offset, size);
    }
}

static int receive(struct wse_inbound *inbound, int fd)
{
    for (int i = 0; i < MESSAGES; i++) {
        inbound->vectors[i] = (struct iovec){inbound->buffers + (size_t)i * MESSAGE, MESSAGE};
        inbound->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &inbound->names[i],
            .msg_namelen = sizeof inbound->names[i],
            .msg_iov = &inbound->vectors[i],
            .msg_iovlen = 1,
            .msg_control = inbound->controls[i],
            .msg_controllen = CONTROL,
        };
    }
    return recvmmsg(fd, inbound->headers, MESSAGES, MSG_DONTWAIT, NULL);
}

void wse_inbound_serve(struct wse_inbound *inbound, uint32_t number)
{
    struct wse_engine *engine = inbound->worker->engine;
    const struct wse_port *port = atomic_load_explicit(&engine->ports[number], memory_order_acquire);

    if (!port || inbound->worker->index >= port->count)
        return;
    for (int times = 0; times < RECEIVES; times++) {
        const int count = receive(inbound, port->sockets[inbound->worker->index]);

        if (count <= 0)
            break;
        wse_count(&inbound->worker->counters.receives, 1);
        for (int i = 0; i < count; i++)
            take_message(inbound, port, &inbound->headers[i].msg_hdr, inbound->buffers + (size_t)i * MESSAGE,
                         inbound->headers[i].msg_len);
        count_run(inbound);
        wse_merge_flush(&inbound->merge);
        if (count < MESSAGES)
            break;
    }
}

void wse_inbound_errors(struct wse_inbound *inbound, uint32_t number)
{
    const struct wse_port *port = atomic_load_explicit(&inbound->worker->engine->ports[number], memory_order_acquire);
    uint8_t quoted;

    if (!port || inbound->worker->index >= port->count)
        return;
    /* The kernel has done what they are for: it knows the way's MTU. */
    for (int times = 0; times < ERRORS; times++) {
        struct iovec vector = {&quoted, sizeof quoted};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

        if (recvmsg(port->sockets[inbound->worker->index], &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
    }
}
