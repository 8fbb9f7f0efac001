/* SPDX-License-Identifier: Apache-2.0 */
#include "flight.h"

#include <stdlib.h>

#include "errors.h"
#include "job.h"

/* How long calls that are given up may take to say so. */
static const uint64_t PATIENCE = UINT64_C(2000000000);
/* The longest wait for one, so that the clock is looked at. */
static const uint64_t MOMENT = UINT64_C(20000000);

enum { SOCKETS_A_LOOK = 64 };

struct wsasec_window *wsasec_window_open(const struct wsasec_request *request, wsasec_status *status)
{
    struct wsasec_window *window = calloc(1, sizeof *window);

    if (!window) {
        wsasec_fail(status, WSASEC_STEP_SECURE, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    window->flight = wsasec_backend_flight_open(request, WSASEC_WINDOW, status);
    if (!window->flight) {
        free(window);
        return NULL;
    }
    while (window->free_count < WSASEC_WINDOW) {
        window->free[window->free_count] = (uint16_t)(WSASEC_WINDOW - 1 - window->free_count);
        window->free_count++;
    }
    return window;
}

static void end(struct wsasec_job *job, size_t index, const struct wsasec_facts *facts, int32_t code,
                wsasec_status *status)
{
    code = wsasec_conclude(&job->request, facts, job->sockets[index], code, status);
    wsasec_lane_note(&job->lanes[0], index, code, status);
}

static void start(struct wsasec_window *window, struct wsasec_job *job, size_t index)
{
    const wsasec_socket socket = job->sockets[index];
    const unsigned slot = window->free[window->free_count - 1];
    struct wsasec_facts facts;
    wsasec_status status;
    int32_t code;

    if (wsasec_inspect(&job->request, socket, &facts, &status)) {
        wsasec_lane_note(&job->lanes[0], index, wsasec_uninspected(socket, &status), &status);
        return;
    }
    code = wsasec_admit(&job->request, &facts, socket, &status);
    if (code) {
        wsasec_lane_note(&job->lanes[0], index, code, &status);
        return;
    }
    code = wsasec_backend_flight_start(window->flight, slot, socket, &status);
    if (!code || status.reason != WSASEC_REASON_PENDING) {
        end(job, index, &facts, code, &status);
        return;
    }
    window->free_count--;
    window->busy++;
    window->places[slot].busy = 1;
    window->places[slot].index = index;
    window->places[slot].identity = facts.identity;
}

/* Returns whether a call was completed within the time. */
static int land(struct wsasec_window *window, struct wsasec_job *job, uint64_t nanoseconds)
{
    struct wsasec_facts facts = {0};
    struct wsasec_place *place;
    wsasec_status status;
    unsigned slot;
    int32_t error;
    int32_t code = 0;

    if (!wsasec_backend_flight_land(window->flight, nanoseconds, &slot, &error))
        return 0;
    place = &window->places[slot];
    place->busy = 0;
    window->busy--;
    window->free[window->free_count++] = (uint16_t)slot;
    facts.identity = place->identity;
    if (error && window->given_up)
        code = wsasec_fail(&status, WSASEC_STEP_SECURE, WSASEC_REASON_TIMED_OUT, error);
    else if (error)
        code = wsasec_backend_fail(WSASEC_STEP_SECURE, error, &status);
    end(job, place->index, &facts, code, &status);
    return 1;
}

void wsasec_window_run(struct wsasec_window *window, struct wsasec_job *job, uint64_t until)
{
    uint64_t now = wsasec_backend_clock();

    while (now < until && (window->busy || job->next < job->count)) {
        for (unsigned i = 0; i < SOCKETS_A_LOOK && window->free_count && job->next < job->count; i++)
            start(window, job, job->next++);
        now = wsasec_backend_clock();
        if (window->busy && (!window->free_count || job->next == job->count) && now < until)
            (void)land(window, job, until - now < MOMENT ? until - now : MOMENT);
        while (window->busy && land(window, job, 0))
            continue;
        now = wsasec_backend_clock();
    }
}

unsigned wsasec_window_under_way(const struct wsasec_window *window)
{
    return window && !window->given_up ? window->busy : 0;
}

void wsasec_window_give_up(struct wsasec_window *window, struct wsasec_job *job)
{
    const uint64_t until = wsasec_after(wsasec_backend_clock(), PATIENCE);
    wsasec_status status;

    window->given_up = 1;
    for (unsigned slot = 0; slot < WSASEC_WINDOW; slot++)
        if (window->places[slot].busy)
            wsasec_backend_flight_cancel(window->flight, slot);
    while (window->busy && wsasec_backend_clock() < until)
        (void)land(window, job, MOMENT);
    /* Nobody waits for the rest any more: what those sockets come to is settled now. */
    for (unsigned slot = 0; slot < WSASEC_WINDOW; slot++) {
        const struct wsasec_place *place = &window->places[slot];
        const struct wsasec_facts facts = {.identity = place->identity};

        if (place->busy)
            end(job, place->index, &facts, wsasec_fail(&status, WSASEC_STEP_SECURE, WSASEC_REASON_TIMED_OUT, 0),
                &status);
    }
}

void wsasec_window_close(struct wsasec_window *window)
{
    if (!window)
        return;
    wsasec_backend_flight_close(window->flight);
    free(window);
}
