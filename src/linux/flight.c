/* SPDX-License-Identifier: Apache-2.0 */
/* Overlapped calls are Windows'. */
#include "../backend.h"
#include "../core/errors.h"

struct wsasec_flight *wsasec_backend_flight_open(const struct wsasec_request *request, unsigned window,
                                                 wsasec_status *status)
{
    (void)request;
    (void)window;
    wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
    return NULL;
}

/* The following are never called, as there is nothing to call them with. */

int32_t wsasec_backend_flight_start(struct wsasec_flight *flight, unsigned slot, wsasec_socket socket,
                                    wsasec_status *status)
{
    (void)flight;
    (void)slot;
    (void)socket;
    return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
}

int wsasec_backend_flight_land(struct wsasec_flight *flight, uint64_t nanoseconds, unsigned *slot, int32_t *error)
{
    (void)flight;
    (void)nanoseconds;
    (void)slot;
    (void)error;
    return 0;
}

void wsasec_backend_flight_cancel(struct wsasec_flight *flight, unsigned slot)
{
    (void)flight;
    (void)slot;
}

void wsasec_backend_flight_close(struct wsasec_flight *flight)
{
    (void)flight;
}

int32_t wsasec_overlapped_error(wsasec_socket socket, void *overlapped)
{
    (void)socket;
    (void)overlapped;
    return WSASEC_WSAEOPNOTSUPP;
}

void wsasec_overlapped_cancel(wsasec_socket socket, void *overlapped)
{
    (void)socket;
    (void)overlapped;
}
