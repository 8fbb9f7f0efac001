/* SPDX-License-Identifier: Apache-2.0 */
/* Built where the system has no io_uring, or there is no liburing. */
#include "../backend.h"
#include "../core/errors.h"

struct wsasec_ring *wsasec_backend_ring_open(wsasec_status *status)
{
    wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_URING_NOT_BUILT, 0);
    return NULL;
}

void wsasec_backend_ring_close(struct wsasec_ring *ring)
{
    (void)ring;
}

/* The following are never called, as there is no ring to call them with; they do what is asked of them all the same. */

void wsasec_backend_ring_inspect(struct wsasec_ring *ring, struct wsasec_member *members, size_t count)
{
    (void)ring;
    for (size_t i = 0; i < count; i++)
        members[i].code = wsasec_backend_inspect(members[i].socket, &members[i].facts, &members[i].status);
}

void wsasec_backend_ring_make(struct wsasec_ring *ring, const wsasec_batch_spec *spec, struct wsasec_member *members,
                              size_t count)
{
    (void)ring;
    for (size_t i = 0; i < count; i++)
        members[i].code = wsasec_backend_make(spec, &members[i].socket, &members[i].facts, &members[i].status);
}

void wsasec_backend_ring_apply(struct wsasec_ring *ring, struct wsasec_plan *plan, int fresh,
                               struct wsasec_member *members, size_t count)
{
    (void)ring;
    for (size_t i = 0; i < count; i++) {
        struct wsasec_member *m = &members[i];

        if (!m->code)
            m->code = fresh ? wsasec_backend_apply_fresh(plan, &m->facts, m->socket, &m->status)
                            : wsasec_backend_apply(plan, &m->facts, m->socket, &m->status);
    }
}
