/* SPDX-License-Identifier: Apache-2.0 */
/* A job by overlapped calls: a window of them is under way, and what becomes of them is written down by index. */
#ifndef WSASEC_CORE_FLIGHT_H
#define WSASEC_CORE_FLIGHT_H

#include "../backend.h"

struct wsasec_job;

struct wsasec_place {
    size_t index; /* of the socket */
    uint64_t identity;
    int busy;
};

struct wsasec_window {
    struct wsasec_flight *flight;
    unsigned busy;
    int given_up; /* what is still busy then is the flight's affair, and no longer the job's */
    unsigned free_count;
    uint16_t free[WSASEC_WINDOW];
    struct wsasec_place places[WSASEC_WINDOW];
};

/* Returns NULL after an error in the status. */
struct wsasec_window *wsasec_window_open(const struct wsasec_request *request, wsasec_status *status);

/* Goes on until all is done or the clock says so; sockets are started in their order. */
void wsasec_window_run(struct wsasec_window *window, struct wsasec_job *job, uint64_t end);

/* How many calls of the job are under way; a NULL window has none. */
unsigned wsasec_window_under_way(const struct wsasec_window *window);

/* Gives up what is under way, as its time is over: those sockets fail, also where a call does not end. */
void wsasec_window_give_up(struct wsasec_window *window, struct wsasec_job *job);

/* NULL is none. Calls that did not end go on with memory of their own. */
void wsasec_window_close(struct wsasec_window *window);

#endif
