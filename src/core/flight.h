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
    struct wsasec_flight *flight; /* NULL: the job takes no overlapped calls */
    unsigned busy;
    int timed_out;
    unsigned free_count;
    uint16_t free[WSASEC_WINDOW];
    struct wsasec_place places[WSASEC_WINDOW];
};

/* Returns NULL after an error in the status. */
struct wsasec_window *wsasec_window_open(const struct wsasec_request *request, wsasec_status *status);

/* Goes on until all is done or the clock says so; sockets are started in their order. */
void wsasec_window_run(struct wsasec_window *window, struct wsasec_job *job, uint64_t end);

/* Whether the socket of an index is under way. */
int wsasec_window_has(const struct wsasec_window *window, size_t index);

/* Gives up what is under way, as its time is over: those sockets fail. */
void wsasec_window_cancel(struct wsasec_window *window, struct wsasec_job *job);

/* NULL is none. */
void wsasec_window_close(struct wsasec_window *window);

#endif
