/* SPDX-License-Identifier: Apache-2.0 */
/* Without locks: two jobs may try at the same time, and the later one to end is the one that is remembered. */
#include "trial.h"

#include <string.h>

#include "errors.h"
#include "job.h"

enum {
    SMALLEST_TRIAL = 1000, /* sockets of a job that is worth a trial */
    LARGEST_SAMPLE = 384   /* about two milliseconds */
};

/* Nanoseconds a socket, 0 where it was never measured; and how many sockets a sample had. */
static _Atomic uint32_t costs[WSASEC_KIND_COUNT][WSASEC_METHOD_COUNT];
static _Atomic uint32_t samples[WSASEC_KIND_COUNT];

uint32_t wsasec_method_cost(unsigned kind, unsigned method)
{
    if (kind >= WSASEC_KIND_COUNT || method >= WSASEC_METHOD_COUNT)
        return 0;
    return atomic_load(&costs[kind][method]);
}

unsigned wsasec_method_best(unsigned kind)
{
    unsigned best = WSASEC_METHOD_PLAIN;

    for (unsigned method = best + 1; method < WSASEC_METHOD_COUNT; method++) {
        uint32_t cost = wsasec_method_cost(kind, method);

        if (cost && cost < wsasec_method_cost(kind, best))
            best = method;
    }
    return best;
}

int32_t wsasec_method_status(unsigned method, wsasec_status *status)
{
    const struct wsasec_request none = {0};
    struct wsasec_window *window;
    struct wsasec_ring *ring;
    wsasec_status own;

    if (!status)
        status = &own;
    memset(status, 0, sizeof *status);
    switch (method) {
    case WSASEC_METHOD_AUTO:
    case WSASEC_METHOD_PLAIN:
    case WSASEC_METHOD_THREADS:
        return 0;
    case WSASEC_METHOD_IO_URING:
        ring = wsasec_backend_ring_open(status);
        if (!ring)
            return status->code;
        wsasec_backend_ring_close(ring);
        return 0;
    case WSASEC_METHOD_OVERLAPPED:
        window = wsasec_window_open(&none, status);
        if (!window)
            return status->code;
        wsasec_window_close(window);
        return 0;
    default:
        return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_METHOD, 0);
    }
}

int wsasec_trial_has(const struct wsasec_trial *trial, unsigned method)
{
    for (unsigned i = 0; i < trial->count; i++)
        if (trial->methods[i] == method)
            return 1;
    return 0;
}

static void set_sample(struct wsasec_trial *trial, size_t sockets)
{
    trial->sample = sockets / ((size_t)trial->count * WSASEC_TRIAL_ROUNDS);
    if (trial->sample > LARGEST_SAMPLE)
        trial->sample = LARGEST_SAMPLE;
}

void wsasec_trial_without(struct wsasec_trial *trial, unsigned method)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < trial->count; i++)
        if (trial->methods[i] != method)
            trial->methods[kept++] = trial->methods[i];
    trial->count = kept;
    trial->running = trial->running && kept > 1;
}

static void do_nothing(void *context, unsigned number)
{
    (void)context;
    (void)number;
}

/* The least of a few: the first threads of a process take longer. */
static uint64_t start_of_threads(unsigned count)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 3; i++) {
        const uint64_t begin = wsasec_backend_clock();
        uint64_t taken;

        wsasec_backend_parallel(count, do_nothing, NULL);
        taken = wsasec_backend_clock() - begin;
        least = taken < least ? taken : least;
    }
    return least;
}

unsigned wsasec_trial_begin(struct wsasec_trial *trial, const struct wsasec_job *job)
{
    unsigned best;

    trial->chosen = 1;
    /* Sockets that are not secured are there to compare with: they are made in the simplest way. */
    if (job->count < WSASEC_SMALLEST_CHOICE || (job->spec && job->spec->flags & WSASEC_BATCH_PLAIN))
        return WSASEC_METHOD_PLAIN;
    /* A broker takes them in groups whatever the method is. */
    if (wsasec_backend_lacks_privilege())
        return WSASEC_METHOD_PLAIN;
    trial->kind = job->spec ? WSASEC_KIND_CREATE : WSASEC_KIND_SECURE;
    trial->methods[trial->count++] = WSASEC_METHOD_PLAIN;
    trial->methods[trial->count++] = WSASEC_METHOD_IO_URING;
    if (job->lane_count > 1)
        trial->methods[trial->count++] = WSASEC_METHOD_THREADS;
    set_sample(trial, job->count);
    /* What was measured on samples of half the size, or less, says too much of how a method starts. */
    if (job->count >= SMALLEST_TRIAL && trial->sample >= 2 * (size_t)atomic_load(&samples[trial->kind])) {
        trial->running = 1;
        if (job->lane_count > 1)
            trial->start = start_of_threads(job->lane_count);
        return WSASEC_METHOD_PLAIN;
    }
    trial->count = 0;
    best = wsasec_method_best(trial->kind);
    return best == WSASEC_METHOD_THREADS && job->lane_count == 1 ? WSASEC_METHOD_PLAIN : best;
}

/* The middle of the rounds that count; of an even number the lower one. */
static uint64_t median(uint64_t *ns)
{
    uint64_t *const counted = ns + 1;
    const unsigned count = WSASEC_TRIAL_ROUNDS - 1;

    for (unsigned i = 1; i < count; i++)
        for (unsigned j = i; j > 0 && counted[j] < counted[j - 1]; j--) {
            uint64_t higher = counted[j - 1];

            counted[j - 1] = counted[j];
            counted[j] = higher;
        }
    return counted[(count - 1) / 2];
}

/* Nanoseconds a socket, if the job were run by a method. Threads are started for a sample, and once for all the rest. */
static uint64_t cost_of(struct wsasec_trial *trial, unsigned index, const struct wsasec_job *job)
{
    const uint64_t ns = median(trial->ns[index]);

    if (trial->methods[index] != WSASEC_METHOD_THREADS)
        return ns / trial->sample;
    return (ns > trial->start ? ns - trial->start : 0) / trial->sample + trial->start / job->count;
}

static void decide(struct wsasec_trial *trial, struct wsasec_job *job)
{
    uint64_t lowest = UINT64_MAX;

    trial->running = 0;
    for (unsigned i = 0; i < trial->count; i++) {
        const unsigned method = trial->methods[i];
        const uint64_t cost = cost_of(trial, i, job);

        atomic_store(&costs[trial->kind][method], cost < UINT32_MAX ? (uint32_t)cost + !cost : UINT32_MAX);
        if (cost < lowest) {
            lowest = cost;
            job->method = method;
        }
    }
    atomic_store(&samples[trial->kind], (uint32_t)trial->sample);
}

void wsasec_trial_step(struct wsasec_trial *trial, struct wsasec_job *job, uint64_t end)
{
    const unsigned round = trial->step / trial->count;
    /* Another one begins each round. */
    const unsigned turn = (trial->step + round) % trial->count;
    const size_t from = job->next;
    const size_t failed = job->failed;
    const uint64_t begin = wsasec_backend_clock();

    if (!trial->left && trial->sample > job->count - from) {
        trial->running = 0;
        return;
    }
    if (!trial->left)
        trial->left = trial->sample;
    wsasec_job_stretch(job, trial->methods[turn], from + trial->left, end);
    trial->ns[turn][round] += wsasec_backend_clock() - begin;
    /* What fails takes another time: nothing can be learned from it. */
    if (job->failed != failed) {
        trial->running = 0;
        return;
    }
    trial->left -= job->next - from;
    if (!trial->left && ++trial->step == trial->count * WSASEC_TRIAL_ROUNDS)
        decide(trial, job);
}
