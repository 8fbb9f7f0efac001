/* SPDX-License-Identifier: Apache-2.0 */
/* A stretch of a job in one thread: nothing is allocated for a socket. */
#include "lane.h"

#include "job.h"
#include "unasked.h"

/* Only ever towards the front: the failure of the lowest index is where the job stops. */
static void stop_behind(struct wsasec_job *job, size_t index)
{
    size_t limit = atomic_load(&job->limit);

    while (index + 1 < limit && !atomic_compare_exchange_weak(&job->limit, &limit, index + 1))
        continue;
}

void wsasec_lane_failed(struct wsasec_lane *lane, size_t index, const wsasec_status *status)
{
    /* Overlapped calls are not completed in order. */
    if (!lane->failed++ || index < lane->first.index) {
        lane->first.index = index;
        lane->first.status = *status;
    }
    if (lane->job->stop)
        stop_behind(lane->job, index);
}

static void create(struct wsasec_lane *lane, size_t from, size_t to)
{
    wsasec_status status;
    size_t i = from;

    while (i < to && i < atomic_load_explicit(&lane->job->limit, memory_order_relaxed)) {
        if (lane->readiness.lacking) {
            i = wsasec_lane_run_group(lane, i, to);
            continue;
        }
        wsasec_lane_note(lane, i, wsasec_create_one(lane, i, &status), &status);
        i++;
    }
}

void wsasec_lane_run(struct wsasec_lane *lane, size_t from, size_t to)
{
    const struct wsasec_job *job = lane->job;
    wsasec_status status;
    size_t i = from;

    if (job->spec) {
        create(lane, from, to);
        return;
    }
    while (i < to) {
        int32_t code;

        if (lane->readiness.lacking) {
            i = wsasec_lane_run_group(lane, i, to);
            continue;
        }
        code = wsasec_secure_one(&job->request, &lane->plan, &lane->readiness, job->sockets[i], &status);
        wsasec_lane_note(lane, i, code, &status);
        i++;
    }
}
