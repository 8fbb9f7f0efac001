/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_LOAD_CONNECTOR_H
#define WSASEC_LOAD_CONNECTOR_H

#include "wsasec_connect.h"

#include "destinations.h"
#include "question.h"
#include "system.h"

/* In errnos, while there is no result. ASKED: the daemon was asked to let this very socket send, which is done once. */
enum { WSASEC_PENDING = -1, WSASEC_IN_PROGRESS = -2, WSASEC_ASKED = -3 };

/* Questions to the key daemon at a time; with each it may negotiate with another peer. */
enum { WSASEC_QUESTIONS = 16 };

struct wsasec_verdict {
    wsasec_status status;
    char detail[WSASEC_DETAIL_MAX];
};

struct wsasec_asking {
    struct wsasec_question *question; /* NULL: the place is free */
    struct wsasec_destination *destination;
    uint32_t index; /* of the socket that it is for alone, or WSASEC_NOBODY: for all of the host */
    uint64_t until; /* when it is given up */
};

struct wsasec_connector {
    const int32_t *sockets;
    int32_t *errnos;
    uint64_t *began; /* by index: when the connect() was called that is in progress */
    wsasec_connect_spec spec;
    struct wsasec_destinations destinations;
    size_t count;
    size_t done;
    size_t connected;
    size_t waited;
    uint64_t latest; /* when connect() was last called for a socket that was not in progress */
    uint32_t in_progress;
    uint32_t limit;     /* of those in progress */
    uint32_t share;     /* of it, for one destination */
    uint32_t luck;      /* how often a second look at once is still worth it */
    uint32_t since_try; /* connects since luck was last tried */
    struct wsasec_polls *polls;
    struct wsasec_poll *poll; /* the only one of them */
    struct wsasec_asking asking[WSASEC_QUESTIONS];
    uint32_t questions;  /* how many of them are under way */
    uint64_t give_up;    /* when the next of them is given up */
    uint8_t *let;        /* by index: the daemon lets this very socket send, or may do so yet; NULL: none */
    uint64_t holding;    /* nanoseconds that it took to have that taken back */
    int is_deaf;         /* the daemon is not asked any more to take it back */
    uint64_t start;
    uint64_t deadline;
    uint64_t end;   /* 0 while it runs */
    uint64_t round; /* when the destinations without an association are looked at next */
    uint64_t look;  /* when those in progress are, for whose packets there may be none */
};

/*
 * Calls connect() for an index of a destination. Returns 1 where it is done or in progress, 0 where it was refused
 * for the want of a security association.
 */
int wsasec_attempt(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index);

/* What became of asking the key daemon. */
enum wsasec_asked {
    WSASEC_ASKED_NOBODY, /* there is none */
    WSASEC_ASKED_LATER,  /* it has enough to do */
    WSASEC_ASKED_NOW     /* its answer comes */
};

/* Asks for an association of the host of a destination, by a socket of that; once at a time. */
enum wsasec_asked wsasec_ask_for_host(struct wsasec_connector *connector, struct wsasec_destination *destination,
                                      uint32_t index, int optional);

/* Asks for the one socket alone, which then is nobody's until the answer comes. */
enum wsasec_asked wsasec_ask_for_socket(struct wsasec_connector *connector, struct wsasec_destination *destination,
                                        uint32_t index);

/*
 * Where connect() does not fail without an association (wsasec_question_is_held()): asks what lacks for sockets that have
 * been in progress for a second, and ends those of which that is known.
 */
void wsasec_ask_what_lacks(struct wsasec_connector *connector, uint64_t now);

/* Something was told of a question, by its key in the poll. */
int wsasec_is_of_question(uint64_t key);
void wsasec_hear(struct wsasec_connector *connector, uint64_t key);

/* Gives up those whose time is over. Returns when that of the next is, or UINT64_MAX. */
uint64_t wsasec_give_up_questions(struct wsasec_connector *connector, uint64_t now);
void wsasec_end_questions(struct wsasec_connector *connector);

/* After a failure: a socket that the daemon lets send cannot any more, until its names were held against its peer. */
void wsasec_take_back(struct wsasec_connector *connector, uint32_t index);

/* A socket that is in no queue, and was refused: it waits. */
void wsasec_put_back(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index);

struct wsasec_destination *wsasec_destination_of(struct wsasec_connector *connector, uint32_t index);
const void *wsasec_address_of(const struct wsasec_connector *connector, uint32_t index);

/* Looks at an index in progress of which something was told. */
void wsasec_attempt_look(struct wsasec_connector *connector, const struct wsasec_event *event);

/* Writes a result down. */
void wsasec_attempt_settle(struct wsasec_connector *connector, uint32_t index, int error);

#endif
