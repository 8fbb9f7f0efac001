/* SPDX-License-Identifier: Apache-2.0 */
/* Streams in bulk: each socket that has room gets one message in turn. */
#include "traffic.h"

enum {
    SENDS_A_LOOK = 32, /* from one look at what is told to the next, while there is room to send */
    READS_A_TURN = 16
};

static const uint32_t interest = WSASEC_POLL_IN | WSASEC_POLL_OUT;

void traffic_stream_measure(struct traffic_thread *thread)
{
    for (uint32_t i = 0; i < thread->count; i++) {
        struct traffic_socket *sock = &thread->sockets[i];

        if (!sock->error)
            sock->unacknowledged = wsasec_unacknowledged(sock->fd);
    }
}

/* What the kernel took counts only when it has arrived: buffers can hold more than a slow path moves in a run. */
void traffic_stream_measured(struct traffic_thread *thread)
{
    for (uint32_t i = 0; i < thread->count; i++) {
        struct traffic_socket *sock = &thread->sockets[i];
        const uint64_t left = wsasec_is_no_socket(sock->error) ? sock->bytes : wsasec_unacknowledged(sock->fd);

        sock->bytes += sock->unacknowledged;
        sock->bytes = sock->bytes > left ? sock->bytes - left : 0;
    }
}

static void serve(struct traffic_thread *thread, uint32_t slot)
{
    struct traffic_socket *sock = &thread->sockets[slot];
    const size_t length = thread->run->spec.message_bytes;
    const ptrdiff_t sent = wsasec_send(sock->fd, thread->run->message, length);

    if (sent > 0) {
        wsasec_count(&thread->counters.sent_bytes, (uint64_t)sent);
        wsasec_count(&thread->counters.sent_messages, 1);
        if (thread->measuring)
            sock->bytes += (uint64_t)sent;
        sock->backoff = 0;
        traffic_pace_spend(thread, (uint64_t)sent);
        if ((size_t)sent == length)
            traffic_queue(thread, slot);
        else
            traffic_watch_again(thread, slot, WSASEC_POLL_OUT);
        return;
    }
    switch (wsasec_trouble_of((int)-sent)) {
    case WSASEC_TROUBLE_WOULD_BLOCK:
        traffic_watch_again(thread, slot, WSASEC_POLL_OUT);
        break;
    case WSASEC_TROUBLE_OTHER:
        traffic_fail(thread, slot, (int)-sent);
        break;
    default:
        traffic_hold_back(thread, slot);
    }
}

static void throw_away(struct traffic_thread *thread, uint32_t slot)
{
    const int32_t fd = thread->sockets[slot].fd;
    ptrdiff_t received = TRAFFIC_TRASH;

    for (unsigned i = 0; i < READS_A_TURN && received == TRAFFIC_TRASH; i++) {
        received = wsasec_throw_away(fd, thread->trash, TRAFFIC_TRASH);
        if (received > 0)
            wsasec_count(&thread->counters.received_bytes, (uint64_t)received);
    }
    if (received == TRAFFIC_TRASH)
        traffic_watch(thread, slot, interest);
    else if (received < 0)
        traffic_no_more(thread, slot, (int)-received);
    else if (received) /* else the peer has ended, but may still take what is sent */
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
        if (events & WSASEC_POLL_IN)
            throw_away(thread, slot);
        if (events & (WSASEC_POLL_OUT | WSASEC_POLL_FAILED | WSASEC_POLL_GONE))
            traffic_queue(thread, slot);
    }
    if (traffic_sweeps(thread))
        for (uint32_t i = 0; i < thread->count; i++)
            traffic_queue(thread, i);
}

void traffic_stream(struct traffic_thread *thread)
{
    unsigned sends = 0;

    for (uint32_t i = 0; i < thread->count; i++)
        if (!thread->sockets[i].error) {
            traffic_queue(thread, i);
            traffic_watch(thread, i, interest);
        }
    while (traffic_goes_on(thread)) {
        const uint64_t end = traffic_phase_end(thread);

        if (!thread->queued) {
            look(thread, end);
        } else if (!traffic_pace_due(thread, 1)) {
            look(thread, thread->pace < (double)end ? (uint64_t)thread->pace + 1 : end);
        } else if (sends++ % SENDS_A_LOOK == 0) {
            look(thread, thread->now);
        } else {
            const uint32_t slot = traffic_next(thread);

            if (slot != TRAFFIC_NOBODY)
                serve(thread, slot);
        }
    }
}
