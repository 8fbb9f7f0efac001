/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the seam (system.h) that asks the system's key daemon for an association, without waiting. A system that
 * negotiates by itself when it is needed has nobody to ask.
 */
#ifndef WSASEC_LOAD_QUESTION_H
#define WSASEC_LOAD_QUESTION_H

#include "wsasec.h"

#define WSASEC_DETAIL_MAX 248 /* bytes of what there is to say of a failure, with the zero at its end */

struct wsasec_question;

/*
 * Asks that an association be made for a socket to an address, and the names of the socket be held against who is there;
 * nanoseconds: how long that may take. NULL: nobody can be asked; the status says why.
 */
struct wsasec_question *wsasec_question_begin(int32_t socket, const void *address, size_t size, uint64_t nanoseconds,
                                              wsasec_status *status);

/* Becomes readable when there is an answer. */
int32_t wsasec_question_descriptor(const struct wsasec_question *question);

/* Returns 0 while there is no answer, and then 1 with it: status->code 0, or why there is none, with its detail. */
int wsasec_question_answer(struct wsasec_question *question, wsasec_status *status, char detail[WSASEC_DETAIL_MAX]);

/* Ends it, answered or not; NULL is none. */
void wsasec_question_end(struct wsasec_question *question);

/* Whether the failure says nothing of the peer: it may be another the next time. */
int wsasec_question_is_open(const wsasec_status *status);

/* Whether there is somebody to ask in the network namespace of the calling thread. */
int wsasec_question_has_daemon(void);

/* Whether connect() was refused as the names of a secured socket were not held against its peer; or so it may be. */
int wsasec_question_is_for(int32_t socket, int error);

/* Whether the socket may go on in clear where there is no association. */
int wsasec_question_is_optional(int32_t socket);

/* Whether connect() on the socket does not fail where there is no association: what it sends is held until there is. */
int wsasec_question_is_held(int32_t socket);

/*
 * After a connection that failed: the names of the socket are to be held against its next peer, too. Where that cannot
 * be had it can send nothing any more. Waits, but not longer than a second. Returns 0, or 1 where there was no answer.
 */
int wsasec_question_hold(int32_t socket, const void *address, size_t size);

#endif
