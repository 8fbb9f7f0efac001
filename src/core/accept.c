/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting: what protects the listener protects the connection, or there is no connection. */
#include "accept.h"

#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "profiles.h"
#include "secure.h"
#include "sockets.h"

/* The state of the socket says how it was secured; the mark, that somebody else did. */
static int32_t find_request(const struct wsasec_facts *facts, struct wsasec_acceptor *acceptor, wsasec_status *status)
{
    struct wsasec_request *request = &acceptor->request;

    switch (wsasec_socket_outcome(acceptor->listener, facts->identity, &request->profile_number)) {
    case WSASEC_OUTCOME_FAILED:
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_FAILED_BEFORE, 0);
    case WSASEC_OUTCOME_REQUIRED:
        request->required = 1;
        break;
    case WSASEC_OUTCOME_OPTIONAL:
        break;
    case WSASEC_OUTCOME_SKIPPED:
        request->skip = 1;
        break;
    case WSASEC_OUTCOME_UNKNOWN:
        request->required = 1;
        acceptor->secured = wsasec_profile_of_mark(facts->mark, &request->profile_number) != NULL;
        if (!acceptor->secured)
            return 0;
        break;
    }
    acceptor->secured = 1;
    request->profile = wsasec_profile_at(request->profile_number);
    return 0;
}

int32_t wsasec_acceptor_prepare(struct wsasec_acceptor *acceptor, wsasec_socket listener, wsasec_status *status)
{
    struct wsasec_facts facts;
    int32_t code = wsasec_backend_inspect(listener, &facts, status);

    if (code)
        return code;
    memset(&acceptor->request, 0, sizeof acceptor->request);
    acceptor->listener = listener;
    acceptor->family = facts.family;
    acceptor->type = facts.type;
    acceptor->secured = 0;
    code = find_request(&facts, acceptor, status);
    wsasec_backend_plan(&acceptor->request, &acceptor->plan);
    return code;
}

static int32_t protect(struct wsasec_acceptor *acceptor, const struct wsasec_facts *facts, wsasec_socket socket,
                       wsasec_status *status)
{
    const struct wsasec_request *request = &acceptor->request;
    int32_t code = request->skip ? 0 : wsasec_backend_apply_accepted(&acceptor->plan, facts, socket, status);

    if (code)
        status->profile = request->profile_number;
    return code;
}

/* For a socket that the program gets: that it is secured is known of it as of its listener. */
static int32_t protect_and_remember(struct wsasec_acceptor *acceptor, const struct wsasec_facts *facts,
                                    wsasec_socket socket, wsasec_status *status)
{
    const struct wsasec_request *request = &acceptor->request;
    int32_t code;

    if (wsasec_socket_claim(socket, facts->identity) != WSASEC_CLAIM_NEW)
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_NO_MEMORY, 0);
    code = protect(acceptor, facts, socket, status);
    wsasec_socket_settle(socket, facts->identity, request->profile_number, wsasec_outcome_of(request, code));
    return code;
}

int32_t wsasec_acceptor_next(struct wsasec_acceptor *acceptor, uint32_t flags, wsasec_socket *accepted, void *address,
                             uint32_t *address_len, wsasec_status *status)
{
    const int remember = acceptor->secured && !(flags & WSASEC_ACCEPT_OWN);
    struct wsasec_facts facts = {.family = acceptor->family, .type = WSASEC_TYPE_STREAM};
    wsasec_socket socket = -1;
    int32_t code = wsasec_backend_accept(acceptor->listener, (flags & WSASEC_ACCEPT_NONBLOCKING) != 0, &socket,
                                         remember ? &facts.identity : NULL, address, address_len, status);

    if (code)
        return code;
    if (remember)
        code = protect_and_remember(acceptor, &facts, socket, status);
    else if (acceptor->secured)
        code = protect(acceptor, &facts, socket, status);
    if (code)
        wsasec_backend_abandon(socket);
    else
        *accepted = socket;
    return code;
}

int32_t wsasec_accept(wsasec_socket listener, uint32_t flags, wsasec_socket *accepted, void *address,
                      uint32_t *address_len, wsasec_status *status)
{
    struct wsasec_acceptor acceptor;
    wsasec_status own;
    int32_t code;

    if (!status)
        status = &own;
    memset(status, 0, sizeof *status);
    if (!accepted || (address && !address_len))
        return wsasec_fail(status, WSASEC_STEP_ACCEPT, WSASEC_REASON_NULL_POINTER, 0);
    if (flags & ~WSASEC_ACCEPT_NONBLOCKING)
        return wsasec_fail(status, WSASEC_STEP_ACCEPT, WSASEC_REASON_SPECIFICATION, 0);
    code = wsasec_acceptor_prepare(&acceptor, listener, status);
    if (code) {
        /* Another step would say that the listener is good for more. */
        status->step = WSASEC_STEP_ACCEPT;
        return code;
    }
    return wsasec_acceptor_next(&acceptor, flags, accepted, address, address_len, status);
}

wsasec_acceptor *wsasec_acceptor_new(wsasec_socket listener, wsasec_status *status)
{
    wsasec_acceptor *acceptor = malloc(sizeof *acceptor);

    if (!acceptor) {
        wsasec_fail(status, WSASEC_STEP_ACCEPT, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    if (wsasec_acceptor_prepare(acceptor, listener, status)) {
        free(acceptor);
        return NULL;
    }
    return acceptor;
}

int32_t wsasec_acceptor_protect(wsasec_acceptor *acceptor, wsasec_socket accepted, wsasec_status *status)
{
    struct wsasec_facts facts;
    wsasec_status own;
    int32_t code;

    if (!status)
        status = &own;
    memset(status, 0, sizeof *status);
    if (!acceptor->secured)
        return 0;
    if (wsasec_backend_inspect(accepted, &facts, status))
        return wsasec_uninspected(accepted, status);
    if (wsasec_socket_profile(accepted, facts.identity) >= 0)
        return 0;
    code = protect_and_remember(acceptor, &facts, accepted, status);
    if (code)
        status->flags |= wsasec_backend_silence(accepted) ? WSASEC_STATUS_STILL_OPEN : WSASEC_STATUS_BLOCKED;
    return code;
}

void wsasec_acceptor_free(wsasec_acceptor *acceptor)
{
    free(acceptor);
}
