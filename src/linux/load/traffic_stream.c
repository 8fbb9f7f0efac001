/* SPDX-License-Identifier: Apache-2.0 */
/* Streams in bulk: each socket that has room gets one message in turn. */
#include "traffic.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
    SENDS_A_LOOK = 32, /* from one look at epoll to the next, while there is room to send */
    READS_A_TURN = 16
};

static const uint32_t interest = EPOLLIN | EPOLLOUT;

static uint64_t unacknowledged(const struct traffic_socket *sock)
{
    int bytes = 0;

    return ioctl(sock->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

void traffic_stream_measure(struct traffic_thread *thread)
{
    for (uint32_t i = 0; i < thread->count; i++) {
        struct traffic_socket *sock = &thread->sockets[i];

        if (!sock->error)
            sock->unacknowledged = unacknowledged(sock);
    }
}

/* What the kernel took counts only when it has arrived: buffers can hold more than a slow path moves in a run. */
void traffic_stream_measured(struct traffic_thread *thread)
{
    for (uint32_t i = 0; i < thread->count; i++) {
        struct traffic_socket *sock = &thread->sockets[i];
        const uint64_t left = sock->error == EBADF || sock->error == ENOTSOCK ? sock->bytes : unacknowledged(sock);

        sock->bytes += sock->unacknowledged;
        sock->bytes = sock->bytes > left ? sock->bytes - left : 0;
    }
}

static void serve(struct traffic_thread *thread, uint32_t slot)
{
    struct traffic_socket *sock = &thread->sockets[slot];
    const size_t length = thread->run->spec.message_bytes;
    const ssize_t sent = send(sock->fd, thread->run->message, length, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent > 0) {
        wsasec_count(&thread->counters.sent_bytes, (uint64_t)sent);
        wsasec_count(&thread->counters.sent_messages, 1);
        if (thread->measuring)
            sock->bytes += (uint64_t)sent;
        sock->backoff = 0;
        traffic_pace_spend(thread, (uint64_t)sent);
        if ((size_t)sent == length) /* else it is full: epoll tells when there is room */
            traffic_queue(thread, slot);
    } else if (errno == ENOBUFS || errno == ENOMEM || errno == EINTR) {
        traffic_hold_back(thread, slot);
    } else if (errno != EAGAIN) {
        traffic_fail(thread, slot, errno);
    }
}

static void throw_away(struct traffic_thread *thread, uint32_t slot)
{
    const int fd = thread->sockets[slot].fd;
    ssize_t received = TRAFFIC_TRASH;

    for (unsigned i = 0; i < READS_A_TURN && received == TRAFFIC_TRASH; i++) {
        received = recv(fd, thread->trash, TRAFFIC_TRASH, MSG_DONTWAIT | MSG_TRUNC);
        if (received > 0)
            wsasec_count(&thread->counters.received_bytes, (uint64_t)received);
    }
    if (received == TRAFFIC_TRASH)
        traffic_watch(thread, slot, interest);
    else if (received < 0 && errno != EAGAIN && errno != EINTR)
        traffic_fail(thread, slot, errno);
}

static void look(struct traffic_thread *thread, uint64_t until)
{
    const int found = traffic_wait(thread, until);

    for (int i = 0; i < found; i++) {
        const uint32_t slot = thread->events[i].data.u32;

        if (slot == TRAFFIC_NOBODY || thread->sockets[slot].error)
            continue;
        if (thread->events[i].events & EPOLLIN)
            throw_away(thread, slot);
        if (thread->events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
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
