/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: the settings are read once, nothing is allocated for a socket, and the clock is looked at now and then. */
#include "job.h"

#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "settings.h"

enum { SOCKETS_A_LOOK = 64 }; /* from one look at the clock to the next: well under a millisecond */
/* Where those take less than a moment there are twice as many the next time: the looks would be much of it all. */
enum { MOST_A_LOOK = 1024 };
static const uint64_t MOMENT = UINT64_C(50000);

static unsigned lanes_for(size_t count, unsigned method, unsigned threads)
{
    unsigned processors;

    if (method != WSASEC_METHOD_THREADS && (method != WSASEC_METHOD_AUTO || count < WSASEC_SMALLEST_CHOICE))
        return 1;
    processors = wsasec_backend_processors();
    if (processors == 1 && method == WSASEC_METHOD_AUTO)
        return 1;
    if (!threads)
        threads = processors;
    if (threads > WSASEC_THREADS_MAX)
        threads = WSASEC_THREADS_MAX;
    /* More would find nothing to do. */
    if (count < (size_t)threads * SOCKETS_A_LOOK)
        threads = (unsigned)((count + SOCKETS_A_LOOK - 1) / SOCKETS_A_LOOK);
    return threads ? threads : 1;
}

static wsasec_job *make(const void *settings, uint32_t settings_len, int32_t *codes, size_t count, unsigned method,
                        unsigned threads, wsasec_status *status)
{
    const unsigned lanes = lanes_for(count, method, threads);
    wsasec_job *job;

    if (method >= WSASEC_METHOD_COUNT) {
        wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_METHOD, 0);
        return NULL;
    }
    job = calloc(1, sizeof *job + lanes * sizeof job->lanes[0]);
    if (!job) {
        wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    job->codes = codes;
    job->count = count;
    atomic_init(&job->limit, count);
    job->first.index = SIZE_MAX;
    wsasec_settings_read(settings, settings_len, &job->request);
    job->lane_count = lanes;
    for (unsigned i = 0; i < lanes; i++) {
        job->lanes[i].job = job;
        wsasec_backend_plan(&job->request, &job->lanes[i].plan);
    }
    return job;
}

static void drop(wsasec_job *job)
{
    wsasec_backend_ring_close(job->ring);
    wsasec_window_close(job->window);
    free(job);
}

/* Settles how the job is run; what it takes is opened now, so that it is told now where it is not to be had. */
static wsasec_job *equip(wsasec_job *job, unsigned method, wsasec_status *status)
{
    wsasec_status own;
    int takes_ring;

    if (method == WSASEC_METHOD_AUTO)
        method = wsasec_trial_begin(&job->trial, job);
    takes_ring = method == WSASEC_METHOD_IO_URING || wsasec_trial_has(&job->trial, WSASEC_METHOD_IO_URING);
    job->method = method;
    if (method == WSASEC_METHOD_OVERLAPPED) {
        if (job->spec)
            wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_METHOD, 0);
        else
            job->window = wsasec_window_open(&job->request, status);
        if (job->window)
            return job;
        drop(job);
        return NULL;
    }
    if (!takes_ring)
        return job;
    job->ring = wsasec_backend_ring_open(&own);
    if (job->ring)
        return job;
    if (job->trial.chosen) { /* a job that may choose takes another */
        job->method = WSASEC_METHOD_PLAIN;
        wsasec_trial_without(&job->trial, WSASEC_METHOD_IO_URING);
        return job;
    }
    if (status)
        *status = own;
    drop(job);
    return NULL;
}

wsasec_job *wsasec_job_secure(const int32_t *sockets, size_t count, const void *settings, uint32_t settings_len,
                              int32_t *codes, unsigned method, unsigned threads, wsasec_status *status)
{
    wsasec_job *job = make(settings, settings_len, codes, count, method, threads, status);

    if (!job)
        return NULL;
    job->sockets = sockets;
    for (size_t i = 0; codes && i < count; i++)
        codes[i] = WSASEC_NOT_TRIED;
    return equip(job, method, status);
}

/* What the contract says of sockets and settings, where it can be said before there is a socket. */
static int32_t check(const wsasec_job *job, wsasec_status *status)
{
    const struct wsasec_request *request = &job->request;

    if (job->spec->reserved || job->spec->send_buffer < 0 || job->spec->receive_buffer < 0 ||
        job->spec->flags & ~(WSASEC_BATCH_PLAIN | WSASEC_BATCH_NODELAY) ||
        (job->spec->source_count && (!job->spec->sources || !job->spec->source_size)))
        return wsasec_fail(status, WSASEC_STEP_CREATE, WSASEC_REASON_SPECIFICATION, 0);
    if (job->spec->flags & WSASEC_BATCH_PLAIN)
        return 0;
    if (request->buffer_reason)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, request->buffer_reason, 0);
    if (request->member_reason)
        return wsasec_fail(status, WSASEC_STEP_SETTINGS, request->member_reason, 0);
    return 0;
}

/* What is so on every system; the sizes of sockaddrs are too. */
static int32_t check_kind(const wsasec_batch_spec *spec, wsasec_status *status)
{
    enum { SOCKADDR_IN = 16, SOCKADDR_IN6 = 28 };
    struct wsasec_facts facts = {0};
    int32_t code;

    wsasec_backend_kind(spec, &facts);
    code = wsasec_check_kind(&facts, status);
    if (code)
        return code;
    if ((spec->source_count &&
         spec->source_size != (facts.family == WSASEC_FAMILY_INET6 ? SOCKADDR_IN6 : SOCKADDR_IN)) ||
        (spec->flags & WSASEC_BATCH_NODELAY && facts.type != WSASEC_TYPE_STREAM))
        return wsasec_fail(status, WSASEC_STEP_CREATE, WSASEC_REASON_SPECIFICATION, 0);
    return 0;
}

wsasec_job *wsasec_job_create(int32_t *sockets, size_t count, const wsasec_batch_spec *spec, int32_t *codes,
                              int stop, unsigned method, unsigned threads, wsasec_status *status)
{
    wsasec_job *job = make(spec->settings, spec->settings_len, codes, count, method, threads, status);

    if (!job)
        return NULL;
    job->spec = spec;
    job->sockets = job->made = sockets;
    job->stop = stop;
    if (check(job, status) || check_kind(spec, status)) {
        drop(job);
        return NULL;
    }
    memset(sockets, 0xff, count * sizeof *sockets);
    if (codes)
        memset(codes, 0, count * sizeof *codes);
    return equip(job, method, status);
}

static size_t end_of(const wsasec_job *job, size_t to)
{
    size_t limit = atomic_load_explicit(&job->limit, memory_order_relaxed);

    return to < limit ? to : limit;
}

static void run_plain(wsasec_job *job, size_t to, uint64_t end)
{
    const size_t least = job->lanes[0].readiness.lacking ? WSASEC_BROKERED : SOCKETS_A_LOOK;
    size_t count = least;
    uint64_t now = wsasec_backend_clock();

    while (job->next < end_of(job, to)) {
        const uint64_t before = now;
        size_t next = to - job->next < count ? to : job->next + count;

        wsasec_lane_run(&job->lanes[0], job->next, next);
        job->next = next;
        now = wsasec_backend_clock();
        if (now >= end)
            break;
        count = now - before > MOMENT ? least : count < MOST_A_LOOK ? 2 * count : count;
    }
}

static void run_ring(wsasec_job *job, size_t to, uint64_t end)
{
    while (job->next < end_of(job, to)) {
        job->next = wsasec_lane_run_group(&job->lanes[0], job->next, to);
        if (wsasec_backend_clock() >= end)
            break;
    }
}

struct stretch {
    wsasec_job *job;
    _Atomic size_t next;
    size_t to;
    uint64_t end;
};

/* What a thread has taken it does, so that all before the next is done when all threads have returned. */
static void run_lane(void *context, unsigned number)
{
    struct stretch *stretch = context;

    do {
        size_t from = atomic_fetch_add(&stretch->next, SOCKETS_A_LOOK);
        size_t to = end_of(stretch->job, stretch->to);

        if (from >= to)
            return;
        wsasec_lane_run(&stretch->job->lanes[number], from, to - from < SOCKETS_A_LOOK ? to : from + SOCKETS_A_LOOK);
    } while (wsasec_backend_clock() < stretch->end);
}

static void run_threads(wsasec_job *job, size_t to, uint64_t end)
{
    struct stretch stretch = {.job = job, .to = to, .end = end};
    size_t next;

    atomic_init(&stretch.next, job->next);
    wsasec_backend_parallel(job->lane_count, run_lane, &stretch);
    next = atomic_load(&stretch.next);
    job->next = next < to ? next : to;
}

/* What comes behind the failure that stops a job has not been tried, whatever other threads were at. */
static void take_back(wsasec_job *job)
{
    size_t limit = atomic_load(&job->limit);

    if (job->next <= limit)
        return;
    for (size_t i = limit; i < job->next; i++)
        job->taken_back += job->made[i] >= 0;
    wsasec_close_many(job->made + limit, job->next - limit);
    if (job->codes)
        memset(job->codes + limit, 0, (job->next - limit) * sizeof *job->codes);
    job->next = limit;
}

static void merge(wsasec_job *job, struct wsasec_lane *lane)
{
    if (!lane->failed)
        return;
    job->failed = job->stop ? 1 : job->failed + lane->failed;
    if (lane->first.index < job->first.index)
        job->first = lane->first;
    lane->failed = 0;
}

static void merge_all(wsasec_job *job)
{
    for (unsigned i = 0; i < job->lane_count; i++)
        merge(job, &job->lanes[i]);
}

void wsasec_job_stretch(wsasec_job *job, unsigned method, size_t to, uint64_t end)
{
    switch (method) {
    case WSASEC_METHOD_IO_URING:
        run_ring(job, to, end);
        break;
    case WSASEC_METHOD_THREADS:
        run_threads(job, to, end);
        break;
    case WSASEC_METHOD_OVERLAPPED:
        wsasec_window_run(job->window, job, end);
        break;
    default:
        run_plain(job, to, end);
        break;
    }
    take_back(job);
    merge_all(job);
}

static int is_done(const wsasec_job *job)
{
    return job->next >= atomic_load(&job->limit) && !wsasec_window_under_way(job->window);
}

/* Where privilege is needed at all. */
static uint8_t lacks_privilege(const wsasec_job *job)
{
    return !job->request.skip && !(job->spec && job->spec->flags & WSASEC_BATCH_PLAIN) &&
           wsasec_backend_lacks_privilege();
}

int wsasec_job_run(wsasec_job *job, uint64_t nanoseconds)
{
    const uint64_t end = wsasec_after(wsasec_backend_clock(), nanoseconds);
    const uint8_t lacking = lacks_privilege(job);

    /* Between two slices any time may pass: the thread may have moved to another realm, and what is in force changed. */
    for (unsigned i = 0; i < job->lane_count; i++) {
        job->lanes[i].realm = 0;
        job->lanes[i].readiness.left = 0;
        job->lanes[i].readiness.alone = 0;
        job->lanes[i].readiness.lacking = lacking;
    }
    while (!is_done(job)) {
        if (job->trial.running)
            wsasec_trial_step(&job->trial, job, end);
        else
            wsasec_job_stretch(job, job->method, job->count, end);
        if (wsasec_backend_clock() >= end)
            break;
    }
    return is_done(job);
}

void wsasec_job_time_out(wsasec_job *job)
{
    wsasec_status status;

    if (job->window)
        wsasec_window_give_up(job->window, job);
    for (; job->next < job->count; job->next++)
        wsasec_lane_note(&job->lanes[0], job->next,
                         wsasec_fail(&status, WSASEC_STEP_NONE, WSASEC_REASON_TIMED_OUT, 0), &status);
    merge_all(job);
}

size_t wsasec_job_done(const wsasec_job *job)
{
    return job->next - wsasec_window_under_way(job->window);
}

size_t wsasec_job_made(const wsasec_job *job)
{
    return job->next - job->failed + job->taken_back;
}

size_t wsasec_job_end(wsasec_job *job, wsasec_status *first)
{
    size_t failed;

    if (first)
        memset(first, 0, sizeof *first);
    if (!job)
        return 0;
    if (wsasec_window_under_way(job->window)) {
        wsasec_window_give_up(job->window, job);
        merge_all(job);
    }
    failed = job->failed;
    if (first && failed)
        *first = job->first.status;
    drop(job);
    return failed;
}
