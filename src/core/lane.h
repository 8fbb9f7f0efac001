/* SPDX-License-Identifier: Apache-2.0 */
/* What one thread keeps while it works on a job: lanes share nothing but the job. */
#ifndef WSASEC_CORE_LANE_H
#define WSASEC_CORE_LANE_H

#include "secure.h"

struct wsasec_job;

/* A failure and whose it is. */
struct wsasec_failure {
    size_t index; /* SIZE_MAX: there is none */
    wsasec_status status;
};

struct wsasec_lane {
    struct wsasec_job *job;
    struct wsasec_plan plan;
    struct wsasec_readiness readiness;
    uint64_t realm; /* where the sockets are made that this lane makes; 0: not yet asked for */
    size_t failed;
    struct wsasec_failure first;
};

/* Writes down a failure, and has the job stop there if it is to stop at one. */
void wsasec_lane_failed(struct wsasec_lane *lane, size_t index, const wsasec_status *status);

/* Sockets from one index to before another, one system call after the other. */
void wsasec_lane_run(struct wsasec_lane *lane, size_t from, size_t to);

/*
 * The same with the job's ring, at most WSASEC_GROUP sockets, or by a broker, at most WSASEC_BROKERED. Returns the index
 * behind the last one tried.
 */
size_t wsasec_lane_run_group(struct wsasec_lane *lane, size_t from, size_t to);

/* Makes, secures and equips the socket of an index; on failure nothing is left of it. */
int32_t wsasec_create_one(struct wsasec_lane *lane, size_t index, wsasec_status *status);

/* The parts of that: a fresh socket becomes this job's, ... */
int32_t wsasec_create_admit(const struct wsasec_lane *lane, const struct wsasec_facts *facts, wsasec_socket socket,
                            wsasec_status *status);
/* ... what must be in force before it is secured, and what follows from what became of it. */
int32_t wsasec_create_ready(struct wsasec_lane *lane, struct wsasec_facts *facts, wsasec_socket socket,
                            wsasec_status *status);
int32_t wsasec_create_conclude(struct wsasec_lane *lane, const struct wsasec_facts *facts, size_t index,
                               wsasec_socket socket, int32_t code, wsasec_status *status);

#endif
