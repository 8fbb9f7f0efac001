/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_SECURE_H
#define WSASEC_CORE_SECURE_H

#include "../backend.h"
#include "sockets.h"

/* Checks that a socket's family and type can be secured. */
int32_t wsasec_check_kind(const struct wsasec_facts *facts, wsasec_status *status);

/* Where wsasec_backend_ready() was asked last, what it answered, and for how many more sockets that is taken. */
struct wsasec_readiness {
    uint64_t realm;
    uint32_t left;
    uint8_t family;
    uint8_t lacking; /* what must be in force is the broker's affair, which is asked first */
    uint32_t device; /* as in the facts */
    uint32_t alone;  /* for how many more sockets it is taken that there is no broker */
    int32_t code;
    wsasec_status status; /* where code is not 0 */
};

/*
 * Sees that what must be in force in the socket's realm is, unless that was found out a few sockets before; and says in
 * the facts which device carries it.
 */
int32_t wsasec_ready(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                     struct wsasec_facts *facts, wsasec_socket socket, wsasec_status *status);

/* Has those of a group that were refused secured by a broker. Returns 0, with nothing changed, where there is none. */
int wsasec_brokered(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                    struct wsasec_member *members, size_t count);

/* The same for one socket, if it was refused: *code and the status become what the broker says. */
int wsasec_brokered_one(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                        const struct wsasec_facts *facts, wsasec_socket socket, int32_t *code, wsasec_status *status);

/* What a socket is that no step was taken for, as only a broker may. Returns its code. */
int32_t wsasec_refuse(wsasec_status *status);

/* The facts of a socket, as far as they are asked for. */
int32_t wsasec_inspect(const struct wsasec_request *request, wsasec_socket socket, struct wsasec_facts *facts,
                       wsasec_status *status);

/* What follows for a socket whose facts could not be found out; the status says why. */
int32_t wsasec_uninspected(wsasec_socket socket, wsasec_status *status);

/* The checks, for a socket whose facts are known. 0: it is claimed, and must be given to wsasec_conclude(). */
int32_t wsasec_admit(const struct wsasec_request *request, const struct wsasec_facts *facts, wsasec_socket socket,
                     wsasec_status *status);

/* What follows for a claimed socket from what became of it: code is 0, or that of the status. */
int32_t wsasec_conclude(const struct wsasec_request *request, const struct wsasec_facts *facts,
                        wsasec_socket socket, int32_t code, wsasec_status *status);

/* A socket for which there is no memory. */
int32_t wsasec_no_room(wsasec_socket socket, wsasec_status *status);

/* What the failure of a step comes to: WSASEC_OUTCOME_UNKNOWN where the socket is left as it was, else it is blocked. */
enum wsasec_outcome wsasec_failed(const struct wsasec_request *request, wsasec_socket socket,
                                  wsasec_status *status);

/* How a claim is settled after the request was carried out with this code: enum wsasec_outcome, and notes. */
unsigned wsasec_outcome_of(const struct wsasec_request *request, int32_t code);

/* See wsasec_secure_one() (unasked.h): for a socket that is asked, or must be claimed until its call is completed. */
int32_t wsasec_secure_asked(const struct wsasec_request *request, struct wsasec_plan *plan,
                            struct wsasec_readiness *readiness, wsasec_socket socket, wsasec_status *status);

#endif
