/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting many sockets: what is tried when, and how long is waited. */
#include "wsasec_connect.h"

#include "../backend.h"
#include "../core/errors.h"
#include "connector.h"
#include "dial.h"

#include <stdlib.h>

enum {
    CONNECTS_A_LOOK = 64, /* from one look at the clock, and at answers, to the next */
    EVENTS_A_LOOK = 256,
    IN_PROGRESS_OF_ONE = 128, /* below the backlogs that listeners usually have */
    IN_PROGRESS_MAX = 4096,
    PROBES_OF_ONE = 4, /* several, as an association may be missing for one source address only */
    PROBES_A_ROUND = 32,
};

static const uint64_t MILLISECOND = UINT64_C(1000000);
static const uint64_t LONGEST_PAUSE = 50 * UINT64_C(1000000);
static const uint64_t LONGEST_WAIT = UINT64_C(1000000000);

static int are_addresses(const wsasec_connect_spec *spec)
{
    if (!spec->addresses || !spec->address_count || spec->address_count > INT32_MAX)
        return 0;
    for (size_t i = 0; i < spec->address_count; i++)
        if (!wsasec_dial_is_address((const unsigned char *)spec->addresses + i * spec->address_size,
                                    spec->address_size))
            return 0;
    return 1;
}

static void set_limits(struct wsasec_connector *connector)
{
    const size_t addresses = connector->spec.address_count;
    size_t limit = connector->spec.concurrency;

    if (!limit)
        limit = addresses < IN_PROGRESS_MAX / IN_PROGRESS_OF_ONE ? addresses * IN_PROGRESS_OF_ONE : IN_PROGRESS_MAX;
    connector->limit = (uint32_t)limit;
    connector->share = (uint32_t)((limit + addresses - 1) / addresses);
}

wsasec_connector *wsasec_connect_begin(const int32_t *sockets, size_t count, const wsasec_connect_spec *spec,
                                       int32_t *errnos, wsasec_status *status)
{
    struct wsasec_connector *connector;
    int error;

    if (count > INT32_MAX || !spec->latency || !spec->wait || !are_addresses(spec)) {
        wsasec_fail(status, WSASEC_STEP_CONNECT, WSASEC_REASON_SPECIFICATION, 0);
        return NULL;
    }
    connector = calloc(1, sizeof *connector);
    if (!connector) {
        wsasec_fail(status, WSASEC_STEP_CONNECT, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    connector->spec = *spec;
    connector->sockets = sockets;
    connector->errnos = errnos;
    connector->count = count;
    connector->began = malloc((count ? count : 1) * sizeof *connector->began);
    if (!connector->began ||
        wsasec_destinations_make(&connector->destinations, (uint32_t)count, (uint32_t)spec->address_count)) {
        wsasec_connect_end(connector);
        wsasec_fail(status, WSASEC_STEP_CONNECT, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    connector->polls = wsasec_polls_open(1, 0, &error);
    if (!connector->polls) {
        wsasec_connect_end(connector);
        wsasec_backend_fail(WSASEC_STEP_CONNECT, error, status);
        return NULL;
    }
    connector->poll = wsasec_polls_at(connector->polls, 0);
    set_limits(connector);
    for (size_t i = 0; i < count; i++)
        errnos[i] = WSASEC_PENDING;
    connector->luck = 1;
    connector->start = wsasec_backend_clock();
    connector->deadline = wsasec_after(connector->start, spec->timeout);
    return connector;
}

/* In vain where there is no daemon: then somebody else may bring the association. */
static void ask_daemon(struct wsasec_connector *connector, struct wsasec_destination *destination)
{
    if (!destination->asked && destination->last != WSASEC_NOBODY)
        (void)wsasec_ask_for_host(connector, destination, destination->last, 0);
}

static void wait_for_association(struct wsasec_connector *connector, struct wsasec_destination *destination)
{
    ask_daemon(connector, destination);
    destination->since = wsasec_backend_clock();
    destination->pause = MILLISECOND;
    destination->due = destination->since + destination->pause;
    if (!connector->destinations.waiting.length || destination->due < connector->round)
        connector->round = destination->due;
    wsasec_queue_push(&connector->destinations, WSASEC_WAITING, destination);
}

void wsasec_put_back(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index)
{
    wsasec_pending_return(&connector->destinations, destination, index);
    if (destination->standing == WSASEC_IDLE)
        wait_for_association(connector, destination);
}

static void go_on(struct wsasec_connector *connector, struct wsasec_destination *destination)
{
    if (destination->pending && destination->in_progress < connector->share)
        wsasec_queue_push(&connector->destinations, WSASEC_READY, destination);
}

/* One socket of each destination in turn. Answers are looked at after a millisecond, or their latency would be off. */
static void start_some(struct wsasec_connector *connector, uint64_t now)
{
    struct wsasec_destinations *destinations = &connector->destinations;

    for (unsigned i = 0; i < CONNECTS_A_LOOK; i++) {
        struct wsasec_destination *destination;
        uint32_t index;

        if (!destinations->ready.length || connector->in_progress >= connector->limit ||
            connector->latest > now + MILLISECOND)
            return;
        destination = wsasec_queue_pop(destinations, WSASEC_READY);
        if (destination->tries)
            destination->tries--;
        index = wsasec_pending_take(destinations, destination);
        if (wsasec_attempt(connector, destination, index)) {
            go_on(connector, destination);
            continue;
        }
        wsasec_pending_return(destinations, destination, index);
        /* After an association was found, each has its turn: others may have another source address. */
        if (destination->tries)
            go_on(connector, destination);
        else
            wait_for_association(connector, destination);
    }
}

/* Tries a few sockets of a destination. Returns whether one was not refused. */
static int probe(struct wsasec_connector *connector, struct wsasec_destination *destination)
{
    const uint32_t most = destination->pending < PROBES_OF_ONE ? destination->pending : PROBES_OF_ONE;
    int found = 0;

    for (uint32_t i = 0; i < most && !found; i++) {
        const uint32_t index = wsasec_pending_take(&connector->destinations, destination);

        found = wsasec_attempt(connector, destination, index);
        if (!found)
            wsasec_pending_return(&connector->destinations, destination, index);
    }
    return found;
}

static void ask_again(struct wsasec_connector *connector, struct wsasec_destination *destination, uint64_t now)
{
    if (probe(connector, destination)) {
        destination->waited += now - destination->since;
        destination->since = 0;
        destination->tries = destination->pending;
        go_on(connector, destination);
        return;
    }
    ask_daemon(connector, destination);
    destination->pause = destination->pause * 2 < LONGEST_PAUSE ? destination->pause * 2 : LONGEST_PAUSE;
    destination->due = wsasec_backend_clock() + destination->pause;
    wsasec_queue_push(&connector->destinations, WSASEC_WAITING, destination);
}

/* Asks destinations without an association whether there is one now; few in a millisecond, however many there are. */
static void probe_some(struct wsasec_connector *connector, uint64_t now)
{
    struct wsasec_queue *waiting = &connector->destinations.waiting;
    uint32_t budget = PROBES_A_ROUND / PROBES_OF_ONE;
    uint64_t next = UINT64_MAX;

    if (!waiting->length || now < connector->round)
        return;
    for (uint32_t i = waiting->length; i; i--) {
        struct wsasec_destination *destination;

        if (!budget) {
            next = now + MILLISECOND;
            break;
        }
        destination = wsasec_queue_pop(&connector->destinations, WSASEC_WAITING);
        if (destination->due > now) {
            wsasec_queue_push(&connector->destinations, WSASEC_WAITING, destination);
        } else {
            ask_again(connector, destination, now);
            budget--;
        }
        if (destination->standing == WSASEC_WAITING && destination->due < next)
            next = destination->due;
    }
    connector->round = next;
}

/*
 * How long there is nothing to do but to wait for answers, in whole milliseconds, rounded up: it is not to spin. A
 * second at the most.
 */
static uint64_t patience(const struct wsasec_connector *connector, uint64_t now, uint64_t slice_end)
{
    uint64_t until = slice_end < connector->deadline ? slice_end : connector->deadline;

    if (connector->destinations.ready.length && connector->in_progress < connector->limit)
        return 0;
    if (connector->destinations.waiting.length && connector->round < until)
        until = connector->round;
    if (connector->in_progress && connector->look < until)
        until = connector->look;
    if (connector->give_up < until)
        until = connector->give_up;
    if (until > now + LONGEST_WAIT)
        until = now + LONGEST_WAIT;
    return until <= now ? 0 : (until - now + MILLISECOND - 1) / MILLISECOND * MILLISECOND;
}

/* Returns -1 where a signal came. */
static int collect(struct wsasec_connector *connector, uint64_t nanoseconds)
{
    struct wsasec_event events[EVENTS_A_LOOK];
    int count;

    if (!nanoseconds && !connector->in_progress && !connector->questions)
        return 0;
    count = wsasec_poll_wait(connector->poll, events, EVENTS_A_LOOK, nanoseconds);
    for (int i = 0; i < count; i++) {
        if (wsasec_is_of_question(events[i].key))
            wsasec_hear(connector, events[i].key);
        else
            wsasec_attempt_look(connector, &events[i]);
    }
    return count < 0 ? -1 : 0;
}

/* Of all without a result, for whom nothing is asked any more. */
static void take_all_back(struct wsasec_connector *connector)
{
    if (!connector->let)
        return;
    for (size_t i = 0; i < connector->count; i++)
        if (connector->errnos[i] < 0)
            wsasec_take_back(connector, (uint32_t)i);
}

static void give_up(struct wsasec_connector *connector)
{
    wsasec_end_questions(connector);
    take_all_back(connector);
    for (size_t i = 0; i < connector->count; i++) {
        const struct wsasec_destination *destination = wsasec_destination_of(connector, (uint32_t)i);
        const int is_waiting = destination->standing == WSASEC_WAITING;

        if (connector->errnos[i] >= 0)
            continue;
        if (connector->errnos[i] == WSASEC_ASKED && is_waiting)
            connector->errnos[i] = WSASEC_PENDING;
        if (connector->errnos[i] == WSASEC_PENDING && (is_waiting || destination->waited))
            connector->waited++;
        connector->errnos[i] = connector->errnos[i] == WSASEC_PENDING && is_waiting ? wsasec_own_errors.no_association
                                                                                  : wsasec_own_errors.no_answer;
        connector->done++;
    }
    connector->in_progress = 0;
}

int wsasec_connect_run(wsasec_connector *connector, uint64_t nanoseconds)
{
    uint64_t now = wsasec_backend_clock();
    const uint64_t slice_end = wsasec_after(now, nanoseconds);

    if (connector->end)
        return 1;
    while (connector->done < connector->count) {
        if (now >= connector->deadline) {
            give_up(connector);
            break;
        }
        if (now >= slice_end)
            return 0;
        connector->give_up = connector->questions ? wsasec_give_up_questions(connector, now) : UINT64_MAX;
        start_some(connector, now);
        probe_some(connector, now);
        wsasec_ask_what_lacks(connector, now);
        if (connector->done < connector->count &&
            collect(connector, patience(connector, wsasec_backend_clock(), slice_end)))
            return 0;
        now = wsasec_backend_clock();
    }
    connector->end = wsasec_backend_clock();
    return 1;
}

void wsasec_connect_look(const wsasec_connector *connector, wsasec_connect_counts *counts)
{
    counts->done = connector->done;
    counts->connected = connector->connected;
    counts->in_progress = connector->in_progress;
    counts->waited = connector->waited;
    counts->nanoseconds = (connector->end ? connector->end : wsasec_backend_clock()) - connector->start;
    if (connector->end)
        return;
    for (uint32_t i = 0; i < connector->destinations.count; i++) {
        if (connector->destinations.all[i].standing == WSASEC_WAITING)
            counts->waited += connector->destinations.all[i].pending;
    }
}

const wsasec_status *wsasec_connect_verdict(const wsasec_connector *connector, size_t address, const char **detail)
{
    const struct wsasec_verdict *verdict =
        address < connector->destinations.count ? connector->destinations.all[address].verdict : NULL;

    if (!verdict)
        return NULL;
    *detail = verdict->detail;
    return &verdict->status;
}

void wsasec_connect_end(wsasec_connector *connector)
{
    if (!connector)
        return;
    wsasec_end_questions(connector);
    if (!connector->end)
        take_all_back(connector);
    free(connector->let);
    wsasec_polls_close(connector->polls);
    wsasec_destinations_free(&connector->destinations);
    free(connector->began);
    free(connector);
}
