/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the key daemon, while the loop goes on: for a host that has no association yet, once for all its sockets and
 * ports; and for single sockets whose names must be held against their peer.
 */
#include "../backend.h"
#include "connector.h"

#include <stdlib.h>
#include <string.h>

/* Keys of questions in the poll: no index of a socket is as large. */
static const uint64_t FIRST_KEY = UINT64_C(1) << 40;
/* The daemon is to answer before the deadline, so that it is told why. */
static const uint64_t MARGIN = UINT64_C(100000000);
/* How long a connection is in progress before it is asked what lacks: longer than a negotiation takes. */
static const uint64_t PATIENCE = UINT64_C(1000000000);
/* From one look at all sockets to the next. */
static const uint64_t SHORTEST_LOOK = UINT64_C(50000000);
/*
 * The longest that a socket which may go on in clear waits for keys: the most that first_seconds of the daemon's
 * configuration can be. After first_seconds the daemon itself says that there are none.
 */
static const uint64_t LONGEST_TRY = UINT64_C(300000000000);
/* What a connector waits for the daemon to close gates, all in all; sockets after that can send nothing any more. */
static const uint64_t LONGEST_HOLDING = UINT64_C(1000000000);

static const unsigned char *address_of(const struct wsasec_connector *connector,
                                       const struct wsasec_destination *destination)
{
    return wsasec_address_of(connector, (uint32_t)(destination - connector->destinations.all));
}

/* All but the port, and IPv6's flow: at the same places on every system. */
static int is_same_host(const struct wsasec_connector *connector, const struct wsasec_destination *one,
                        const struct wsasec_destination *other)
{
    enum { SIZE4 = 16, ADDRESS4 = 4, ADDRESS6 = 8 };
    const unsigned char *a = address_of(connector, one);
    const unsigned char *b = address_of(connector, other);

    if (one == other)
        return 1;
    return connector->spec.address_size == SIZE4
               ? memcmp(a + ADDRESS4, b + ADDRESS4, 4) == 0
               : memcmp(a + ADDRESS6, b + ADDRESS6, connector->spec.address_size - ADDRESS6) == 0;
}

static struct wsasec_asking *find_place(struct wsasec_connector *connector)
{
    for (uint32_t i = 0; i < WSASEC_QUESTIONS; i++)
        if (!connector->asking[i].question)
            return &connector->asking[i];
    return NULL;
}

static uint64_t key_of(const struct wsasec_connector *connector, const struct wsasec_asking *asking)
{
    return FIRST_KEY + (uint64_t)(asking - connector->asking);
}

static int watch(struct wsasec_connector *connector, const struct wsasec_asking *asking)
{
    return wsasec_poll_add(connector->poll, wsasec_question_descriptor(asking->question), key_of(connector, asking),
                           WSASEC_POLL_IN | WSASEC_POLL_ONCE);
}

static void end(struct wsasec_connector *connector, struct wsasec_asking *asking)
{
    wsasec_question_end(asking->question);
    asking->question = NULL;
    connector->questions--;
}

static enum wsasec_asked ask(struct wsasec_connector *connector, struct wsasec_destination *destination,
                             uint32_t index, uint32_t owner, int optional)
{
    const uint64_t now = wsasec_backend_clock();
    struct wsasec_asking *asking = find_place(connector);
    uint64_t left = connector->deadline > now ? connector->deadline - now : 0;
    wsasec_status status;

    if (!asking)
        return WSASEC_ASKED_LATER;
    if (optional) /* there must be time left for a connection in clear */
        left = left / 2 < LONGEST_TRY ? left / 2 : LONGEST_TRY;
    asking->until = optional ? now + left : UINT64_MAX;
    left -= left / 10 < MARGIN ? left / 10 : MARGIN;
    asking->question = wsasec_question_begin(connector->sockets[index], wsasec_address_of(connector, index),
                                             connector->spec.address_size, left, &status);
    if (!asking->question)
        return status.reason == WSASEC_REASON_DAEMON_BUSY ? WSASEC_ASKED_LATER : WSASEC_ASKED_NOBODY;
    asking->destination = destination;
    asking->index = owner;
    connector->questions++;
    if (watch(connector, asking)) {
        end(connector, asking);
        return WSASEC_ASKED_NOBODY;
    }
    if (asking->until < connector->give_up)
        connector->give_up = asking->until;
    return WSASEC_ASKED_NOW;
}

enum wsasec_asked wsasec_ask_for_host(struct wsasec_connector *connector, struct wsasec_destination *destination,
                                      uint32_t index, int optional)
{
    enum wsasec_asked asked;

    for (uint32_t i = 0; i < WSASEC_QUESTIONS; i++) {
        const struct wsasec_asking *other = &connector->asking[i];

        if (other->question && other->index == WSASEC_NOBODY &&
            is_same_host(connector, destination, other->destination)) {
            destination->asked = 1;
            return WSASEC_ASKED_NOW;
        }
    }
    asked = ask(connector, destination, index, WSASEC_NOBODY, optional);
    destination->asked = asked == WSASEC_ASKED_NOW;
    return asked;
}

enum wsasec_asked wsasec_ask_for_socket(struct wsasec_connector *connector, struct wsasec_destination *destination,
                                        uint32_t index)
{
    enum wsasec_asked asked;

    if (!connector->let)
        connector->let = calloc(connector->count, 1);
    if (!connector->let)
        return WSASEC_ASKED_NOBODY;
    asked = ask(connector, destination, index, index, 0);
    /* It may open the gate, and its answer be too late. */
    if (asked == WSASEC_ASKED_NOW)
        connector->let[index] = 1;
    return asked;
}

void wsasec_take_back(struct wsasec_connector *connector, uint32_t index)
{
    const uint64_t begin = wsasec_backend_clock();

    if (!connector->let || !connector->let[index])
        return;
    connector->let[index] = 0;
    if (connector->is_deaf) {
        (void)wsasec_backend_block(connector->sockets[index]);
        return;
    }
    if (wsasec_question_hold(connector->sockets[index], wsasec_address_of(connector, index),
                             connector->spec.address_size))
        connector->is_deaf = 1;
    connector->holding += wsasec_backend_clock() - begin;
    if (connector->holding >= LONGEST_HOLDING)
        connector->is_deaf = 1;
}

/* What cannot be remembered, for the want of memory, is told by its errno alone. */
static void remember(struct wsasec_destination *destination, const wsasec_status *status, const char *detail)
{
    if (!destination->verdict)
        destination->verdict = calloc(1, sizeof *destination->verdict);
    if (!destination->verdict)
        return;
    destination->verdict->status = *status;
    memcpy(destination->verdict->detail, detail, sizeof destination->verdict->detail);
}

/* For all ports of the host: they are looked at at once. */
static void settle_host(struct wsasec_connector *connector, struct wsasec_destination *asker,
                        const wsasec_status *status, const char *detail)
{
    const uint64_t now = wsasec_backend_clock();

    connector->look = now; /* those in progress may end now */
    for (uint32_t i = 0; i < connector->destinations.count; i++) {
        struct wsasec_destination *destination = &connector->destinations.all[i];

        if (!is_same_host(connector, destination, asker))
            continue;
        destination->settled = 1;
        if (status->code && !wsasec_question_is_open(status)) {
            destination->failed = 1;
            remember(destination, status, detail);
        }
        if (!destination->asked)
            continue;
        destination->asked = 0;
        /* Without an answer they are looked at as ever: the daemon may be asked again then. */
        if (destination->standing == WSASEC_WAITING && !(status->code && wsasec_question_is_open(status))) {
            destination->due = now;
            connector->round = now;
        }
    }
}

static void settle_socket(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index,
                          const wsasec_status *status, const char *detail)
{
    if (status->code)
        remember(destination, status, detail);
    if (status->code && !wsasec_question_is_open(status))
        connector->let[index] = 0;
    /* Also after a failure: connect() itself says what there is then. */
    if (!wsasec_attempt(connector, destination, index))
        wsasec_put_back(connector, destination, index);
}

/* Asks, for a socket that has long been in progress. Returns when it is to be looked at again, or UINT64_MAX. */
static uint64_t ask_what_lacks(struct wsasec_connector *connector, uint32_t index, uint64_t now)
{
    struct wsasec_destination *destination = wsasec_destination_of(connector, index);
    const uint64_t due = wsasec_after(connector->began[index], PATIENCE);

    if (destination->failed) {
        if (wsasec_question_is_held(connector->sockets[index]))
            wsasec_attempt_settle(connector, index, wsasec_own_errors.no_association);
        return UINT64_MAX;
    }
    if (destination->settled || destination->asked)
        return UINT64_MAX;
    if (due > now)
        return due;
    if (!wsasec_question_is_held(connector->sockets[index]))
        return UINT64_MAX;
    switch (wsasec_ask_for_host(connector, destination, index, 0)) {
    case WSASEC_ASKED_LATER:
        return now;
    case WSASEC_ASKED_NOBODY:
        destination->settled = 1;
        break;
    default:
        break;
    }
    return UINT64_MAX;
}

void wsasec_ask_what_lacks(struct wsasec_connector *connector, uint64_t now)
{
    uint32_t left = connector->in_progress;
    uint64_t next = UINT64_MAX;

    if (now < connector->look)
        return;
    for (size_t i = 0; left && i < connector->count; i++) {
        uint64_t due;

        if (connector->errnos[i] != WSASEC_IN_PROGRESS)
            continue;
        left--;
        due = ask_what_lacks(connector, (uint32_t)i, now);
        if (due < next)
            next = due;
    }
    if (next > wsasec_after(now, PATIENCE))
        next = wsasec_after(now, PATIENCE);
    connector->look = next < now + SHORTEST_LOOK ? now + SHORTEST_LOOK : next;
}

int wsasec_is_of_question(uint64_t key)
{
    return key >= FIRST_KEY && key < FIRST_KEY + WSASEC_QUESTIONS;
}

static void settle(struct wsasec_connector *connector, struct wsasec_asking *asking, const wsasec_status *status,
                   const char *detail)
{
    struct wsasec_destination *const destination = asking->destination;
    const uint32_t index = asking->index;

    end(connector, asking);
    if (index == WSASEC_NOBODY)
        settle_host(connector, destination, status, detail);
    else
        settle_socket(connector, destination, index, status, detail);
}

void wsasec_hear(struct wsasec_connector *connector, uint64_t key)
{
    struct wsasec_asking *asking = &connector->asking[key - FIRST_KEY];
    char detail[WSASEC_DETAIL_MAX];
    wsasec_status status;

    if (!asking->question)
        return;
    /* The connection may be used again for the next question. */
    wsasec_poll_remove(connector->poll, wsasec_question_descriptor(asking->question));
    if (wsasec_question_answer(asking->question, &status, detail))
        settle(connector, asking, &status, detail);
    else
        (void)watch(connector, asking);
}

uint64_t wsasec_give_up_questions(struct wsasec_connector *connector, uint64_t now)
{
    const wsasec_status silent = {.code = -WSASEC_WSAETIMEDOUT,
                                  .step = WSASEC_STEP_NEGOTIATE,
                                  .reason = WSASEC_REASON_DAEMON_SILENT};
    uint64_t next = UINT64_MAX;

    for (uint32_t i = 0; i < WSASEC_QUESTIONS; i++) {
        struct wsasec_asking *asking = &connector->asking[i];

        if (!asking->question)
            continue;
        if (asking->until <= now)
            settle(connector, asking, &silent, "");
        else if (asking->until < next)
            next = asking->until;
    }
    return next;
}

void wsasec_end_questions(struct wsasec_connector *connector)
{
    for (uint32_t i = 0; i < WSASEC_QUESTIONS; i++)
        if (connector->asking[i].question)
            end(connector, &connector->asking[i]);
}
