/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of sockets, by a ring or by a broker: each step is taken for all of them before the next, and what became of
 * them is written down in their order, so that it comes to the same as one after the other.
 */
#include "job.h"

struct group {
    struct wsasec_member members[WSASEC_BROKERED];
    uint8_t claimed[WSASEC_BROKERED];
    size_t from;
    size_t count;
    struct wsasec_ring *ring; /* NULL: one system call after the other */
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
static int is_pending(const struct group *group, uint64_t highest, size_t index)
{
    const uint64_t identity = group->members[index].facts.identity;

    for (size_t i = 0; identity <= highest && i < index; i++)
        if (group->claimed[i] && group->members[i].facts.identity == identity)
            return 1;
    return 0;
}

static void apply(struct wsasec_lane *lane, struct group *group)
{
    const int fresh = lane->job->spec != NULL;

    if (group->ring) {
        wsasec_backend_ring_apply(group->ring, &lane->plan, fresh, group->members, group->count);
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        struct wsasec_member *member = &group->members[i];

        if (!member->code)
            member->code = (fresh ? wsasec_backend_apply_fresh : wsasec_backend_apply)(
                &lane->plan, &member->facts, member->socket, &member->status);
    }
}

/* For those that are claimed: they, and no others, have no code. */
static void act(struct wsasec_lane *lane, struct group *group)
{
    const struct wsasec_request *request = &lane->job->request;

    for (size_t i = 0; i < group->count; i++) {
        struct wsasec_member *member = &group->members[i];

        if (member->code || request->skip)
            continue;
        member->code = lane->job->spec
                           ? wsasec_create_ready(lane, &member->facts, member->socket, &member->status)
                           : wsasec_ready(request, &lane->readiness, &member->facts, member->socket, &member->status);
    }
    apply(lane, group);
}

static size_t count_refused(const struct group *group)
{
    size_t count = 0;

    for (size_t i = 0; i < group->count; i++)
        count += group->claimed[i] && wsasec_is_refused(group->members[i].code, &group->members[i].status);
    return count;
}

static void take_effect(struct wsasec_lane *lane, struct group *group)
{
    const int lacking = lane->readiness.lacking && !lane->job->request.skip;

    if (lacking) {
        for (size_t i = 0; i < group->count; i++)
            if (group->claimed[i])
                group->members[i].code = wsasec_refuse(&group->members[i].status);
    } else {
        act(lane, group);
    }
    if (!count_refused(group) ||
        wsasec_brokered(&lane->job->request, &lane->readiness, group->members, group->count) || !lacking)
        return;
    /* Without a broker the system itself says what is wrong. */
    for (size_t i = 0; i < group->count; i++)
        if (group->claimed[i])
            group->members[i].code = 0;
    act(lane, group);
}

static void inspect(const struct wsasec_lane *lane, struct group *group)
{
    if (group->ring) {
        wsasec_backend_ring_inspect(group->ring, group->members, group->count);
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        struct wsasec_member *member = &group->members[i];

        member->code = wsasec_inspect(&lane->job->request, member->socket, &member->facts, &member->status);
    }
}

static void secure_group(struct wsasec_lane *lane, struct group *group)
{
    struct wsasec_job *job = lane->job;
    const struct wsasec_request *request = &job->request;
    struct wsasec_member *const begin = group->members;
    uint64_t highest = 0;

    for (size_t i = 0; i < group->count; i++)
        begin[i].socket = job->sockets[group->from + i];
    inspect(lane, group);
    for (size_t i = 0; i < group->count; i++) {
        struct wsasec_member *member = &begin[i];

        group->claimed[i] = 0;
        if (member->code) {
            wsasec_uninspected(member->socket, &member->status);
            continue;
        }
        if (is_pending(group, highest, i)) {
            group->count = i; /* the next group begins with it */
            break;
        }
        if (member->facts.identity > highest)
            highest = member->facts.identity;
        member->code = wsasec_admit(request, &member->facts, member->socket, &member->status);
        group->claimed[i] = !member->code;
    }
    take_effect(lane, group);
    for (size_t i = 0; i < group->count; i++)
        if (group->claimed[i])
            wsasec_conclude(request, &begin[i].facts, begin[i].socket, begin[i].code, &begin[i].status);
}

static void make(const struct wsasec_job *job, struct group *group)
{
    if (group->ring) {
        wsasec_backend_ring_make(group->ring, job->spec, group->members, group->count);
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        struct wsasec_member *member = &group->members[i];

        member->code = wsasec_backend_make(job->spec, &member->socket, &member->facts, &member->status);
    }
}

static void create_group(struct wsasec_lane *lane, struct group *group)
{
    struct wsasec_job *job = lane->job;
    struct wsasec_member *const begin = group->members;
    uint8_t made[WSASEC_BROKERED];

    make(job, group);
    for (size_t i = 0; i < group->count; i++) {
        made[i] = !begin[i].code;
        if (made[i])
            begin[i].code = wsasec_create_admit(lane, &begin[i].facts, begin[i].socket, &begin[i].status);
        group->claimed[i] = !begin[i].code;
    }
    if (!(job->spec->flags & WSASEC_BATCH_PLAIN))
        take_effect(lane, group);
    for (size_t i = 0; i < group->count; i++)
        if (made[i])
            begin[i].code = wsasec_create_conclude(lane, &begin[i].facts, group->from + i, begin[i].socket,
                                                   begin[i].code, &begin[i].status);
}

size_t wsasec_lane_run_group(struct wsasec_lane *lane, size_t from, size_t to)
{
    const int lacking = lane->readiness.lacking;
    const size_t most = lacking ? WSASEC_BROKERED : WSASEC_GROUP;
    struct group group;

    group.from = from;
    group.count = to - from < most ? to - from : most;
    group.ring = lacking ? NULL : lane->job->ring;
    if (lane->job->spec)
        create_group(lane, &group);
    else
        secure_group(lane, &group);
    note_all(lane, &group);
    return from + group.count;
}
