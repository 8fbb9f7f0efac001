/* SPDX-License-Identifier: Apache-2.0 */
#include "outbound.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "acquire.h"
#include "ecn.h"
#include "esp.h"
#include "icmp.h"
#include "log.h"
#include "memory.h"
#include "packet.h"
#include "path.h"
#include "reassemble.h"
#include "segment.h"
#include "sending.h"
#include "worker.h"

enum {
    FRAME = WSE_VNET_LENGTH + WSE_INNER_MAX,
    ARENA = 512 * 1024,
    ENOUGH = 128 * 1024,    /* bytes that are sent before more is sealed: the other end can begin with them */
    READS = 32,             /* frames of one device before the others have their turn */
    MESSAGES = 64,          /* that are sent by one call */
    MESSAGE_BYTES = 65000,  /* of one: what UDP carries, less some */
    MESSAGE_SEGMENTS = 64,  /* UDP_MAX_SEGMENTS of older kernels */
    SEND_MILLISECONDS = 20, /* that are waited for room in the socket */
    FULL_MILLISECONDS = 1000, /* in which that is not done again where it was of no use: all others wait meanwhile */
    SAY_MILLISECONDS = 60000,
    FRAGMENTED = 16         /* datagrams that are put together at a time */
};

/* A message that is filled: equal datagrams to one peer, of which the last may be shorter. */
struct message {
    const struct wse_association *association; /* the first one's: whose addresses and transport it has */
    const struct wse_port *port;
    const struct wse_target *target;
    struct wse_outer outer;
    uint8_t *start;
    uint32_t bytes;
    uint32_t size; /* of each but the last */
    uint32_t count;
    uint8_t closed;
    alignas(struct cmsghdr) uint8_t control[WSE_SENDING_CONTROL];
};

struct wse_outbound {
    struct wse_worker *worker;
    struct wse_holds *holds;
    struct wse_reassembly *reassembly;
    uint64_t said; /* milliseconds: that something cannot be sent */
    uint64_t full; /* milliseconds: until then no room is waited for */
    int no_segments; /* the system does not cut for us */
    int lone; /* there was one frame the last time; not of bulk */
    struct wse_association *wide; /* whose way is to be looked at; NULL: none's */
    uint32_t wide_mtu;            /* of the device of its packets */
    unsigned messages;
    uint32_t used; /* of the arena */
    struct message message[MESSAGES];
    uint8_t *frame;
    uint8_t *arena;
};

int wse_outbound_make(struct wse_outbound **made, struct wse_worker *worker)
{
    struct wse_outbound *outbound = wse_pages(sizeof *outbound);
    void *memory = wse_pages(wse_reassembly_bytes(FRAGMENTED));

    if (!outbound || !memory)
        return -ENOMEM;
    outbound->worker = worker;
    outbound->reassembly = wse_reassembly_start(memory, FRAGMENTED);
    outbound->frame = wse_pages(FRAME);
    outbound->arena = wse_pages(ARENA);
    outbound->holds = wse_holds_make(worker);
    if (!outbound->frame || !outbound->arena || !outbound->holds)
        return -ENOMEM;
    *made = outbound;
    return 0;
}

int wse_outbound_waits(const struct wse_outbound *outbound)
{
    return wse_holds_count(outbound->holds) != 0;
}

/* What is the same for all of a message's datagrams. */
static void describe(struct message *message, struct msghdr *header, struct iovec *vector)
{
    wse_sending_start(header, message->control, &message->association->name, message->target, message->outer);
    header->msg_iov = vector;
    header->msg_iovlen = 1;
    vector->iov_base = message->start;
    vector->iov_len = message->bytes;
}

static int socket_of(const struct wse_outbound *outbound, const struct wse_port *port)
{
    return port->sockets[outbound->worker->index % port->count];
}

/* Whether there is room in the socket after a while. */
static int waited(struct wse_outbound *outbound, int fd)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    if (outbound->worker->now < outbound->full)
        return 0;
    if (poll(&room, 1, SEND_MILLISECONDS) == 1)
        return 1;
    outbound->full = outbound->worker->now + FULL_MILLISECONDS;
    return 0;
}

/* Sends a message's datagrams one by one, as the system does not cut it. */
static void send_singly(struct wse_outbound *outbound, struct message *message)
{
    const int fd = socket_of(outbound, message->port);
    struct msghdr header;
    struct iovec vector;
    uint32_t offset, lost = 0;

    describe(message, &header, &vector);
    for (offset = 0; offset < message->bytes; offset += message->size) {
        vector.iov_base = message->start + offset;
        vector.iov_len = message->bytes - offset < message->size ? message->bytes - offset : message->size;
        if (sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            ((errno != EAGAIN && errno != ENOBUFS) || !waited(outbound, fd) ||
             sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0))
            lost++;
    }
    wse_count(&outbound->worker->counters.sends, message->count);
    wse_count(&outbound->worker->counters.no_buffer, lost);
}

/* Sends messages of one socket; returns how many of them are done with, sent or given up. */
static unsigned send_some(struct wse_outbound *outbound, struct message *first, unsigned count)
{
    const int fd = socket_of(outbound, first->port);
    struct mmsghdr headers[MESSAGES];
    struct iovec vectors[MESSAGES];
    unsigned i;
    int sent;

    for (i = 0; i < count; i++) {
        describe(&first[i], &headers[i].msg_hdr, &vectors[i]);
        if (first[i].count > 1)
            wse_sending_cut(&headers[i].msg_hdr, (uint16_t)first[i].size);
    }
    sent = sendmmsg(fd, headers, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
        wse_count(&outbound->worker->counters.sends, (uint64_t)sent);
        return (unsigned)sent;
    }
    if ((errno == EAGAIN || errno == ENOBUFS) && waited(outbound, fd))
        sent = sendmmsg(fd, headers, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
        wse_count(&outbound->worker->counters.sends, 1);
        return 1;
    }
    if (first->count > 1 && (errno == EIO || errno == EINVAL || errno == EMSGSIZE)) {
        /* The way out cannot sum, or its MTU is below a datagram: IP cuts that, but then nobody cuts a message. */
        if (errno == EIO)
            outbound->no_segments = 1;
        send_singly(outbound, first);
        return 1;
    }
    if (outbound->worker->now - outbound->said >= SAY_MILLISECONDS) {
        outbound->said = outbound->worker->now;
        wse_log("packets cannot be sent: error %d", errno);
    }
    wse_count(&outbound->worker->counters.no_buffer, first->count);
    return 1;
}

/* Sends what is sealed. */
static void flush(struct wse_outbound *outbound)
{
    unsigned done = 0;

    while (done < outbound->messages) {
        struct message *first = &outbound->message[done];
        unsigned count = 1;

        if (outbound->no_segments && first->count > 1) {
            send_singly(outbound, first);
            done++;
            continue;
        }
        while (done + count < outbound->messages && first[count].port == first->port &&
               !(outbound->no_segments && first[count].count > 1))
            count++;
        done += send_some(outbound, first, count);
    }
    outbound->messages = 0;
    outbound->used = 0;
}

/* Sends what is left, and looks at a way, which has the arena and the socket for itself then. */
static void finish(struct wse_outbound *outbound)
{
    struct wse_association *association = outbound->wide;
    const struct wse_port *port;

    flush(outbound);
    if (!association)
        return;
    outbound->wide = NULL;
    port = atomic_load_explicit(&association->port, memory_order_acquire);
    /* With fewer sockets than threads another one may be sending by it, whose packets may be cut. */
    if (port && port->count == outbound->worker->engine->threads && !wse_at_end(association))
        wse_count(&outbound->worker->counters.probes,
                  wse_path_look(association, outbound->worker->index, socket_of(outbound, port), outbound->wide_mtu,
                                outbound->arena));
}

/* Where the next datagram of so many bytes is to be written: in the arena, and counted in a message. */
static uint8_t *room_for(struct wse_outbound *outbound, const struct wse_association *association,
                         const struct wse_port *port, const struct wse_target *target, struct wse_outer outer,
                         uint32_t size)
{
    struct message *message = outbound->messages ? &outbound->message[outbound->messages - 1] : NULL;
    uint8_t *room;

    if (outbound->used + size + WSE_ESP_TAIL_MAX > ARENA) {
        flush(outbound);
        message = NULL;
    }
    if (!message || message->closed || message->target != target || message->port != port ||
        size > message->size || message->count == MESSAGE_SEGMENTS || message->bytes + size > MESSAGE_BYTES ||
        message->outer.tos != outer.tos || message->outer.ttl != outer.ttl ||
        memcmp(message->association->name.source, association->name.source, sizeof association->name.source) ||
        port->transport.kind != WSE_UDP) {
        if (outbound->messages == MESSAGES)
            flush(outbound);
        message = &outbound->message[outbound->messages++];
        message->association = association;
        message->port = port;
        message->target = target;
        message->outer = outer;
        message->start = outbound->arena + outbound->used;
        message->bytes = 0;
        message->size = size;
        message->count = 0;
        message->closed = 0;
    }
    room = outbound->arena + outbound->used;
    outbound->used += size;
    message->bytes += size;
    message->count++;
    message->closed = size < message->size;
    return room;
}

/* Takes back what room_for gave last. */
static void take_back(struct wse_outbound *outbound, uint32_t size)
{
    struct message *message = &outbound->message[outbound->messages - 1];

    outbound->used -= size;
    message->bytes -= size;
    message->count--;
    message->closed = 0;
    if (!message->count)
        outbound->messages--;
}

static void hard(struct wse_outbound *outbound, struct wse_association *association)
{
    if (wse_association_tell(association, WSE_TOLD_HARD))
        wse_worker_expire(outbound->worker, association, WSE_TOLD_HARD);
}

/* Tells who sent a packet what fits. */
static void tell_too_big(struct wse_outbound *outbound, const struct wse_link *link, const struct wse_packet *packet,
                         uint32_t mtu)
{
    uint8_t answer[WSE_ICMP_MAX];
    const uint32_t length = wse_icmp_too_big(packet, mtu, answer);

    wse_count(&outbound->worker->counters.too_big, 1);
    if (length && write(wse_link_queue(link, outbound->worker->index, 0), answer, length) < 0)
        wse_count(&outbound->worker->counters.no_buffer, 1);
}

/* A packet whose size the way to the peer may not take. It goes there all the same: a program need not listen. */
static void mind_path(struct wse_outbound *outbound, const struct wse_link *link, struct wse_association *association,
                      const struct wse_packet *packet)
{
    const uint32_t mtu = atomic_load_explicit(&association->path.mtu, memory_order_relaxed);

    if (!outbound->wide && wse_path_due(&association->path, outbound->worker->now)) {
        outbound->wide = association;
        outbound->wide_mtu = link->device.mtu;
    }
    if (mtu && wse_icmp_needed(packet, mtu) && wse_path_tells(&association->path, outbound->worker->now))
        tell_too_big(outbound, link, packet, mtu);
}

/* Returns 0 where the association has no sequence numbers left for it: it is at its end then, and nothing was sent. */
static int seal(struct wse_outbound *outbound, const struct wse_link *link, struct wse_association *association,
                const struct wse_packet *packet)
{
    struct wse_counters *counters = &outbound->worker->counters;
    const struct wse_port *port = atomic_load_explicit(&association->port, memory_order_acquire);
    const struct wse_target *target = atomic_load_explicit(&association->target, memory_order_acquire);
    const struct wse_outer outer = wse_outer_of(packet);
    const bool esn = association->flags & WSE_SA_ESN;
    struct wse_segments cut;
    uint64_t sequence, bytes = 0;
    uint32_t count, what;

    if (!port) {
        wse_count(&counters->no_buffer, 1);
        return 1;
    }
    count = wse_segment_start(&cut, packet);
    sequence = wse_sequence_take(&association->sequence, count, esn);
    if (!sequence) {
        hard(outbound, association);
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t length = wse_segment_length(&cut, i);
        const uint32_t size = (uint32_t)wse_esp_size(length);
        uint8_t *room = room_for(outbound, association, port, target, outer, size);

        wse_segment_write(&cut, i, room + WSE_ESP_HEAD);
        if (!wse_esp_seal(association->key, outbound->worker->index, association->name.spi, sequence + i, esn, room,
                          length, packet->next)) {
            wse_count(&counters->no_buffer, 1);
            take_back(outbound, size);
        }
        bytes += packet->payload + length;
    }
    wse_count(&counters->sent_packets, count);
    wse_count(&counters->sent_bytes, bytes);
    what = wse_association_count(association, count, bytes, outbound->worker->now / 1000);
    if (what)
        wse_worker_expire(outbound->worker, association, what);
    if (packet->payload + wse_segment_length(&cut, 0) > WSE_MTU_LEAST_4)
        mind_path(outbound, link, association, packet);
    return 1;
}

static void carry(struct wse_outbound *outbound, const struct wse_link *link, const struct wse_packet *packet)
{
    struct wse_association *association;

    for (;;) {
        association = wse_table_outbound(&outbound->worker->engine->table, link->device.reqid, packet->family,
                                         packet->source, packet->destination);
        if (!association || wse_at_end(association)) {
            wse_holds_add(outbound->holds, link->device.reqid, link->number, packet);
            return;
        }
        if (seal(outbound, link, association, packet))
            return;
    }
}

static int is_own(const struct wse_packet *packet)
{
    const size_t size = packet->family == AF_INET ? 4 : 16;

    return !memcmp(packet->source, packet->destination, size) ||
           (packet->family == AF_INET && packet->source[0] == 127 && packet->destination[0] == 127);
}

static int holds_ready(void *context, uint32_t reqid, uint16_t family, const uint8_t *source,
                       const uint8_t *destination)
{
    const struct wse_outbound *outbound = context;
    const struct wse_association *association =
        wse_table_outbound(&outbound->worker->engine->table, reqid, family, source, destination);

    return association && !wse_at_end(association);
}

static void holds_send(void *context, uint32_t reqid, uint32_t number, const uint8_t *frame, size_t length)
{
    struct wse_outbound *outbound = context;
    const struct wse_link *link =
        atomic_load_explicit(&outbound->worker->engine->links[number], memory_order_acquire);
    struct wse_packet packet;

    /* The device may be gone, or be another one now. */
    if (link && link->device.reqid == reqid && wse_packet_parse_tun(&packet, frame, length) == WSE_FINE)
        carry(outbound, link, &packet);
    else
        wse_count(&outbound->worker->counters.held_lost, 1);
}

static void tend_holds(struct wse_outbound *outbound)
{
    wse_holds_tend(outbound->holds, holds_ready, holds_send, outbound);
}

/* Whether it is larger than the device's packets may be, and may not be cut: who sent it is told what fits. */
static int is_too_big(struct wse_outbound *outbound, const struct wse_link *link, const struct wse_packet *packet)
{
    if (packet->fragment || !link->device.mtu || !wse_icmp_needed(packet, link->device.mtu))
        return 0;
    tell_too_big(outbound, link, packet, link->device.mtu);
    return 1;
}

/* A frame of a device's queue. */
static void take(struct wse_outbound *outbound, const struct wse_link *link, const uint8_t *frame, size_t length)
{
    struct wse_counters *counters = &outbound->worker->counters;
    static const uint8_t none[WSE_VNET_LENGTH];
    struct iovec vectors[2] = {{(void *)(uintptr_t)frame, WSE_VNET_LENGTH}};
    struct wse_packet packet, whole;
    int own, bulk;
    enum wse_refusal refusal = wse_packet_parse_tun(&packet, frame, length);

    if (refusal == WSE_FINE)
        refusal = wse_packet_check_outbound(&packet);
    if (refusal != WSE_FINE) {
        wse_count(refusal == WSE_ADDRESS || refusal == WSE_PROTOCOL || refusal == WSE_OPTIONS || refusal == WSE_ROUTING
                      ? &counters->refused
                      : &counters->malformed,
                  1);
        return;
    }
    if (packet.protocol == IPPROTO_TCP && !packet.fragment && wse_tcp_begins(packet.bytes + packet.transport))
        wse_turns_begin(&outbound->worker->turns, outbound->worker->now);
    bulk = wse_bulk_sent(&outbound->worker->engine->bulk, link->number, &packet, outbound->worker->now);
    own = is_own(&packet);
    vectors[1] = (struct iovec){(void *)(uintptr_t)packet.bytes, packet.length};
    if (!own && is_too_big(outbound, link, &packet))
        return;
    if (packet.fragment) {
        packet.reqid = link->device.reqid;
        wse_count(&counters->fragments, 1);
        switch (wse_reassembly_add(outbound->reassembly, &packet, outbound->worker->now, &whole)) {
        case WSE_REASSEMBLY_DONE:
            wse_count(&counters->reassembled, 1);
            packet = whole;
            vectors[0] = (struct iovec){(void *)(uintptr_t)none, sizeof none};
            vectors[1] = (struct iovec){(void *)(uintptr_t)whole.bytes, whole.length};
            break;
        case WSE_REASSEMBLY_DROPPED:
            wse_count(&counters->fragments_lost, 1);
            return;
        default:
            return;
        }
    }
    if (own) {
        /* To this host itself: it stays here, and comes in from the device, whole, as if it had been carried. */
        if (writev(wse_link_queue(link, outbound->worker->index, bulk), vectors, 2) < 0)
            wse_count(&counters->no_buffer, 1);
        return;
    }
    if (wse_holds_has(outbound->holds, link->device.reqid, &packet) &&
        holds_ready(outbound, link->device.reqid, packet.family, packet.source, packet.destination))
        tend_holds(outbound);
    if (wse_holds_has(outbound->holds, link->device.reqid, &packet))
        wse_holds_add(outbound->holds, link->device.reqid, link->number, &packet);
    else
        carry(outbound, link, &packet);
}

/* A queue whose device was removed would be said to be ready for ever. */
static void give_up(struct wse_outbound *outbound, const struct wse_link *link, int queue)
{
    wse_log("device %s is gone: error %d", link->device.name, errno);
    epoll_ctl(outbound->worker->epoll, EPOLL_CTL_DEL, queue, NULL);
}

/* Takes the next frame of a queue. 0: there is none. */
static int take_next(struct wse_outbound *outbound, const struct wse_link *link, int queue)
{
    const ssize_t length = read(queue, outbound->frame, FRAME);

    if (length < 0 && errno != EAGAIN && errno != EINTR)
        give_up(outbound, link, queue);
    if (length <= 0)
        return 0;
    take(outbound, link, outbound->frame, (size_t)length);
    return 1;
}

static const struct wse_link *link_at(const struct wse_outbound *outbound, uint32_t number)
{
    const struct wse_link *link =
        atomic_load_explicit(&outbound->worker->engine->links[number], memory_order_acquire);

    return link && outbound->worker->index < link->count ? link : NULL;
}

int wse_outbound_serve(struct wse_outbound *outbound, uint32_t number)
{
    const struct wse_link *link = link_at(outbound, number);
    int i = 0;

    if (!link)
        return 0;
    while (i < READS && take_next(outbound, link, link->queues[outbound->worker->index])) {
        /* Where frames come one by one, this one need not wait for the look whether there is another. */
        if (outbound->used >= ENOUGH || (!i && outbound->lone))
            flush(outbound);
        i++;
    }
    finish(outbound);
    outbound->lone = i == 1;
    return i == READS;
}

void wse_outbound_serve_bulk(struct wse_outbound *outbound, uint32_t number)
{
    const struct wse_link *link = link_at(outbound, number);

    if (!link || !link->bulk)
        return;
    for (int i = 0; i < READS && outbound->used < ENOUGH; i++)
        if (!take_next(outbound, link, link->queues[link->bulk + outbound->worker->index]))
            break;
    finish(outbound);
}

void wse_outbound_tend(struct wse_outbound *outbound)
{
    if (!wse_holds_count(outbound->holds))
        return;
    tend_holds(outbound);
    finish(outbound);
}
