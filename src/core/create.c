/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A socket of a batch, from nothing to bound: what was just made need not be asked whether it is bound, connected
 * or secured. A socket that cannot be had as it was asked for is closed: nobody else has it yet.
 */
#include "errors.h"
#include "job.h"
#include "sockets.h"

static int is_secured(const struct wsasec_job *job)
{
    return !(job->spec->flags & WSASEC_BATCH_PLAIN);
}

int32_t wsasec_create_admit(const struct wsasec_lane *lane, const struct wsasec_facts *facts, wsasec_socket socket,
                            wsasec_status *status)
{
    /* A fresh identity is new to every place; what stands there is of a socket that is gone. */
    if (is_secured(lane->job) && wsasec_socket_claim(socket, facts->identity) != WSASEC_CLAIM_NEW)
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_NO_MEMORY, 0);
    return 0;
}

int32_t wsasec_create_ready(struct wsasec_lane *lane, struct wsasec_facts *facts, wsasec_socket socket,
                            wsasec_status *status)
{
    const struct wsasec_request *request = &lane->job->request;
    int32_t code;

    if (request->skip)
        return 0;
    code = lane->realm ? 0 : wsasec_backend_realm(socket, &lane->realm, status);
    if (code)
        return code;
    facts->realm = lane->realm;
    return wsasec_ready(request, &lane->readiness, facts, socket, status);
}

int32_t wsasec_create_conclude(struct wsasec_lane *lane, const struct wsasec_facts *facts, size_t index,
                               wsasec_socket socket, int32_t code, wsasec_status *status)
{
    struct wsasec_job *job = lane->job;

    if (is_secured(job)) {
        if (code)
            status->profile = job->request.profile_number;
        wsasec_socket_settle(socket, facts->identity, job->request.profile_number,
                             wsasec_outcome_of(&job->request, code));
    }
    if (!code)
        code = wsasec_backend_equip(job->spec, index, socket, status);
    job->made[index] = (int32_t)socket;
    if (code)
        wsasec_close_many(&job->made[index], 1);
    return code;
}

static int32_t take_effect(struct wsasec_lane *lane, struct wsasec_facts *facts, wsasec_socket socket,
                           wsasec_status *status)
{
    int32_t code = wsasec_create_ready(lane, facts, socket, status);

    if (!code)
        code = wsasec_backend_apply_fresh(&lane->plan, facts, socket, status);
    (void)wsasec_brokered_one(&lane->job->request, &lane->readiness, facts, socket, &code, status);
    return code;
}

int32_t wsasec_create_one(struct wsasec_lane *lane, size_t index, wsasec_status *status)
{
    struct wsasec_facts facts;
    wsasec_socket socket = -1;
    int32_t code = wsasec_backend_make(lane->job->spec, &socket, &facts, status);

    if (code)
        return code;
    code = wsasec_create_admit(lane, &facts, socket, status);
    if (!code && is_secured(lane->job))
        code = take_effect(lane, &facts, socket, status);
    return wsasec_create_conclude(lane, &facts, index, socket, code, status);
}
