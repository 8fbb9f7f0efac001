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

/* Where a socket of which nothing is known is likely to be, so that it is carried by a device; 0 for nowhere. */
static uint64_t likely_realm(const struct wsasec_request *request, const struct wsasec_readiness *readiness,
                             uint8_t *family)
{
    const uint32_t kind = atomic_load_explicit(&last_kind, memory_order_relaxed);

    if (readiness->left)
        return readiness->device && !readiness->code ? readiness->realm : 0;
    *family = kind & 0xff;
    return *family && kind >> 8 == request->profile_number
               ? atomic_load_explicit(&last_realm, memory_order_relaxed)
               : 0;
}

int wsasec_secure_at_once(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                          wsasec_socket socket)
{
    struct wsasec_facts others = {0};
    wsasec_status status;
    uint64_t identity;

    if (readiness->lacking || request->skip || request->overlapped || request->buffer_reason ||
        request->member_reason)
        return 0;
    others.realm = likely_realm(request, readiness, &others.family);
    if (!others.realm || !wsasec_backend_one_call_begin(others.realm, socket, &identity))
        return 0;
    if (!readiness->left)
        (void)wsasec_ready(request, readiness, &others, socket, &status);
    if (readiness->code || !readiness->device)
        return 0;
    /* Whether it was secured before, and with what outcome, is told by the long way. */
    if (wsasec_socket_claim(socket, identity) != WSASEC_CLAIM_NEW)
        return 0;
    others.family = readiness->family;
    others.device = readiness->device;
    if (!wsasec_backend_one_call(&others, socket)) {
        wsasec_socket_release(socket, identity);
        return 0;
    }
    /* It was one of those that the look at the realm is good for. */
    readiness->left -= readiness->left > 0;
    wsasec_socket_settle(socket, identity, request->profile_number, wsasec_outcome_of(request, 0));
    return 1;
}
