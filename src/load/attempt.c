/* SPDX-License-Identifier: Apache-2.0 */
/* One connect(), and what its answers mean. */
#include "../backend.h"
#include "connector.h"
#include "dial.h"

/* Second looks at once: so many are made in vain before they are left, and one of so many connects tries again. */
enum { LUCK = 8, CONNECTS_A_TRY = 64 };

struct wsasec_destination *wsasec_destination_of(struct wsasec_connector *connector, uint32_t index)
{
    return &connector->destinations.all[index % connector->destinations.stride];
}

const void *wsasec_address_of(const struct wsasec_connector *connector, uint32_t index)
{
    const wsasec_connect_spec *spec = &connector->spec;

    return (const unsigned char *)spec->addresses + index % spec->address_count * spec->address_size;
}

static int ask(const struct wsasec_connector *connector, uint32_t index, uint32_t events)
{
    return wsasec_dial_ask(connector->sockets[index], wsasec_address_of(connector, index), connector->spec.address_size,
                           events);
}

void wsasec_attempt_settle(struct wsasec_connector *connector, uint32_t index, int error)
{
    struct wsasec_destination *destination = wsasec_destination_of(connector, index);

    if (connector->errnos[index] == WSASEC_IN_PROGRESS) {
        connector->in_progress--;
        destination->in_progress--;
        if (destination->standing == WSASEC_IDLE && destination->pending)
            wsasec_queue_push(&connector->destinations, WSASEC_READY, destination);
    }
    connector->errnos[index] = error;
    connector->done++;
    if (error) {
        wsasec_take_back(connector, index);
        return;
    }
    connector->connected++;
    wsasec_histogram_record(connector->spec.latency, (wsasec_backend_clock() - connector->began[index]) / 1000);
}

/* On the same machine the connection stands before connect() has returned, though it says that it is in progress. */
static int ask_at_once(struct wsasec_connector *connector, uint32_t index, int error)
{
    if (!connector->luck && ++connector->since_try < CONNECTS_A_TRY)
        return error;
    connector->since_try = 0;
    error = ask(connector, index, 0);
    if (!wsasec_dial_is_open(error))
        connector->luck = LUCK;
    else if (connector->luck)
        connector->luck--;
    return error;
}

static void watch(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index)
{
    const int error =
        wsasec_poll_add(connector->poll, connector->sockets[index], index, WSASEC_POLL_OUT | WSASEC_POLL_ONCE);

    if (error) {
        wsasec_attempt_settle(connector, index,
                              error == wsasec_own_errors.added_before ? wsasec_own_errors.under_way : error);
        return;
    }
    connector->errnos[index] = WSASEC_IN_PROGRESS;
    connector->in_progress++;
    destination->in_progress++;
}

static void record_wait(struct wsasec_connector *connector, const struct wsasec_destination *destination, uint64_t now)
{
    const uint64_t current = destination->since ? now - destination->since : 0;

    if (!current && !destination->waited)
        return;
    connector->waited++;
    wsasec_histogram_record(connector->spec.wait, (destination->waited + current) / 1000);
}

/* Sockets that may go on in clear do so only after the daemon was asked. Returns whether it is to be waited for. */
static int waits_for_keys(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index)
{
    if (destination->settled || !wsasec_question_is_optional(connector->sockets[index]))
        return 0;
    if (!destination->asked &&
        wsasec_ask_for_host(connector, destination, index, 1) == WSASEC_ASKED_NOBODY)
        destination->settled = 1;
    return !destination->settled;
}

/* One that was refused as it has names: it is asked for once. Returns as wsasec_attempt(), or -1: it is not so. */
static int ask_for_names(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index,
                         int error)
{
    if (connector->errnos[index] == WSASEC_ASKED || !wsasec_question_is_for(connector->sockets[index], error))
        return -1;
    switch (wsasec_ask_for_socket(connector, destination, index)) {
    case WSASEC_ASKED_NOW:
        connector->errnos[index] = WSASEC_ASKED;
        return 1;
    case WSASEC_ASKED_LATER:
        return 0;
    default:
        return -1;
    }
}

int wsasec_attempt(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index)
{
    const int32_t socket = connector->sockets[index];
    int error = wsasec_dial_check(socket);

    if (error) {
        wsasec_attempt_settle(connector, index, error);
        return 1;
    }
    if (waits_for_keys(connector, destination, index))
        return 0;
    connector->began[index] = connector->latest = wsasec_backend_clock();
    error = wsasec_dial(socket, wsasec_address_of(connector, index), connector->spec.address_size);
    if (error && (wsasec_dial_is_refused(socket, &error) ||
                  (destination->failed && wsasec_dial_is_open(error) && wsasec_question_is_held(socket)))) {
        if (!destination->failed)
            return 0;
        record_wait(connector, destination, connector->began[index]);
        wsasec_attempt_settle(connector, index, wsasec_own_errors.no_association);
        return 1;
    }
    if (error && !wsasec_dial_is_open(error)) {
        const int asked = ask_for_names(connector, destination, index, error);

        if (asked >= 0)
            return asked;
    }
    record_wait(connector, destination, connector->began[index]);
    if (wsasec_dial_is_open(error))
        error = ask_at_once(connector, index, error);
    if (wsasec_dial_is_open(error))
        watch(connector, destination, index);
    else
        wsasec_attempt_settle(connector, index, error);
    return 1;
}

void wsasec_attempt_look(struct wsasec_connector *connector, const struct wsasec_event *event)
{
    const uint32_t index = (uint32_t)event->key;
    int error;

    if (connector->errnos[index] != WSASEC_IN_PROGRESS)
        return;
    error = ask(connector, index, event->events);
    if (wsasec_dial_is_open(error) && !wsasec_poll_change(connector->poll, connector->sockets[index], index,
                                                          WSASEC_POLL_OUT | WSASEC_POLL_ONCE))
        return;
    wsasec_attempt_settle(connector, index, error);
}
