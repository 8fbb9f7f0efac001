/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of sockets by a ring: each step is taken for all of them before the next, and what became of them is
 * written down in their order, so that it comes to the same as one after the other.
 */
#include "job.h"

struct group {
    struct wsasec_member members[WSASEC_GROUP];
    size_t from;
    size_t count;
};

static void note_all(struct wsasec_lane *lane, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++)
        wsasec_lane_note(lane, group->from + i, group->members[i].code, &group->members[i].status);
}

/*
 * Whether it is a socket again that the group has claimed and not yet secured: it must find what becomes of that.
 * Identities are mostly given in a row, so that there is little to search.
 */
static int is_pending(const struct group *group, const int *claimed, uint64_t highest, size_t index)
{
    const uint64_t identity = group->members[index].facts.identity;

    for (size_t i = 0; identity <= highest && i < index; i++)
        if (claimed[i] && group->members[i].facts.identity == identity)
            return 1;
    return 0;
}

static void secure_group(struct wsasec_lane *lane, struct group *group)
{
    struct wsasec_job *job = lane->job;
    const struct wsasec_request *request = &job->request;
    struct wsasec_member *const begin = group->members;
    int claimed[WSASEC_GROUP];
    uint64_t highest = 0;

    for (size_t i = 0; i < group->count; i++)
        begin[i].socket = job->sockets[group->from + i];
    wsasec_backend_ring_inspect(job->ring, begin, group->count);
    for (size_t i = 0; i < group->count; i++) {
        struct wsasec_member *member = &begin[i];

        claimed[i] = 0;
        if (member->code) {
            wsasec_uninspected(member->socket, &member->status);
            continue;
        }
        if (is_pending(group, claimed, highest, i)) {
            group->count = i; /* the next group begins with it */
            break;
        }
        if (member->facts.identity > highest)
            highest = member->facts.identity;
        member->code = wsasec_admit(request, &member->facts, member->socket, &member->status);
        claimed[i] = !member->code;
        if (claimed[i] && !request->skip)
            member->code = wsasec_ready(request, &lane->readiness, &member->facts, member->socket, &member->status);
    }
    wsasec_backend_ring_apply(job->ring, &lane->plan, 0, begin, group->count);
    for (size_t i = 0; i < group->count; i++)
        if (claimed[i])
            wsasec_conclude(request, &begin[i].facts, begin[i].socket, begin[i].code, &begin[i].status);
}

static void create_group(struct wsasec_lane *lane, struct group *group)
{
    struct wsasec_job *job = lane->job;
    struct wsasec_member *const begin = group->members;
    int made[WSASEC_GROUP];

    wsasec_backend_ring_make(job->ring, job->spec, begin, group->count);
    for (size_t i = 0; i < group->count; i++) {
        made[i] = !begin[i].code;
        if (made[i])
            begin[i].code = wsasec_create_admit(lane, &begin[i].facts, begin[i].socket, &begin[i].status);
    }
    if (!(job->spec->flags & WSASEC_BATCH_PLAIN))
        wsasec_backend_ring_apply(job->ring, &lane->plan, 1, begin, group->count);
    for (size_t i = 0; i < group->count; i++)
        if (made[i])
            begin[i].code = wsasec_create_conclude(lane, &begin[i].facts, group->from + i, begin[i].socket,
                                                   begin[i].code, &begin[i].status);
}

size_t wsasec_lane_run_group(struct wsasec_lane *lane, size_t from, size_t to)
{
    struct group group = {.from = from, .count = to - from < WSASEC_GROUP ? to - from : WSASEC_GROUP};

    if (lane->job->spec)
        create_group(lane, &group);
    else
        secure_group(lane, &group);
    note_all(lane, &group);
    return from + group.count;
}
