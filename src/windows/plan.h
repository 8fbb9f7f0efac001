/* SPDX-License-Identifier: Apache-2.0 */
/* What Windows makes of a request; for one thread. */
#ifndef WSASEC_WINDOWS_PLAN_H
#define WSASEC_WINDOWS_PLAN_H

#include "../backend.h"
#include "library.h"

struct wsasec_windows_plan {
    const struct wsasec_library *library; /* NULL: the status tells why */
    const struct wsasec_request *request;
    uint64_t next_identity; /* of those that are this plan's, up to the end */
    uint64_t end_identity;
    uint64_t taken; /* at a time: more each time, so that few are left over */
    wsasec_status status;
};
_Static_assert(sizeof(struct wsasec_windows_plan) <= sizeof(struct wsasec_plan), "a plan has room");

static inline struct wsasec_windows_plan *wsasec_plan_of(struct wsasec_plan *plan)
{
    return (struct wsasec_windows_plan *)(void *)plan->bytes;
}

#endif
