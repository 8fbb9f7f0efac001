/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket of tokens, written as the time at which the next one is there. */
#include "traffic.h"

/* What could not be sent for longer than this is not made up for: the rate is a limit, too. */
static const double DEPTH = 1e8;

void traffic_pace_begin(struct traffic_thread *thread)
{
    const struct wsasec_traffic *run = thread->run;

    if (run->spec.rate <= 0)
        return;
    thread->interval = 1e9 / run->spec.rate * (double)run->count / (double)thread->count;
    thread->pace = (double)run->warm - (double)run->spec.warm_up;
    if (run->spec.kind != WSASEC_TRAFFIC_STREAM)
        thread->pace += thread->interval * thread->number / run->threads;
}

uint32_t traffic_pace_due(const struct traffic_thread *thread, uint32_t most)
{
    double due;

    if (thread->interval <= 0)
        return most;
    if ((double)thread->now < thread->pace)
        return 0;
    due = ((double)thread->now - thread->pace) / thread->interval + 1;
    return due < most ? (uint32_t)due : most;
}

void traffic_pace_spend(struct traffic_thread *thread, uint64_t amount)
{
    if (thread->interval <= 0)
        return;
    thread->pace += (double)amount * thread->interval;
    if (thread->pace < (double)thread->now - DEPTH)
        thread->pace = (double)thread->now - DEPTH;
}
