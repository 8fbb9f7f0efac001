/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a group by a ring. The options of one socket are a chain: a failed one cancels those behind it.
 * Whatever the ring does not do is done by plain system calls, which also find the words for what is wrong.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../failure.h"
#include "../inspect.h"
#include "../plan.h"
#include "ring.h"

/* In a child the ring is the parent's: what is put into it comes out there. */
static void notice_fork(struct wsasec_ring *ring)
{
    if (ring->owner != getpid())
        ring->broken = 1;
}

static int ask(struct wsasec_ring *ring, wsasec_socket socket, int name, void *value, uint32_t length)
{
    return wsasec_ring_add_option(ring, WSASEC_URING_GETSOCKOPT, socket, SOL_SOCKET, name, value, length, 0);
}

enum { QUESTIONS = 4 };

/* The number of the first question; -1 if there is something about the socket that is better asked plainly. */
static int ask_all(struct wsasec_ring *ring, size_t i, struct wsasec_member *member)
{
    const wsasec_socket socket = member->socket;
    int first;

    member->facts = (struct wsasec_facts){0};
    if (socket < 0 || socket > INT32_MAX || wsasec_inspect_name(socket, &member->facts) ||
        member->facts.family == WSASEC_FAMILY_OTHER)
        return -1;
    first = ask(ring, socket, SO_TYPE, &ring->answers[i].type, sizeof ring->answers[i].type);
    if (first >= 0) {
        ask(ring, socket, SO_COOKIE, &ring->answers[i].cookie, sizeof ring->answers[i].cookie);
        ask(ring, socket, SO_MARK, &ring->answers[i].mark, sizeof ring->answers[i].mark);
        ask(ring, socket, SO_NETNS_COOKIE, &ring->answers[i].realm, sizeof ring->answers[i].realm);
    }
    return first;
}

static int is_answered(const struct wsasec_ring *ring, int first)
{
    static const int32_t lengths[QUESTIONS] = {4, 8, 4, 8};

    for (int i = 0; i < QUESTIONS; i++)
        if (first < 0 || ring->results[first + i] != lengths[i])
            return 0;
    return 1;
}

void wsasec_backend_ring_inspect(struct wsasec_ring *ring, struct wsasec_member *members, size_t count)
{
    int first[WSASEC_GROUP];

    notice_fork(ring);
    for (size_t i = 0; i < count; i++)
        first[i] = ask_all(ring, i, &members[i]);
    wsasec_ring_run(ring);
    for (size_t i = 0; i < count; i++) {
        struct wsasec_member *member = &members[i];

        member->code = 0;
        if (!is_answered(ring, first[i])) {
            member->code = wsasec_backend_inspect(member->socket, &member->facts, &member->status);
            continue;
        }
        member->facts.type = wsasec_type_of(ring->answers[i].type);
        member->facts.identity = ring->answers[i].cookie;
        member->facts.mark = ring->answers[i].mark;
        member->facts.realm = ring->answers[i].realm;
    }
}

/* One that is not secured needs no identity. */
static void identify(struct wsasec_ring *ring, struct wsasec_member *members, size_t count)
{
    int first[WSASEC_GROUP];

    for (size_t i = 0; i < count; i++)
        first[i] = members[i].code ? -1
                                   : ask(ring, members[i].socket, SO_COOKIE, &ring->answers[i].cookie,
                                         sizeof ring->answers[i].cookie);
    wsasec_ring_run(ring);
    for (size_t i = 0; i < count; i++) {
        struct wsasec_member *member = &members[i];
        socklen_t length = sizeof member->facts.identity;

        if (member->code)
            continue;
        member->facts.identity = ring->answers[i].cookie;
        if (first[i] >= 0 && ring->results[first[i]] == (int32_t)length)
            continue;
        if (getsockopt((int)member->socket, SOL_SOCKET, SO_COOKIE, &member->facts.identity, &length)) {
            const int error = errno;

            close((int)member->socket);
            member->code = wsasec_fail_errno(&member->status, WSASEC_STEP_CREATE, error);
        }
    }
}

void wsasec_backend_ring_make(struct wsasec_ring *ring, const wsasec_batch_spec *spec, struct wsasec_member *members,
                              size_t count)
{
    const int type = spec->type | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int entry[WSASEC_GROUP];

    notice_fork(ring);
    for (size_t i = 0; i < count; i++)
        entry[i] = wsasec_ring_add_socket(ring, spec->address_family, type);
    wsasec_ring_run(ring);
    for (size_t i = 0; i < count; i++) {
        struct wsasec_member *member = &members[i];
        int32_t result = entry[i] < 0 ? WSASEC_RING_NOT_RUN : ring->results[entry[i]];

        if (result == WSASEC_RING_NOT_RUN) {
            result = socket(spec->address_family, type, 0);
            if (result < 0)
                result = -errno;
        }
        member->socket = result;
        member->code = result < 0 ? wsasec_fail_errno(&member->status, WSASEC_STEP_CREATE, -result) : 0;
        wsasec_facts_of_fresh(spec, &member->facts);
    }
    if (!(spec->flags & WSASEC_BATCH_PLAIN))
        identify(ring, members, count);
}

/* The options of one socket; the number of the first, which is -1 if none is in the ring. */
static int add_chain(struct wsasec_ring *ring, const struct wsasec_plan *plan, const struct wsasec_family_plan *mine,
                     uint32_t from, size_t i, const struct wsasec_member *member)
{
    int first = -1;

    for (uint32_t j = from; j < mine->count; j++) {
        const wsasec_option *option = &mine->options[j];
        const void *value = wsasec_plan_value(plan, option, &member->facts, &ring->marks[i]);
        int number = wsasec_ring_add_option(ring, WSASEC_URING_SETSOCKOPT, member->socket, option->level,
                                            option->name, value, option->length, j + 1 < mine->count);

        if (j == from)
            first = number;
    }
    return first;
}

/*
 * What the chain came to. From the step on that failed, or was not run, plain calls are made: what cannot be done
 * fails there again, and what only the ring could not do is done.
 */
static int32_t end_chain(const struct wsasec_ring *ring, struct wsasec_plan *plan, const struct wsasec_family_plan *mine,
                         uint32_t from, int first, struct wsasec_member *member)
{
    for (uint32_t j = from; j < mine->count; j++)
        if (first < 0 || ring->results[(uint32_t)first + j - from])
            return wsasec_plan_carry_out(plan, &member->facts, j, member->socket, &member->status);
    return 0;
}

static uint32_t first_option(const struct wsasec_member *member, int fresh)
{
    /* The first option is for datagram sockets only. */
    return fresh ? WSASEC_PLAN_FRESH : member->facts.type == WSASEC_TYPE_STREAM;
}

void wsasec_backend_ring_apply(struct wsasec_ring *ring, struct wsasec_plan *plan, int fresh,
                               struct wsasec_member *members, size_t count)
{
    const struct wsasec_family_plan *plans[WSASEC_GROUP];
    int first[WSASEC_GROUP];

    for (size_t i = 0; i < count; i++) {
        if (members[i].code)
            continue;
        plans[i] = wsasec_plan_for(plan, &members[i].facts);
        first[i] = wsasec_plan_lacks_device(plans[i], &members[i].facts)
                       ? -1
                       : add_chain(ring, plan, plans[i], first_option(&members[i], fresh), i, &members[i]);
    }
    wsasec_ring_run(ring);
    for (size_t i = 0; i < count; i++)
        if (!members[i].code)
            members[i].code = end_chain(ring, plan, plans[i], first_option(&members[i], fresh), first[i], &members[i]);
}
