/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and responses. Without a rate, a socket sends its next request when it has the response. With one, each
 * socket has a schedule; the sockets are due in turn, at even distances. A request that could not be sent in time
 * is sent as soon as the one before it is answered, and its latency counts from when it was due.
 */
#include "traffic.h"

/* The n-th visit of the schedule. */
static uint64_t visit_time(const struct traffic_thread *thread, uint64_t visit)
{
    return (uint64_t)(thread->pace + (double)visit * thread->interval);
}

static uint64_t due(const struct traffic_thread *thread, uint32_t slot)
{
    return visit_time(thread, slot + thread->sockets[slot].sequence * thread->count);
}

static int is_measured(const struct traffic_thread *thread, uint64_t time)
{
    return time >= thread->run->warm && time < thread->run->end;
}

static void push(struct traffic_thread *thread, uint32_t slot)
{
    struct traffic_socket *sock = &thread->sockets[slot];
    const uint32_t length = thread->run->spec.message_bytes;

    while (sock->to_send) {
        const ptrdiff_t sent = wsasec_send(sock->fd, thread->run->message + (length - sock->to_send), sock->to_send);

        if (sent < 0) {
            /* Where memory was short, the sweep tries again. */
            if (wsasec_trouble_of((int)-sent) == WSASEC_TROUBLE_OTHER)
                traffic_fail(thread, slot, (int)-sent);
            else
                traffic_watch_again(thread, slot, WSASEC_POLL_OUT);
            return;
        }
        sock->to_send -= (uint32_t)sent;
        wsasec_count(&thread->counters.sent_bytes, (uint64_t)sent);
        if (!sock->to_send)
            wsasec_count(&thread->counters.sent_messages, 1);
    }
}

static void begin(struct traffic_thread *thread, uint32_t slot, uint64_t when)
{
    struct traffic_socket *sock = &thread->sockets[slot];

    sock->due = when;
    sock->sequence++;
    sock->busy = 1;
    sock->to_send = sock->to_receive = thread->run->spec.message_bytes;
    thread->outstanding++;
    push(thread, slot);
    if (!sock->error)
        traffic_watch_again(thread, slot, WSASEC_POLL_IN);
}

/* Begins what is due; the clock was looked at just before. */
static void begin_next(struct traffic_thread *thread, uint32_t slot)
{
    const uint64_t when = thread->interval > 0 ? due(thread, slot) : thread->now;

    if (when <= thread->now && thread->now < thread->run->end)
        begin(thread, slot, when);
}

static void complete(struct traffic_thread *thread, uint32_t slot)
{
    struct traffic_socket *sock = &thread->sockets[slot];

    thread->now = wsasec_backend_clock();
    sock->busy = 0;
    thread->outstanding--;
    wsasec_count(&thread->counters.received_messages, 1);
    if (is_measured(thread, thread->now)) {
        sock->messages++;
        sock->bytes += thread->run->spec.message_bytes;
    }
    if (is_measured(thread, sock->due))
        wsasec_histogram_record(&thread->latency, (thread->now - sock->due) / 1000);
}

/* Reads what is there of the response. */
static void pull(struct traffic_thread *thread, uint32_t slot)
{
    struct traffic_socket *sock = &thread->sockets[slot];

    while (sock->to_receive) {
        const size_t wanted = sock->to_receive < TRAFFIC_TRASH ? sock->to_receive : TRAFFIC_TRASH;
        const ptrdiff_t received = wsasec_throw_away(sock->fd, thread->trash, wanted);

        if (received <= 0) {
            traffic_no_more(thread, slot, received ? (int)-received : wsasec_own_errors.ended);
            return;
        }
        sock->to_receive -= (uint32_t)received;
        wsasec_count(&thread->counters.received_bytes, (uint64_t)received);
        if ((size_t)received < wanted) {
            traffic_watch_again(thread, slot, WSASEC_POLL_IN);
            return;
        }
    }
    if (sock->busy && !sock->to_send)
        complete(thread, slot);
}

static int why_gone(int32_t fd)
{
    const int error = wsasec_pending_error(fd);

    return error ? error : wsasec_own_errors.ended;
}

static void serve(struct traffic_thread *thread, uint32_t slot, uint32_t events)
{
    struct traffic_socket *sock = &thread->sockets[slot];
    const int was_busy = sock->busy;

    if (events & WSASEC_POLL_OUT)
        push(thread, slot);
    if (!sock->error && sock->busy)
        pull(thread, slot);
    if (sock->error)
        return;
    /* What the peer sent before it ended was still a response; another one will not come. */
    if (events & (WSASEC_POLL_FAILED | WSASEC_POLL_GONE | WSASEC_POLL_ENDED))
        traffic_fail(thread, slot, why_gone(sock->fd));
    else if (was_busy && !sock->busy)
        begin_next(thread, slot);
}

static void look(struct traffic_thread *thread, uint64_t until)
{
    const int found = traffic_wait(thread, until);

    for (int i = 0; i < found; i++) {
        const uint32_t slot = (uint32_t)thread->events[i].key;

        if (slot != TRAFFIC_NOBODY && !thread->sockets[slot].error)
            serve(thread, slot, thread->events[i].events);
    }
    if (traffic_sweeps(thread))
        for (uint32_t i = 0; i < thread->count; i++)
            if (thread->sockets[i].to_send && !thread->sockets[i].error)
                push(thread, i);
}

/*
 * Visits the sockets whose time has come, each once at the most: one that has missed several of its turns catches up
 * by itself. Returns when the next one comes.
 */
static uint64_t keep_schedule(struct traffic_thread *thread)
{
    const double passed = ((double)thread->now - thread->pace) / thread->interval;

    if (passed > (double)(thread->visits + thread->count))
        thread->visits = (uint64_t)passed - thread->count;
    while (visit_time(thread, thread->visits) <= thread->now) {
        const uint32_t slot = (uint32_t)(thread->visits++ % thread->count);

        if (!thread->sockets[slot].error && !thread->sockets[slot].busy)
            begin_next(thread, slot);
    }
    return visit_time(thread, thread->visits);
}

/* How many periods begin in a span of time that begins with one. */
static uint64_t periods(double span, double period)
{
    const uint64_t whole = span > 0 ? (uint64_t)(span / period) : 0;

    return (double)whole * period < span ? whole + 1 : whole;
}

/* How many requests of the measured time a socket has not begun. */
static uint64_t held_up(const struct traffic_thread *thread, uint32_t slot)
{
    const double period = thread->interval * thread->count;
    const double next = (double)due(thread, slot);

    return periods((double)thread->run->end - next, period) - periods((double)thread->run->warm - next, period);
}

static void settle(struct traffic_thread *thread)
{
    for (uint32_t i = 0; i < thread->count; i++) {
        const struct traffic_socket *sock = &thread->sockets[i];

        if (sock->busy && is_measured(thread, sock->due))
            thread->unanswered++;
        if (thread->interval > 0 && !sock->error && thread->now >= thread->run->end)
            thread->unsent += held_up(thread, i);
    }
}

void traffic_requests(struct traffic_thread *thread)
{
    for (uint32_t i = 0; i < thread->count; i++)
        if (!thread->sockets[i].error)
            traffic_watch(thread, i, WSASEC_POLL_IN | WSASEC_POLL_OUT | WSASEC_POLL_ENDED);
    if (thread->interval <= 0)
        for (uint32_t i = 0; i < thread->count && traffic_goes_on(thread); i++)
            if (!thread->sockets[i].error)
                begin(thread, i, thread->now);
    while (traffic_goes_on(thread)) {
        uint64_t until = traffic_phase_end(thread);

        if (thread->interval > 0) {
            const uint64_t next = keep_schedule(thread);

            until = next < until ? next : until;
        }
        look(thread, until);
    }
    while (thread->outstanding && traffic_drains(thread))
        look(thread, thread->run->last);
    settle(thread);
}
