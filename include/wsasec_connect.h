/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many connects at once: non-blocking, spread over addresses, waiting for security associations. The work is done in
 * slices of time by one thread, so that its owner can look at signals in between, and give it up.
 */
#ifndef WSASEC_CONNECT_H
#define WSASEC_CONNECT_H

#include "wsasec.h"
#include "wsasec_histogram.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is pointed to must live as long as the connector. */
typedef struct wsasec_connect_spec {
    const void *addresses; /* sockaddrs, one behind the other: the socket of index i gets number i % address_count */
    size_t address_count;
    uint32_t address_size; /* of each, in bytes: of a sockaddr_in or of a sockaddr_in6 */
    uint32_t concurrency;  /* at most so many in progress; 0: 128 for each address, and at most 4,096 */
    uint64_t timeout;      /* nanoseconds for all of it */
    /*
     * Of each socket that was connected: from the call of connect() that was not refused for the want of a security
     * association to the moment when this program knew of the connection. Microseconds; added to what is there.
     */
    wsasec_histogram *latency;
    /*
     * Of each socket whose address had no association at first, and then had one: for how long it had none, as this
     * program knows. This comes before what latency counts. Microseconds; added to what is there.
     */
    wsasec_histogram *wait;
} wsasec_connect_spec;

typedef struct wsasec_connect_counts {
    size_t done;          /* connected or failed */
    size_t connected;
    size_t in_progress;
    size_t waited;        /* those in the histogram wait, and those that wait still */
    uint64_t nanoseconds; /* since the beginning, at most to the end */
} wsasec_connect_counts;

typedef struct wsasec_connector wsasec_connector;

/*
 * Gets ready to connect sockets, which must be non-blocking. errnos: room for count results by index, to be read when
 * all is done: 0, or the errno of connect(). Three have a meaning of their own:
 *   EAGAIN     no security association for the address until the deadline
 *   ETIMEDOUT  no answer, or it was not its turn, until the deadline
 *   EBADF      a descriptor of -1, which is passed over
 * And EINVAL is also that of a socket that would block. A socket whose connect() was under way is waited for. All
 * sockets stay open, and those that had no answer stay in progress; but those with names (wsasec.h) whose connection
 * was not made cannot send until they are connected anew.
 *
 * On Windows they are Winsock's: WSAECONNREFUSED, not C's ECONNREFUSED. The three are WSAEWOULDBLOCK, which nothing
 * gives there, as the system itself waits for an association; WSAETIMEDOUT; and WSAENOTSOCK. As nothing tells whether
 * a socket would block, each is made non-blocking.
 *
 * Returns NULL, with the status filled in: WSAEINVAL (specification), WSAENOBUFS, WSAEMFILE (it needs one descriptor).
 */
wsasec_connector *wsasec_connect_begin(const int32_t *sockets, size_t count, const wsasec_connect_spec *spec,
                                       int32_t *errnos, wsasec_status *status);

/*
 * Goes on for about so many nanoseconds, less where a signal comes. Returns 1 when all is done, or the deadline has
 * passed, else 0.
 */
int wsasec_connect_run(wsasec_connector *connector, uint64_t nanoseconds);

void wsasec_connect_look(const wsasec_connector *connector, wsasec_connect_counts *counts);

/*
 * What the key daemon (Linux) said of the address of a number, where it said that there will be no association, or that
 * it belongs to another than a socket's name: NULL, or the status, with what else there is to say. Valid to the end. Such
 * sockets are done at once, with EAGAIN, or with EPERM where they have names.
 */
const wsasec_status *wsasec_connect_verdict(const wsasec_connector *connector, size_t address, const char **detail);

/* Ends it, also one that is not done; errnos is then good for nothing. NULL is none. */
void wsasec_connect_end(wsasec_connector *connector);

#ifdef __cplusplus
}
#endif
#endif
