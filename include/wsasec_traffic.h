/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traffic over many connected sockets, made by threads of its own: a stream in bulk, requests and their responses,
 * or datagrams. Start it, wait for it, take the results, end it. The sockets may be blocking or not, their
 * flags are not touched, and they are not closed; nobody else may use them meanwhile. On Windows, where no call can
 * be told not to wait, they are made non-blocking and stay so.
 */
#ifndef WSASEC_TRAFFIC_H
#define WSASEC_TRAFFIC_H

#include "wsasec.h"
#include "wsasec_histogram.h"

#ifdef __cplusplus
extern "C" {
#endif

enum wsasec_traffic_kind {
    WSASEC_TRAFFIC_STREAM = 1, /* as many bytes as the sockets take; what comes back is read and thrown away */
    WSASEC_TRAFFIC_REQUESTS,   /* messages that the peer answers with as many bytes; one at a time a socket */
    WSASEC_TRAFFIC_DATAGRAMS   /* datagrams; what the peer echoes is counted */
};

enum wsasec_traffic_phase {
    WSASEC_TRAFFIC_SET_UP = 0,
    WSASEC_TRAFFIC_WARM_UP,
    WSASEC_TRAFFIC_MEASURED,
    WSASEC_TRAFFIC_DRAIN, /* nothing new is sent; responses and echoes are waited for */
    WSASEC_TRAFFIC_DONE
};

#define WSASEC_TRAFFIC_MESSAGE_MAX (UINT32_C(1) << 24)
#define WSASEC_TRAFFIC_DATAGRAM_MAX UINT32_C(65507)
#define WSASEC_TRAFFIC_THREADS_MAX 1024
#define WSASEC_TRAFFIC_RATE_MIN 1e-3
#define WSASEC_TRAFFIC_RATE_MAX 1e12

typedef struct wsasec_traffic_spec {
    uint32_t kind;          /* enum wsasec_traffic_kind */
    uint32_t threads;       /* the sockets are dealt out to them in turn; never more than there are sockets */
    uint32_t message_bytes; /* handed to the kernel at once; of a request; of a datagram */
    uint32_t reserved;
    uint64_t warm_up; /* nanoseconds before anything is measured */
    uint64_t run;     /* nanoseconds that are measured */
    uint64_t drain;   /* nanoseconds at most for what is still on its way then */
    /*
     * Of all sockets together, a second: bytes of streams, requests, or datagrams, from WSASEC_TRAFFIC_RATE_MIN to
     * WSASEC_TRAFFIC_RATE_MAX; 0: no limit. Requests then have
     * a schedule: each socket its own, evenly spread, and a latency counts from the time at which the request
     * should have been sent, also where an earlier one held it up.
     */
    double rate;
} wsasec_traffic_spec;

/* Live counts, all since the beginning, warm-up and drain included. */
typedef struct wsasec_traffic_counts {
    uint64_t elapsed; /* nanoseconds */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    uint64_t sent_messages;     /* requests and datagrams sent; of streams, calls of send() */
    uint64_t received_messages; /* whole responses, echoes */
    uint64_t without_sa;        /* attempts refused although there was room: no security association */
    uint64_t stale;             /* datagrams received that this run did not send */
    uint32_t open;              /* sockets that take part */
    uint32_t failed;
    uint32_t phase; /* enum wsasec_traffic_phase, of the thread that is least far */
    uint32_t reserved;
} wsasec_traffic_counts;

/* What the measured time had. */
typedef struct wsasec_traffic_result {
    uint64_t measured;   /* nanoseconds; less than asked for where all sockets had failed */
    /* Of streams, those that the peers acknowledged in it (Windows: that the system took); else of the messages. */
    uint64_t bytes;
    uint64_t messages;   /* requests answered in it, datagrams sent in it */
    uint64_t unanswered; /* requests of it that had no response when the drain was over, or whose socket failed */
    uint64_t unsent;     /* requests of the schedule that were due in it, and held up beyond its end */
} wsasec_traffic_result;

/* One socket, by its index. */
typedef struct wsasec_traffic_socket {
    uint64_t bytes; /* as in wsasec_traffic_result */
    uint64_t messages;
    /*
     * An errno: the socket failed, and took no part any more; EPIPE also where the peer ended. On Windows as
     * WSAGetLastError() has it, and WSAEDISCON.
     */
    int32_t error;
    uint32_t unclean; /* 1: a response is still outstanding, so the socket cannot be used for another run */
} wsasec_traffic_socket;

typedef struct wsasec_traffic wsasec_traffic;

/*
 * Starts the threads; the array of sockets is copied. -1 for "no socket" is reported as EBADF (Windows: WSAENOTSOCK).
 * Returns NULL, with the status filled in: WSAEINVAL (specification), WSAENOBUFS (no memory), WSAEMFILE, or what
 * the system said.
 */
wsasec_traffic *wsasec_traffic_start(const int32_t *sockets, size_t count, const wsasec_traffic_spec *spec,
                                     wsasec_status *status);

/* Waits so many nanoseconds at most. Returns 1 when all is over, else 0; in a forked child at once -1. */
int wsasec_traffic_wait(wsasec_traffic *traffic, uint64_t nanoseconds);

void wsasec_traffic_look(const wsasec_traffic *traffic, wsasec_traffic_counts *counts);

/*
 * The results, after wsasec_traffic_wait() returned 1. sockets: NULL, or room for as many as there are; latency:
 * NULL, or where the latencies are added, in microseconds: of requests that were due (without a schedule: begun) in
 * the measured time, answered in the drain or before; of echoes of datagrams that were sent in it.
 */
void wsasec_traffic_results(const wsasec_traffic *traffic, wsasec_traffic_result *result,
                            wsasec_traffic_socket *sockets, wsasec_histogram *latency);

/* Stops what is still going on, without a drain, and frees everything. In a forked child the parent goes on. */
void wsasec_traffic_end(wsasec_traffic *traffic);

#ifdef __cplusplus
}
#endif
#endif
