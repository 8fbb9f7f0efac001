/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds of traffic share. A thread has sockets of its own and touches no others; it counts in words that
 * only it writes. The sockets that may be served stand in a ring, and each gets one turn after the other.
 */
#ifndef WSASEC_LOAD_TRAFFIC_H
#define WSASEC_LOAD_TRAFFIC_H

#include <stdatomic.h>

#include "../backend.h"
#include "packets.h"
#include "system.h"
#include "tally.h"
#include "wsasec_traffic.h"

#define TRAFFIC_SECOND UINT64_C(1000000000)
#define TRAFFIC_NOBODY UINT32_MAX

enum {
    TRAFFIC_EVENTS = 128,
    TRAFFIC_TRASH = 256 << 10, /* where received bytes go */
    TRAFFIC_BACKOFFS = 7
};

struct traffic_socket {
    int32_t fd;
    int32_t error;
    uint32_t behind; /* the next in the same list of those held back */
    uint8_t queued;  /* in the ring */
    uint8_t held;    /* in a list of those held back */
    uint8_t backoff; /* which list comes next */
    uint8_t busy;    /* request: one is outstanding */
    uint8_t alone;   /* datagrams: how many are sent one by one */
    uint64_t bytes;  /* measured */
    uint64_t messages;
    uint64_t sequence;       /* how many requests or datagrams were begun */
    uint64_t due;            /* when a request should have been sent; when one that is held back is tried again */
    uint64_t unacknowledged; /* stream: bytes, when measuring began */
    uint32_t to_send; /* request: bytes left */
    uint32_t to_receive;
};

struct traffic_counters {
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t sent_messages;
    _Atomic uint64_t received_messages;
    _Atomic uint64_t without_sa;
    _Atomic uint64_t stale;
    _Atomic uint64_t failed;
    _Atomic uint32_t phase;
};

/* Those held back together, in the order in which their time comes. */
struct traffic_list {
    uint32_t first;
    uint32_t last;
};

struct traffic_thread {
    struct wsasec_traffic *run;
    struct traffic_socket *sockets;
    uint32_t *ring;
    uint8_t *trash;
    struct wsasec_packets *packets; /* of datagrams */
    struct wsasec_poll *poll;
    struct wsasec_thread id;
    uint32_t number;
    uint32_t count;
    uint32_t live;
    uint32_t outstanding; /* requests */
    uint32_t head;
    uint32_t queued;
    int measuring;
    uint64_t now;
    uint64_t sweep; /* when all that wait are tried, whatever was told of them */
    double pace;    /* when the next message may go */
    double interval; /* nanoseconds a message (stream: a byte) of this thread; 0: no limit */
    uint64_t visits; /* of the schedule of requests */
    uint64_t measured_from;
    uint64_t measured_to;
    uint64_t unanswered;
    uint64_t unsent;
    struct traffic_list held[TRAFFIC_BACKOFFS];
    struct wsasec_event events[TRAFFIC_EVENTS];
    struct traffic_counters counters;
    wsasec_histogram latency;
};

struct wsasec_traffic {
    wsasec_traffic_spec spec;
    size_t count;
    uint32_t threads;
    uint32_t started; /* threads that there are */
    uint64_t owner; /* the process */
    struct wsasec_polls *polls; /* by thread */
    uint8_t *message; /* what is sent, page-aligned */
    atomic_int stopped;
    struct wsasec_gate *gate;
    uint32_t ready; /* under its lock: threads that are set up; and that are done */
    uint32_t done;
    _Atomic uint64_t begin; /* the same for all threads; 0: not yet */
    uint64_t warm; /* end of the warm-up, of the run, of the drain */
    uint64_t end;
    uint64_t last;
    struct traffic_thread *thread;
};

/* Looks at the clock and changes the phase. Returns whether sending goes on. */
int traffic_goes_on(struct traffic_thread *thread);

/* Whether responses are still to be waited for. */
int traffic_drains(struct traffic_thread *thread);

/* When the warm-up or the run is over, whichever comes next. */
uint64_t traffic_phase_end(const struct traffic_thread *thread);

/* Whether it is time to try everything that waits; once a second. */
int traffic_sweeps(struct traffic_thread *thread);

/* Takes a socket out, with its errno. */
void traffic_fail(struct traffic_thread *thread, uint32_t slot, int error);

/* traffic_ready.c: who may be served. */

/* Asks for other events of a socket; also for those that are there already. */
void traffic_watch(struct traffic_thread *thread, uint32_t slot, uint32_t events);
/* It was found empty (WSASEC_POLL_IN), or full (WSASEC_POLL_OUT). */
static inline void traffic_watch_again(struct traffic_thread *thread, uint32_t slot, uint32_t events)
{
    wsasec_poll_again(thread->poll, thread->sockets[slot].fd, events);
}
/* Nothing more could be received, with an error: waits for more, or has the socket fail. */
void traffic_no_more(struct traffic_thread *thread, uint32_t slot, int error);
void traffic_queue(struct traffic_thread *thread, uint32_t slot);
/* Takes the next in turn; TRAFFIC_NOBODY if there is none. */
uint32_t traffic_next(struct traffic_thread *thread);
/* Takes a socket off for a time whose end nobody tells: 1 ms, then longer up to 50 ms. */
void traffic_hold_back(struct traffic_thread *thread, uint32_t slot);
/*
 * Waits until something happens, the time has come, or the run is stopped; queues those whose time to be held back
 * is over. Returns how many events there are.
 */
int traffic_wait(struct traffic_thread *thread, uint64_t until);

/* traffic_pace.c: the limit of a rate. */

void traffic_pace_begin(struct traffic_thread *thread);
/* How many messages (stream: bytes, of which one is enough to send) may go now, most at most. */
uint32_t traffic_pace_due(const struct traffic_thread *thread, uint32_t most);
void traffic_pace_spend(struct traffic_thread *thread, uint64_t amount);

/* The kinds: what a thread does from the beginning to the end. */
void traffic_stream(struct traffic_thread *thread);
void traffic_stream_measure(struct traffic_thread *thread);
void traffic_stream_measured(struct traffic_thread *thread);
void traffic_requests(struct traffic_thread *thread);
void traffic_datagrams(struct traffic_thread *thread);

#endif
