/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which method is fastest here: a large job finds out on samples of its own sockets, the methods in turn, and goes
 * on with the winner. What was found out is kept for the process, and for its children after a fork().
 */
#ifndef WSASEC_CORE_TRIAL_H
#define WSASEC_CORE_TRIAL_H

#include "wsasec_batch.h"

enum {
    /* The first round warms up, and is thrown away. */
    WSASEC_TRIAL_ROUNDS = 4,
    /* Jobs of less sockets are run plainly: starting threads, or a ring, costs as much as it saves. */
    WSASEC_SMALLEST_CHOICE = 512
};

struct wsasec_job;

struct wsasec_trial {
    int chosen;  /* the job's owner left the method to it */
    int running; /* not yet decided */
    unsigned kind;
    unsigned count; /* of methods */
    unsigned methods[WSASEC_METHOD_COUNT];
    unsigned step;
    size_t sample; /* sockets */
    size_t left;   /* of the sample that the last slice of time broke off */
    uint64_t start; /* nanoseconds that it takes to start the threads, and to end them */
    uint64_t ns[WSASEC_METHOD_COUNT][WSASEC_TRIAL_ROUNDS];
};

/* Returns the method to begin with: the one to stay with, unless there is something to find out. */
unsigned wsasec_trial_begin(struct wsasec_trial *trial, const struct wsasec_job *job);

/* Whether a method takes part. */
int wsasec_trial_has(const struct wsasec_trial *trial, unsigned method);

/* Goes on without a method. */
void wsasec_trial_without(struct wsasec_trial *trial, unsigned method);

/* Runs one sample, or as much of it as there is time for; after the last one the job has its method. */
void wsasec_trial_step(struct wsasec_trial *trial, struct wsasec_job *job, uint64_t end);

#endif
