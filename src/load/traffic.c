/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic: its threads, from their start together to their end, and what they counted. */
#include "traffic.h"

#include "../core/errors.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

static const uint64_t TIME_MAX = UINT64_C(1) << 60; /* 36 years: sums of a few do not overflow */

/* --- in a thread --- */

static void set_phase(struct traffic_thread *thread, uint32_t phase)
{
    atomic_store_explicit(&thread->counters.phase, phase, memory_order_relaxed);
}

static int is_stopped(const struct wsasec_traffic *run)
{
    return atomic_load_explicit(&run->stopped, memory_order_relaxed);
}

void traffic_fail(struct traffic_thread *thread, uint32_t slot, int error)
{
    struct traffic_socket *sock = &thread->sockets[slot];

    if (sock->error)
        return;
    sock->error = error;
    thread->live--;
    if (sock->busy)
        thread->outstanding--;
    wsasec_count(&thread->counters.failed, 1);
    wsasec_poll_remove(thread->poll, sock->fd);
}

int traffic_goes_on(struct traffic_thread *thread)
{
    thread->now = wsasec_backend_clock();
    if (is_stopped(thread->run) || !thread->live || thread->now >= thread->run->end)
        return 0;
    if (!thread->measuring && thread->now >= thread->run->warm) {
        thread->measuring = 1;
        thread->measured_from = thread->now;
        set_phase(thread, WSASEC_TRAFFIC_MEASURED);
        if (thread->run->spec.kind == WSASEC_TRAFFIC_STREAM)
            traffic_stream_measure(thread);
    }
    return 1;
}

/* The measured time is over, in the drain at the latest. */
static void end_measuring(struct traffic_thread *thread)
{
    if (!thread->measuring)
        return;
    thread->measuring = 0;
    thread->measured_to = thread->now;
    if (thread->run->spec.kind == WSASEC_TRAFFIC_STREAM)
        traffic_stream_measured(thread);
}

int traffic_drains(struct traffic_thread *thread)
{
    end_measuring(thread);
    set_phase(thread, WSASEC_TRAFFIC_DRAIN);
    thread->now = wsasec_backend_clock();
    return !is_stopped(thread->run) && thread->live && thread->now < thread->run->last;
}

uint64_t traffic_phase_end(const struct traffic_thread *thread)
{
    return thread->measuring ? thread->run->end : thread->run->warm;
}

int traffic_sweeps(struct traffic_thread *thread)
{
    if (thread->now < thread->sweep)
        return 0;
    thread->sweep = thread->now + TRAFFIC_SECOND;
    return 1;
}

/* What is no socket, or of another type, would only be found out by sending to it. */
static int usable(const struct wsasec_traffic *run, int32_t fd)
{
    const int wanted = run->spec.kind == WSASEC_TRAFFIC_DATAGRAMS ? WSASEC_TYPE_DGRAM : WSASEC_TYPE_STREAM;
    int type = WSASEC_TYPE_OTHER;
    const int error = wsasec_type_of_socket(fd, &type);

    if (error)
        return error;
    return type == wanted ? wsasec_unblock(fd) : wsasec_own_errors.wrong_type;
}

static void set_up(struct traffic_thread *thread)
{
    for (uint32_t i = 0; i < thread->count && !is_stopped(thread->run); i++) {
        int error = usable(thread->run, thread->sockets[i].fd);

        if (!error)
            error = wsasec_poll_add(thread->poll, thread->sockets[i].fd, i, WSASEC_POLL_EDGE);
        if (error) {
            thread->sockets[i].error = error;
            thread->live--;
            wsasec_count(&thread->counters.failed, 1);
        }
    }
}

/* All begin at the same time. */
static void wait_for_others(struct traffic_thread *thread)
{
    struct wsasec_traffic *run = thread->run;

    wsasec_gate_lock(run->gate);
    if (++run->ready == run->threads) {
        const uint64_t now = wsasec_backend_clock();

        run->warm = now + run->spec.warm_up;
        run->end = run->warm + run->spec.run;
        run->last = run->end + run->spec.drain;
        atomic_store_explicit(&run->begin, now, memory_order_release);
        wsasec_gate_call(run->gate);
    }
    while (!atomic_load_explicit(&run->begin, memory_order_relaxed) && !is_stopped(run))
        (void)wsasec_gate_wait(run->gate, UINT64_MAX);
    wsasec_gate_unlock(run->gate);
}

static void work(struct traffic_thread *thread)
{
    if (thread->run->spec.rate > 0)
        wsasec_poll_is_punctual(thread->poll);
    thread->sweep = wsasec_backend_clock() + TRAFFIC_SECOND;
    set_phase(thread, WSASEC_TRAFFIC_WARM_UP);
    traffic_pace_begin(thread);
    switch (thread->run->spec.kind) {
    case WSASEC_TRAFFIC_STREAM:
        traffic_stream(thread);
        break;
    case WSASEC_TRAFFIC_REQUESTS:
        traffic_requests(thread);
        break;
    default:
        traffic_datagrams(thread);
    }
    end_measuring(thread);
}

static void *thread_main(void *argument)
{
    struct traffic_thread *thread = argument;
    struct wsasec_traffic *run = thread->run;

    set_up(thread);
    wait_for_others(thread);
    if (atomic_load_explicit(&run->begin, memory_order_relaxed))
        work(thread);
    set_phase(thread, WSASEC_TRAFFIC_DONE);
    wsasec_gate_lock(run->gate);
    run->done++;
    wsasec_gate_call(run->gate);
    wsasec_gate_unlock(run->gate);
    return NULL;
}

/* --- outside --- */

static int is_time(uint64_t time)
{
    return time <= TIME_MAX;
}

/* Neither is a number that is none. */
static int is_rate(double rate)
{
    return rate == 0 || (rate >= WSASEC_TRAFFIC_RATE_MIN && rate <= WSASEC_TRAFFIC_RATE_MAX);
}

static int is_valid(const wsasec_traffic_spec *spec, size_t count)
{
    const uint32_t most =
        spec->kind == WSASEC_TRAFFIC_DATAGRAMS ? WSASEC_TRAFFIC_DATAGRAM_MAX : WSASEC_TRAFFIC_MESSAGE_MAX;

    return count && count <= INT32_MAX && spec->kind >= WSASEC_TRAFFIC_STREAM &&
           spec->kind <= WSASEC_TRAFFIC_DATAGRAMS && spec->threads && spec->threads <= WSASEC_TRAFFIC_THREADS_MAX &&
           spec->message_bytes && spec->message_bytes <= most && !spec->reserved && is_time(spec->warm_up) &&
           is_time(spec->run) && is_time(spec->drain) && is_rate(spec->rate);
}

/* Frees what it has; there are no threads any more, or none in this process. */
static void release(struct wsasec_traffic *run)
{
    for (uint32_t i = 0; run->thread && i < run->threads; i++) {
        struct traffic_thread *thread = &run->thread[i];

        free(thread->sockets);
        free(thread->ring);
        free(thread->trash);
        wsasec_packets_free(thread->packets);
    }
    wsasec_polls_close(run->polls);
    free(run->thread);
    wsasec_aligned_free(run->message);
}

static int make_thread(struct wsasec_traffic *run, struct traffic_thread *thread, const int32_t *sockets)
{
    thread->count = thread->live = (uint32_t)((run->count - thread->number + run->threads - 1) / run->threads);
    thread->sockets = calloc(thread->count, sizeof *thread->sockets);
    thread->ring = malloc(thread->count * sizeof *thread->ring);
    thread->trash = malloc(TRAFFIC_TRASH);
    if (run->spec.kind == WSASEC_TRAFFIC_DATAGRAMS)
        thread->packets = wsasec_packets_new(run->message, run->spec.message_bytes);
    if (!thread->sockets || !thread->ring || !thread->trash ||
        (run->spec.kind == WSASEC_TRAFFIC_DATAGRAMS && !thread->packets))
        return wsasec_own_errors.no_memory;
    for (uint32_t i = 0; i < thread->count; i++)
        thread->sockets[i].fd = sockets[thread->number + (size_t)i * run->threads];
    for (unsigned i = 0; i < TRAFFIC_BACKOFFS; i++)
        thread->held[i].first = TRAFFIC_NOBODY;
    wsasec_histogram_clear(&thread->latency);
    thread->poll = wsasec_polls_at(run->polls, thread->number);
    return 0;
}

static int make(struct wsasec_traffic *run, const int32_t *sockets)
{
    int error;

    run->polls = wsasec_polls_open(run->threads, 1, &error);
    if (!run->polls)
        return error;
    run->message = wsasec_aligned_new(PAGE, ((size_t)run->spec.message_bytes + PAGE - 1) & ~(size_t)(PAGE - 1));
    run->thread = calloc(run->threads, sizeof *run->thread);
    if (!run->message || !run->thread)
        return wsasec_own_errors.no_memory;
    for (uint32_t i = 0; i < run->spec.message_bytes; i++)
        run->message[i] = (uint8_t)('!' + i % 94);
    for (uint32_t i = 0; i < run->threads; i++) {
        run->thread[i].run = run;
        run->thread[i].number = i;
        error = make_thread(run, &run->thread[i], sockets);
        if (error)
            return error;
    }
    return 0;
}

static int start_threads(struct wsasec_traffic *run)
{
    int error = 0;

    while (!error && run->started < run->threads) {
        error = wsasec_thread_run(&run->thread[run->started].id, thread_main, &run->thread[run->started]);
        if (!error)
            run->started++;
    }
    return error;
}

static void stop(struct wsasec_traffic *run)
{
    wsasec_gate_lock(run->gate);
    atomic_store_explicit(&run->stopped, 1, memory_order_relaxed);
    wsasec_gate_call(run->gate);
    wsasec_gate_unlock(run->gate);
    /* If that could fail, the threads would still look at the flag within a second. */
    wsasec_polls_wake(run->polls);
    for (uint32_t i = 0; i < run->started; i++)
        wsasec_thread_join(&run->thread[i].id);
}

wsasec_traffic *wsasec_traffic_start(const int32_t *sockets, size_t count, const wsasec_traffic_spec *spec,
                                     wsasec_status *status)
{
    struct wsasec_traffic *run;
    int error;

    if (!is_valid(spec, count)) {
        wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_SPECIFICATION, 0);
        return NULL;
    }
    run = calloc(1, sizeof *run);
    if (!run) {
        wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    run->spec = *spec;
    run->count = count;
    run->threads = spec->threads < count ? spec->threads : (uint32_t)count;
    run->owner = wsasec_process();
    run->gate = wsasec_gate_new();
    error = run->gate ? make(run, sockets) : wsasec_own_errors.no_memory;
    if (error) {
        release(run);
        wsasec_gate_free(run->gate);
        free(run);
        wsasec_backend_fail(WSASEC_STEP_NONE, error, status);
        return NULL;
    }
    error = start_threads(run);
    if (error) {
        wsasec_traffic_end(run);
        wsasec_backend_fail(WSASEC_STEP_NONE, error, status);
        return NULL;
    }
    return run;
}

int wsasec_traffic_wait(wsasec_traffic *traffic, uint64_t nanoseconds)
{
    const uint64_t until = wsasec_after(wsasec_backend_clock(), nanoseconds);
    int is_late = 0;
    int done;

    if (traffic->owner != wsasec_process())
        return -1;
    wsasec_gate_lock(traffic->gate);
    while (traffic->done < traffic->threads && !is_late)
        is_late = wsasec_gate_wait(traffic->gate, until);
    done = traffic->done == traffic->threads;
    wsasec_gate_unlock(traffic->gate);
    return done;
}

void wsasec_traffic_look(const wsasec_traffic *traffic, wsasec_traffic_counts *counts)
{
    const uint64_t begin = atomic_load_explicit(&traffic->begin, memory_order_acquire);

    memset(counts, 0, sizeof *counts);
    counts->elapsed = begin ? wsasec_backend_clock() - begin : 0;
    counts->phase = WSASEC_TRAFFIC_DONE;
    for (uint32_t i = 0; i < traffic->threads; i++) {
        const struct traffic_counters *from = &traffic->thread[i].counters;
        const uint32_t phase = atomic_load_explicit(&from->phase, memory_order_relaxed);

        counts->sent_bytes += wsasec_counted(&from->sent_bytes);
        counts->received_bytes += wsasec_counted(&from->received_bytes);
        counts->sent_messages += wsasec_counted(&from->sent_messages);
        counts->received_messages += wsasec_counted(&from->received_messages);
        counts->without_sa += wsasec_counted(&from->without_sa);
        counts->stale += wsasec_counted(&from->stale);
        counts->failed += (uint32_t)wsasec_counted(&from->failed);
        if (phase < counts->phase)
            counts->phase = phase;
    }
    counts->open = (uint32_t)traffic->count - counts->failed;
}

void wsasec_traffic_results(const wsasec_traffic *traffic, wsasec_traffic_result *result,
                            wsasec_traffic_socket *sockets, wsasec_histogram *latency)
{
    uint64_t from = UINT64_MAX;
    uint64_t to = 0;

    memset(result, 0, sizeof *result);
    for (uint32_t i = 0; i < traffic->threads; i++) {
        const struct traffic_thread *thread = &traffic->thread[i];

        if (thread->measured_to) {
            from = thread->measured_from < from ? thread->measured_from : from;
            to = thread->measured_to > to ? thread->measured_to : to;
        }
        result->unanswered += thread->unanswered;
        result->unsent += thread->unsent;
        if (latency)
            wsasec_histogram_add(latency, &thread->latency);
        for (uint32_t j = 0; j < thread->count; j++) {
            const struct traffic_socket *sock = &thread->sockets[j];
            const int begun = sock->busy && sock->to_send < traffic->spec.message_bytes;

            result->bytes += sock->bytes;
            result->messages += sock->messages;
            if (sockets)
                sockets[i + (size_t)j * traffic->threads] =
                    (wsasec_traffic_socket){sock->bytes, sock->messages, sock->error, begun && !sock->error};
        }
    }
    result->measured = to > from ? to - from : 0;
}

void wsasec_traffic_end(wsasec_traffic *traffic)
{
    if (!traffic)
        return;
    /* In a child the gate may be waited at by threads that are not there. */
    if (traffic->owner == wsasec_process()) {
        stop(traffic);
        wsasec_gate_free(traffic->gate);
    }
    release(traffic);
    free(traffic);
}
