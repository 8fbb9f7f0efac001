/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that takes what many connections, or datagrams, bring: for load, tests and measurements. It has threads of
 * its own, which block all signals, and is looked at while it runs.
 */
#ifndef WSASEC_LISTENER_H
#define WSASEC_LISTENER_H

#include "wsasec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is done with what comes in. */
enum wsasec_listener_mode {
    WSASEC_LISTENER_SINK = 0, /* read and thrown away */
    WSASEC_LISTENER_ECHO,     /* sent back; a connection whose peer does not read is not read from either */
    WSASEC_LISTENER_DISCARD,  /* as sink; a connection is closed after discard_after bytes. Streams only */
    WSASEC_LISTENER_MODES
};

/* The socket must be secured: by this process, or, by another one, with the mark of a profile in use. */
#define WSASEC_LISTENER_SECURED UINT32_C(0x1)
/* TCP_NODELAY on accepted sockets. */
#define WSASEC_LISTENER_NODELAY UINT32_C(0x2)

#define WSASEC_LISTENER_THREADS_MAX 256

typedef struct wsasec_listener_spec {
    wsasec_socket socket;   /* listening, or, of SOCK_DGRAM, bound */
    uint32_t mode;          /* enum wsasec_listener_mode */
    uint32_t flags;         /* WSASEC_LISTENER_* */
    uint32_t threads;       /* 1 to WSASEC_LISTENER_THREADS_MAX; connections are dealt to them in turn */
    uint32_t read_size;     /* bytes for one read from a connection; 0: what was measured to be good */
    uint64_t discard_after; /* at least 1 in the mode WSASEC_LISTENER_DISCARD */
} wsasec_listener_spec;

typedef struct wsasec_listener_counts {
    uint64_t accepted;            /* connections */
    uint64_t closed;              /* connections, by whichever side */
    uint64_t resets;              /* connections, of the closed, that ended with an error */
    uint64_t refused;             /* connections closed because their protection could not be seen to */
    uint64_t accept_errors;       /* of accept(): no descriptors, no memory, connections gone meanwhile */
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint64_t received_datagrams;
    uint64_t sent_datagrams;
    uint64_t unsent_datagrams;    /* echoes that the system did not take */
    uint64_t dropped_datagrams;   /* by the kernel: the receive buffer was full, or they came in clear; on Windows 0 */
    uint64_t receive_errors;      /* of the datagram socket */
} wsasec_listener_counts;

typedef struct wsasec_listener wsasec_listener;

/*
 * Starts a listener on a socket, which is its own from then on; after an error it is still the caller's. In a child
 * made by fork() there is no listener: its descriptors are closed there, and the functions below do nothing.
 *
 * Returns NULL with the status filled in: WSAENOTSOCK; WSAEINVAL (specification, not listening or bound, not secured
 * but to be so, secured with SO_REUSEPORT set, or, for datagrams, SO_REUSEADDR), WSAENOBUFS, WSAEMFILE.
 */
wsasec_listener *wsasec_listener_start(const wsasec_listener_spec *spec, wsasec_status *status);

/* The counts up to now; also after wsasec_listener_stop(). */
void wsasec_listener_look(wsasec_listener *listener, wsasec_listener_counts *counts);

/*
 * Waits until so many connections were accepted or the listener was stopped, at most so many nanoseconds. Returns
 * whether that many were accepted.
 */
int wsasec_listener_wait_accepted(wsasec_listener *listener, uint64_t connections, uint64_t nanoseconds);

/* Ends the threads, and closes all sockets. Twice is no error; nor is it from two threads, or while others wait. */
void wsasec_listener_stop(wsasec_listener *listener);

/* Stops the listener, if need be, and frees it; no other thread may use it any more. NULL is none. */
void wsasec_listener_free(wsasec_listener *listener);

#ifdef __cplusplus
}
#endif
#endif
