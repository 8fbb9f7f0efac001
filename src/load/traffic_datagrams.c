/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams, many at once. Each of 16 bytes or more begins with its number on its socket, from 0, and
 * the time at which it was made (wsasec_backend_clock(), nanoseconds), both 8 bytes, the highest first.
 */
#include "packets.h"
#include "traffic.h"

enum {
    READS_A_TURN = 16,
    ALONE = 2 /* datagrams sent one by one, where an error may have been lost */
};

static void write_number(uint8_t bytes[8], uint64_t number)
{
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
}

static uint64_t read_number(const uint8_t bytes[8])
{
    uint64_t number = 0;

    for (unsigned i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return number;
}

static void sent(struct traffic_thread *thread, struct traffic_socket *sock, unsigned count)
{
    const uint64_t bytes = (uint64_t)count * thread->run->spec.message_bytes;

    wsasec_count(&thread->counters.sent_messages, count);
    wsasec_count(&thread->counters.sent_bytes, bytes);
    if (thread->measuring) {
        sock->messages += count;
        sock->bytes += bytes;
    }
    sock->sequence += count;
    sock->backoff = 0;
    traffic_pace_spend(thread, count);
}

/*
 * That it would block means that the socket's buffer is full, of whose end we are told, or that there is no security
 * association, of whose end nobody tells. With room in the buffer before the attempt, it was not the buffer.
 */
static void serve(struct traffic_thread *thread, uint32_t slot, uint32_t count)
{
    struct traffic_socket *sock = &thread->sockets[slot];
    int had_room = 0;

    if (sock->alone) {
        sock->alone--;
        count = 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        write_number(thread->packets->out[i].number, sock->sequence + i);
        write_number(thread->packets->out[i].made, thread->now);
    }
    for (;;) {
        const int done = wsasec_packets_send(thread->packets, sock->fd, count);
        enum wsasec_trouble trouble;

        if (done > 0) {
            sent(thread, sock, (unsigned)done);
            /* The error that ended it early is not told, and forgotten: as a port unreachable would be for ever. */
            if ((unsigned)done < count)
                sock->alone = ALONE;
            traffic_queue(thread, slot);
            return;
        }
        trouble = wsasec_trouble_of(-done);
        if (trouble == WSASEC_TROUBLE_NO_MEMORY || trouble == WSASEC_TROUBLE_SIGNAL) {
            traffic_hold_back(thread, slot);
            return;
        }
        if (trouble != WSASEC_TROUBLE_WOULD_BLOCK) {
            traffic_fail(thread, slot, -done);
            return;
        }
        if (had_room) {
            wsasec_count(&thread->counters.without_sa, 1);
            traffic_hold_back(thread, slot);
            return;
        }
        if (!wsasec_has_room(sock->fd, 0)) {
            traffic_watch(thread, slot, WSASEC_POLL_IN | WSASEC_POLL_OUT);
            return;
        }
        had_room = 1;
        count = 1;
    }
}

static void count_echo(struct traffic_thread *thread, const struct traffic_socket *sock,
                       const struct wsasec_packet_header *header, size_t length)
{
    const struct wsasec_traffic *run = thread->run;
    const uint64_t made = read_number(header->made);
    const uint64_t begin = atomic_load_explicit(&run->begin, memory_order_relaxed);

    if (length != run->spec.message_bytes ||
        (length >= WSASEC_PACKET_HEADER &&
         (made < begin || made > thread->now || read_number(header->number) >= sock->sequence))) {
        wsasec_count(&thread->counters.stale, 1);
        return;
    }
    wsasec_count(&thread->counters.received_messages, 1);
    wsasec_count(&thread->counters.received_bytes, length);
    if (length >= WSASEC_PACKET_HEADER && made >= run->warm && made < run->end)
        wsasec_histogram_record(&thread->latency, (thread->now - made) / 1000);
}

static void receive(struct traffic_thread *thread, uint32_t slot)
{
    const struct traffic_socket *sock = &thread->sockets[slot];
    int done = WSASEC_PACKETS;

    for (unsigned i = 0; i < READS_A_TURN && done == WSASEC_PACKETS; i++) {
        done = wsasec_packets_receive(thread->packets, sock->fd);
        thread->now = wsasec_backend_clock();
        for (int j = 0; j < done; j++)
            count_echo(thread, sock, &thread->packets->in[j], thread->packets->length[j]);
    }
    if (done == WSASEC_PACKETS)
        traffic_watch(thread, slot, WSASEC_POLL_IN);
    else if (done < 0)
        traffic_no_more(thread, slot, -done);
    else
        traffic_watch_again(thread, slot, WSASEC_POLL_IN);
}

static void look(struct traffic_thread *thread, uint64_t until)
{
    const int found = traffic_wait(thread, until);

    for (int i = 0; i < found; i++) {
        const uint32_t slot = (uint32_t)thread->events[i].key;
        const uint32_t events = thread->events[i].events;

        if (slot == TRAFFIC_NOBODY || thread->sockets[slot].error)
            continue;
        if (events & WSASEC_POLL_OUT) {
            traffic_watch(thread, slot, WSASEC_POLL_IN);
            traffic_queue(thread, slot);
        }
        if (events & (WSASEC_POLL_IN | WSASEC_POLL_FAILED | WSASEC_POLL_GONE))
            receive(thread, slot);
    }
    if (traffic_sweeps(thread))
        for (uint32_t i = 0; i < thread->count; i++)
            traffic_queue(thread, i);
}

/* Whether echoes came, by any thread, and this one lacks some: then more may come. */
static int is_echoed(const struct traffic_thread *thread)
{
    const struct wsasec_traffic *run = thread->run;
    uint64_t echoes = 0;

    for (uint32_t i = 0; i < run->threads && !echoes; i++)
        echoes = wsasec_counted(&run->thread[i].counters.received_messages);
    return echoes && wsasec_counted(&thread->counters.received_messages) <
                         wsasec_counted(&thread->counters.sent_messages);
}

void traffic_datagrams(struct traffic_thread *thread)
{
    for (uint32_t i = 0; i < thread->count; i++)
        if (!thread->sockets[i].error) {
            traffic_queue(thread, i);
            traffic_watch(thread, i, WSASEC_POLL_IN);
        }
    while (traffic_goes_on(thread)) {
        const uint64_t end = traffic_phase_end(thread);
        const uint32_t due = thread->queued ? traffic_pace_due(thread, WSASEC_PACKETS) : 0;
        uint32_t slot;

        if (!thread->queued) {
            look(thread, end);
            continue;
        }
        if (!due) {
            look(thread, thread->pace < (double)end ? (uint64_t)thread->pace + 1 : end);
            continue;
        }
        slot = traffic_next(thread);
        if (slot != TRAFFIC_NOBODY)
            serve(thread, slot, due);
        look(thread, thread->now);
    }
    while (is_echoed(thread) && traffic_drains(thread))
        look(thread, thread->run->last);
}
