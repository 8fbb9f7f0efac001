/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams, many with one system call. Each of 16 bytes or more begins with its number on its socket, from 0, and
 * the time at which it was made (CLOCK_MONOTONIC, nanoseconds), both 8 bytes, the highest first.
 */
#define _GNU_SOURCE /* sendmmsg */
#include "room.h"
#include "traffic.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
    AT_ONCE = 64,
    READS_A_TURN = 16,
    ALONE = 2, /* datagrams sent one by one, where an error may have been lost */
    HEADER = 16
};

struct header {
    uint64_t number;
    uint64_t made;
};

struct packets {
    struct header header[AT_ONCE];
    struct iovec part[AT_ONCE][2];
    struct mmsghdr message[AT_ONCE];
};

struct echoes {
    struct header header[AT_ONCE];
    struct iovec part[AT_ONCE];
    struct mmsghdr message[AT_ONCE];
};

static void prepare(const struct traffic_thread *thread, struct packets *packets, struct echoes *echoes)
{
    const size_t length = thread->run->spec.message_bytes;
    const size_t numbered = length >= HEADER ? HEADER : 0;

    memset(packets, 0, sizeof *packets);
    memset(echoes, 0, sizeof *echoes);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        packets->part[i][0] = (struct iovec){&packets->header[i], numbered};
        packets->part[i][1] = (struct iovec){thread->run->message, length - numbered};
        packets->message[i].msg_hdr.msg_iov = packets->part[i];
        packets->message[i].msg_hdr.msg_iovlen = 2;
        echoes->part[i] = (struct iovec){&echoes->header[i], HEADER};
        echoes->message[i].msg_hdr.msg_iov = &echoes->part[i];
        echoes->message[i].msg_hdr.msg_iovlen = 1;
    }
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
 * EAGAIN means that the socket's buffer is full, of which epoll tells the end, or that there is no security
 * association, of which nobody tells. With room in the buffer before the attempt, it was not the buffer.
 */
static void serve(struct traffic_thread *thread, uint32_t slot, struct packets *packets, uint32_t count)
{
    struct traffic_socket *sock = &thread->sockets[slot];
    int had_room = 0;

    if (sock->alone) {
        sock->alone--;
        count = 1;
    }
    for (uint32_t i = 0; i < count; i++)
        packets->header[i] = (struct header){htobe64(sock->sequence + i), htobe64(thread->now)};
    for (;;) {
        const int done = sendmmsg(sock->fd, packets->message, count, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (done > 0) {
            sent(thread, sock, (unsigned)done);
            /* The error that ended it early is not told, and forgotten: as a port unreachable would be for ever. */
            if ((unsigned)done < count)
                sock->alone = ALONE;
            traffic_queue(thread, slot);
            return;
        }
        if (errno == ENOBUFS || errno == ENOMEM || errno == EINTR) {
            traffic_hold_back(thread, slot);
            return;
        }
        if (errno != EAGAIN) {
            traffic_fail(thread, slot, errno);
            return;
        }
        if (had_room) {
            wsasec_count(&thread->counters.without_sa, 1);
            traffic_hold_back(thread, slot);
            return;
        }
        if (!wsasec_has_room(sock->fd, 0)) {
            traffic_watch(thread, slot, EPOLLIN | EPOLLOUT);
            return;
        }
        had_room = 1;
        count = 1;
    }
}

static void count_echo(struct traffic_thread *thread, const struct traffic_socket *sock, const struct header *header,
                       size_t length)
{
    const struct wsasec_traffic *run = thread->run;
    const uint64_t made = be64toh(header->made);
    const uint64_t begin = atomic_load_explicit(&run->begin, memory_order_relaxed);

    if (length != run->spec.message_bytes ||
        (length >= HEADER && (made < begin || made > thread->now || be64toh(header->number) >= sock->sequence))) {
        wsasec_count(&thread->counters.stale, 1);
        return;
    }
    wsasec_count(&thread->counters.received_messages, 1);
    wsasec_count(&thread->counters.received_bytes, length);
    if (length >= HEADER && made >= run->warm && made < run->end)
        wsasec_histogram_record(&thread->latency, (thread->now - made) / 1000);
}

static void receive(struct traffic_thread *thread, uint32_t slot, struct echoes *echoes)
{
    const struct traffic_socket *sock = &thread->sockets[slot];
    int done = AT_ONCE;

    for (unsigned i = 0; i < READS_A_TURN && done == AT_ONCE; i++) {
        done = recvmmsg(sock->fd, echoes->message, AT_ONCE, MSG_DONTWAIT | MSG_TRUNC, NULL);
        thread->now = wsasec_backend_clock();
        for (int j = 0; j < done; j++)
            count_echo(thread, sock, &echoes->header[j], echoes->message[j].msg_len);
    }
    if (done == AT_ONCE)
        traffic_watch(thread, slot, EPOLLIN);
    else if (done < 0 && errno != EAGAIN && errno != EINTR)
        traffic_fail(thread, slot, errno);
}

static void look(struct traffic_thread *thread, uint64_t until, struct echoes *echoes)
{
    const int found = traffic_wait(thread, until);

    for (int i = 0; i < found; i++) {
        const uint32_t slot = thread->events[i].data.u32;
        const uint32_t events = thread->events[i].events;

        if (slot == TRAFFIC_NOBODY || thread->sockets[slot].error)
            continue;
        if (events & EPOLLOUT) {
            traffic_watch(thread, slot, EPOLLIN);
            traffic_queue(thread, slot);
        }
        if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            receive(thread, slot, echoes);
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
    struct packets packets;
    struct echoes echoes;

    prepare(thread, &packets, &echoes);
    for (uint32_t i = 0; i < thread->count; i++)
        if (!thread->sockets[i].error) {
            traffic_queue(thread, i);
            traffic_watch(thread, i, EPOLLIN);
        }
    while (traffic_goes_on(thread)) {
        const uint64_t end = traffic_phase_end(thread);
        const uint32_t due = thread->queued ? traffic_pace_due(thread, AT_ONCE) : 0;
        uint32_t slot;

        if (!thread->queued) {
            look(thread, end, &echoes);
            continue;
        }
        if (!due) {
            look(thread, thread->pace < (double)end ? (uint64_t)thread->pace + 1 : end, &echoes);
            continue;
        }
        slot = traffic_next(thread);
        if (slot != TRAFFIC_NOBODY)
            serve(thread, slot, &packets, due);
        look(thread, thread->now, &echoes);
    }
    while (is_echoed(thread) && traffic_drains(thread))
        look(thread, thread->run->last, &echoes);
}
