/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_JOB_H
#define WSASEC_CORE_JOB_H

#include <stdatomic.h>

#include "flight.h"
#include "lane.h"
#include "trial.h"

/* What is to be done to each socket of a job, and how far that is. */
struct wsasec_job {
    struct wsasec_request request;
    const wsasec_batch_spec *spec; /* NULL: the sockets are there already */
    const int32_t *sockets;
    int32_t *made; /* the same array where the job makes them */
    int32_t *codes;
    size_t count;
    size_t next; /* all before it have been tried */
    /* The job ends here: at count, or behind its first failure where that stops it. */
    _Atomic size_t limit;
    int stop;
    size_t taken_back; /* sockets made behind the failure that stopped the job, and closed again */
    size_t failed;
    struct wsasec_failure first;
    unsigned method; /* never WSASEC_METHOD_AUTO */
    struct wsasec_trial trial;
    struct wsasec_ring *ring; /* NULL where no method needs it */
    struct wsasec_window *window; /* of overlapped calls, where they are the method */
    unsigned lane_count;
    struct wsasec_lane lanes[];
};

/* Writes down what became of a socket. */
static inline void wsasec_lane_note(struct wsasec_lane *lane, size_t index, int32_t code, const wsasec_status *status)
{
    if (lane->job->codes)
        lane->job->codes[index] = code;
    if (code)
        wsasec_lane_failed(lane, index, status);
}

/* Goes on with a method as far as an index, or until the clock says so. */
void wsasec_job_stretch(struct wsasec_job *job, unsigned method, size_t to, uint64_t end);

#endif
