/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which socket is next: each address has its own sockets that are yet to be connected, and a state. An address that
 * answers slowly, or not at all, or has no security association, does not keep the others' sockets from their turn.
 */
#ifndef WSASEC_LOAD_DESTINATIONS_H
#define WSASEC_LOAD_DESTINATIONS_H

#include <stdint.h>

#define WSASEC_NOBODY UINT32_MAX

enum wsasec_standing {
    WSASEC_IDLE,    /* nothing to be begun, or enough in progress */
    WSASEC_READY,   /* in the queue of those whose next socket can be tried */
    WSASEC_WAITING, /* in the queue of those without a security association */
};

struct wsasec_verdict;

struct wsasec_destination {
    uint64_t since;  /* of WAITING: since when, and when it is asked again */
    uint64_t due;
    uint64_t waited; /* nanoseconds in former times of WAITING */
    uint64_t pause;  /* nanoseconds between this question and the next */
    uint32_t fresh;  /* the first index that was never tried; the next is a stride further */
    uint32_t first;  /* indices that were refused, in their order */
    uint32_t last;
    uint32_t refused; /* how many those are */
    uint32_t pending; /* how many there are of both kinds */
    uint32_t in_progress;
    uint32_t tries; /* of those pending since an association was last found, how many did not have their turn */
    uint32_t next;  /* in its queue */
    uint32_t standing;
    uint8_t asked;   /* the key daemon is asked for an association, for this or another port of the host */
    uint8_t settled; /* it has answered once, or there is none: sockets that may be in clear need not wait */
    uint8_t failed;  /* it said that there will be none */
    struct wsasec_verdict *verdict; /* the last failure, or NULL */
};

struct wsasec_queue {
    uint32_t first;
    uint32_t last;
    uint32_t length;
};

struct wsasec_destinations {
    struct wsasec_destination *all;
    uint32_t *after; /* by index: the next of those that were refused */
    uint32_t count;
    uint32_t stride;
    struct wsasec_queue ready;
    struct wsasec_queue waiting;
};

/* Returns 0, or -1: no memory. count: of sockets; stride: of addresses. */
int wsasec_destinations_make(struct wsasec_destinations *destinations, uint32_t count, uint32_t stride);
void wsasec_destinations_free(struct wsasec_destinations *destinations);

/* Puts a destination, which is in no queue, at the end of one. */
void wsasec_queue_push(struct wsasec_destinations *destinations, unsigned standing, struct wsasec_destination *one);

/* Takes the first of a queue, which must not be empty. */
struct wsasec_destination *wsasec_queue_pop(struct wsasec_destinations *destinations, unsigned standing);

/* Takes an index that is pending: those that were never tried come first. */
uint32_t wsasec_pending_take(struct wsasec_destinations *destinations, struct wsasec_destination *one);

/* Puts an index back that was refused. */
void wsasec_pending_return(struct wsasec_destinations *destinations, struct wsasec_destination *one, uint32_t index);

#endif
