/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WSASetSocketSecurity: the order of its checks, and what follows from a failure.
 *
 * A check that fails leaves the socket as it was. A step that fails after the checks blocks the socket: its
 * owner asked for protection, cannot have it, and must not go on in clear by mistake.
 */
#include "secure.h"

#include <stdatomic.h>
#include <string.h>

#include "at_once.h"
#include "errors.h"
#include "profiles.h"
#include "settings.h"
#include "sockets.h"
#include "unasked.h"

/*
 * A batch asks about its realm once for so many sockets: some milliseconds, within which nothing is noticed. Where
 * something is missing, finding that out takes as long as many sockets do, and it may be mended soon.
 */
enum { SOCKETS_A_CHECK = 256, SOCKETS_A_FAILURE = 64 };

int32_t wsasec_check_kind(const struct wsasec_facts *facts, wsasec_status *status)
{
    if (facts->family == WSASEC_FAMILY_OTHER)
        return wsasec_fail(status, WSASEC_STEP_KIND, WSASEC_REASON_FAMILY, 0);
    if (facts->type == WSASEC_TYPE_OTHER)
        return wsasec_fail(status, WSASEC_STEP_KIND, WSASEC_REASON_TYPE, 0);
    return 0;
}

static int32_t block(wsasec_socket socket, wsasec_status *status)
{
    status->flags |= wsasec_backend_block(socket) ? WSASEC_STATUS_STILL_OPEN : WSASEC_STATUS_BLOCKED;
    return status->code;
}

int32_t wsasec_no_room(wsasec_socket socket, wsasec_status *status)
{
    wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_NO_MEMORY, 0);
    return block(socket, status);
}

/* Finds the socket new and claims it; 0 means that the claim must be settled or released. */
static int32_t claim(const struct wsasec_facts *facts, wsasec_socket socket, wsasec_status *status)
{
    if (facts->bound)
        return wsasec_fail(status, WSASEC_STEP_STATE, wsasec_backend_bound_reason(socket), 0);
    switch (wsasec_socket_claim(socket, facts->identity)) {
    case WSASEC_CLAIM_NEW:
        break;
    case WSASEC_CLAIM_TAKEN:
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_ALREADY_SECURED, 0);
    case WSASEC_CLAIM_FAILED:
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_FAILED_BEFORE, 0);
    case WSASEC_CLAIM_NO_ROOM:
        return wsasec_no_room(socket, status);
    }
    /* The mark travels with the socket: another process, or another descriptor of it, was here before. */
    if (wsasec_profile_marks(facts->mark)) {
        wsasec_socket_release(socket, facts->identity);
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_ALREADY_SECURED, 0);
    }
    return 0;
}

int32_t wsasec_ready(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                     struct wsasec_facts *facts, wsasec_socket socket, wsasec_status *status)
{
    int32_t code;

    if (readiness->left && readiness->realm == facts->realm && readiness->family == facts->family) {
        readiness->left--;
        facts->device = readiness->device;
        if (readiness->code)
            *status = readiness->status;
        return readiness->code;
    }
    code = wsasec_backend_ready(request, facts, socket, status);
    readiness->realm = facts->realm;
    readiness->family = facts->family;
    readiness->device = facts->device;
    readiness->left = (code ? SOCKETS_A_FAILURE : SOCKETS_A_CHECK) - 1;
    readiness->code = code;
    if (code)
        readiness->status = *status;
    else if (facts->device)
        wsasec_at_once_note(request, facts);
    return code;
}

unsigned wsasec_outcome_of(const struct wsasec_request *request, int32_t code)
{
    if (code)
        return WSASEC_OUTCOME_FAILED;
    if (request->skip)
        return WSASEC_OUTCOME_SKIPPED;
    return (unsigned)(request->required ? WSASEC_OUTCOME_REQUIRED : WSASEC_OUTCOME_OPTIONAL) | request->notes;
}

static atomic_int is_broker;

void wsasec_be_broker(void)
{
    atomic_store(&is_broker, 1);
}

int32_t wsasec_refuse(wsasec_status *status)
{
    return wsasec_fail(status, WSASEC_STEP_GUARD, WSASEC_REASON_PRIVILEGE, 0);
}

int wsasec_brokered(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                    struct wsasec_member *members, size_t count)
{
    if (atomic_load_explicit(&is_broker, memory_order_relaxed))
        return 0;
    if (readiness->alone) {
        readiness->alone = readiness->alone > count ? readiness->alone - (uint32_t)count : 0;
        return 0;
    }
    if (!wsasec_backend_broker(request, members, count)) {
        readiness->alone = SOCKETS_A_FAILURE - 1;
        return 0;
    }
    readiness->lacking = 1;
    for (size_t i = 0; i < count; i++)
        if (!members[i].code)
            memset(&members[i].status, 0, sizeof members[i].status);
    return 1;
}

int wsasec_brokered_one(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                        const struct wsasec_facts *facts, wsasec_socket socket, int32_t *code, wsasec_status *status)
{
    struct wsasec_member member;

    if (!wsasec_is_refused(*code, status))
        return 0;
    member.socket = socket;
    member.facts = *facts;
    member.code = *code;
    member.status = *status;
    if (!wsasec_brokered(request, readiness, &member, 1))
        return 0;
    *code = member.code;
    *status = member.status;
    return 1;
}

static int32_t act(const struct wsasec_request *request, struct wsasec_plan *plan, struct wsasec_readiness *readiness,
                   struct wsasec_facts *facts, wsasec_socket socket, wsasec_status *status)
{
    int32_t code = request->skip ? 0 : wsasec_ready(request, readiness, facts, socket, status);

    return code ? code : wsasec_backend_apply(plan, facts, socket, status);
}

static int32_t take_effect(const struct wsasec_request *request, struct wsasec_plan *plan,
                           struct wsasec_readiness *readiness, struct wsasec_facts *facts,
                           wsasec_socket socket, wsasec_status *status)
{
    const int lacking = readiness->lacking && !request->skip;
    int32_t code = lacking ? wsasec_refuse(status) : act(request, plan, readiness, facts, socket, status);

    /* Without a broker the system itself says what is wrong. */
    if (!wsasec_brokered_one(request, readiness, facts, socket, &code, status) && lacking)
        code = act(request, plan, readiness, facts, socket, status);
    return code;
}

int32_t wsasec_inspect(const struct wsasec_request *request, wsasec_socket socket, struct wsasec_facts *facts,
                       wsasec_status *status)
{
    return request->unasked ? wsasec_unasked_facts(socket, facts, status)
                            : wsasec_backend_inspect(socket, facts, status);
}

int32_t wsasec_uninspected(wsasec_socket socket, wsasec_status *status)
{
    /* facts that a socket does not tell are no reason to let it go on in clear */
    return status->reason == WSASEC_REASON_NOT_A_SOCKET ? status->code : block(socket, status);
}

int32_t wsasec_admit(const struct wsasec_request *request, const struct wsasec_facts *facts, wsasec_socket socket,
                     wsasec_status *status)
{
    int32_t code;

    if (request->buffer_reason)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, request->buffer_reason, 0);
    code = wsasec_check_kind(facts, status);
    if (!code)
        code = claim(facts, socket, status);
    if (code || !request->member_reason)
        return code;
    wsasec_socket_release(socket, facts->identity);
    code = wsasec_fail(status, WSASEC_STEP_SETTINGS, request->member_reason, 0);
    status->profile = request->profile_number;
    return code;
}

/* Of the system's own call, which may check what was not asked before, or still be under way. */
static int found_by_a_check(const wsasec_status *status)
{
    return status->step >= WSASEC_STEP_DESCRIPTOR && status->step <= WSASEC_STEP_SETTINGS;
}

enum wsasec_outcome wsasec_failed(const struct wsasec_request *request, wsasec_socket socket,
                                  wsasec_status *status)
{
    if (found_by_a_check(status))
        return WSASEC_OUTCOME_UNKNOWN;
    block(socket, status);
    status->profile = request->profile_number;
    return WSASEC_OUTCOME_FAILED;
}

int32_t wsasec_conclude(const struct wsasec_request *request, const struct wsasec_facts *facts,
                        wsasec_socket socket, int32_t code, wsasec_status *status)
{
    unsigned outcome;

    if (code && status->reason == WSASEC_REASON_PENDING) /* still claimed; see wsasec_overlapped_done() */
        return code;
    outcome = code ? (unsigned)wsasec_failed(request, socket, status) : wsasec_outcome_of(request, 0);
    if (outcome == WSASEC_OUTCOME_UNKNOWN)
        wsasec_socket_release(socket, facts->identity);
    else
        wsasec_socket_settle(socket, facts->identity, request->profile_number, outcome);
    return code;
}

int32_t wsasec_secure_asked(const struct wsasec_request *request, struct wsasec_plan *plan,
                            struct wsasec_readiness *readiness, wsasec_socket socket, wsasec_status *status)
{
    struct wsasec_facts facts;
    int32_t code;

    if (wsasec_secure_at_once(request, readiness, socket))
        return 0;
    if (wsasec_inspect(request, socket, &facts, status))
        return wsasec_uninspected(socket, status);
    code = wsasec_admit(request, &facts, socket, status);
    if (code)
        return code;
    code = take_effect(request, plan, readiness, &facts, socket, status);
    return wsasec_conclude(request, &facts, socket, code, status);
}

int32_t wsasec_set_socket_security(wsasec_socket socket, const void *settings, uint32_t settings_len,
                                   void *overlapped, void *completion_routine, wsasec_status *status)
{
    struct wsasec_request request;
    struct wsasec_plan plan;
    struct wsasec_readiness readiness = {0};
    wsasec_status own;

    if (!status)
        status = &own;
    memset(status, 0, sizeof *status);
    wsasec_settings_read(settings, settings_len, &request);
    request.overlapped = overlapped;
    request.completion_routine = completion_routine;
    wsasec_backend_plan(&request, &plan);
    readiness.lacking = wsasec_backend_lacks_privilege() != 0;
    return wsasec_secure_one(&request, &plan, &readiness, socket, status);
}

int32_t wsasec_overlapped_done(wsasec_socket socket, const void *settings, uint32_t settings_len, int32_t error,
                               wsasec_status *status)
{
    struct wsasec_request request;
    const struct wsasec_facts facts = {.identity = wsasec_socket_identity(socket)};
    wsasec_status own;
    int32_t code;

    if (!status)
        status = &own;
    memset(status, 0, sizeof *status);
    wsasec_settings_read(settings, settings_len, &request);
    code = error ? wsasec_backend_fail(WSASEC_STEP_SECURE, error, status) : 0;
    return wsasec_conclude(&request, &facts, socket, code, status);
}

const wsasec_profile *wsasec_profile_of(wsasec_socket socket)
{
    struct wsasec_facts facts;
    wsasec_status status;
    int32_t number;

    if (wsasec_backend_inspect(socket, &facts, &status))
        return NULL;
    number = wsasec_socket_profile(socket, facts.identity);
    return number < 0 ? NULL : wsasec_profile_at((uint16_t)number);
}
