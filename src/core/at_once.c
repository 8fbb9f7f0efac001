/* SPDX-License-Identifier: Apache-2.0 */
#include "at_once.h"

#include <stdatomic.h>

/* Of the last one: a guess, which is checked before it is used. */
static _Atomic uint64_t last_realm;
static _Atomic uint32_t last_kind; /* profile number, and family */

void wsasec_at_once_note(const struct wsasec_request *request, const struct wsasec_facts *facts)
{
    const uint32_t kind = (uint32_t)request->profile_number << 8 | facts->family;
    const uint32_t before = atomic_load_explicit(&last_kind, memory_order_relaxed);

    /* What is ready for IPv6 is ready for either. */
    if (atomic_load_explicit(&last_realm, memory_order_relaxed) == facts->realm && before >> 8 == kind >> 8 &&
        before >= kind)
        return;
    atomic_store_explicit(&last_realm, facts->realm, memory_order_relaxed);
    atomic_store_explicit(&last_kind, kind, memory_order_relaxed);
}

/* Where a socket of which nothing is known is likely to be, so that it is carried by a device. 0: nowhere. */
static int guess(const struct wsasec_request *request, const struct wsasec_readiness *readiness,
                 struct wsasec_facts *others)
{
    const uint32_t kind = atomic_load_explicit(&last_kind, memory_order_relaxed);

    if (readiness->left) {
        others->realm = readiness->realm;
        others->family = readiness->family;
        return readiness->device && !readiness->code;
    }
    others->realm = atomic_load_explicit(&last_realm, memory_order_relaxed);
    others->family = kind & 0xff;
    return others->realm && others->family && kind >> 8 == request->profile_number;
}

int wsasec_secure_at_once(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                          wsasec_socket socket)
{
    struct wsasec_facts others = {0};
    wsasec_status status;
    uint64_t identity;

    if (readiness->lacking || request->skip || request->overlapped || request->buffer_reason ||
        request->member_reason || !guess(request, readiness, &others) ||
        !wsasec_backend_one_call_begin(others.realm, socket, &identity))
        return 0;
    if (wsasec_ready(request, readiness, &others, socket, &status) || !others.device)
        return 0;
    /* Whether it was secured before, and with what outcome, is told by the long way. */
    if (wsasec_socket_claim(socket, identity) != WSASEC_CLAIM_NEW)
        return 0;
    if (!wsasec_backend_one_call(&others, socket)) {
        wsasec_socket_release(socket, identity);
        return 0;
    }
    wsasec_socket_settle(socket, identity, request->profile_number, wsasec_outcome_of(request, 0));
    return 1;
}
