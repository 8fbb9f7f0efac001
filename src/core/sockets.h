/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of each socket: that it was secured, with which profile, or that securing it failed. 16 bytes a
 * descriptor, in a place that the descriptor number names; the socket's identity in it tells whether the
 * descriptor is still the same socket. Nothing has to be cleaned up when a socket is closed.
 */
#ifndef WSASEC_CORE_SOCKETS_H
#define WSASEC_CORE_SOCKETS_H

#include "wsasec.h"

enum wsasec_claim {
    WSASEC_CLAIM_NEW,     /* the caller has it now, and must end with a settle or a release */
    WSASEC_CLAIM_TAKEN,   /* secured, or another thread is at it */
    WSASEC_CLAIM_FAILED,  /* securing it failed */
    WSASEC_CLAIM_NO_ROOM  /* no memory, or a descriptor too large to be true */
};

/* What became of a claim. */
enum wsasec_outcome {
    WSASEC_OUTCOME_UNKNOWN = 0, /* no claim on this socket, or none that was settled */
    WSASEC_OUTCOME_REQUIRED,    /* nothing passes in clear */
    WSASEC_OUTCOME_OPTIONAL,    /* it may go on in clear */
    WSASEC_OUTCOME_SKIPPED,     /* nothing was installed, as was asked */
    WSASEC_OUTCOME_FAILED
};

/* What was said of names when the socket was secured, added to the outcome that a claim is settled with. */
#define WSASEC_NOTE_NAMES_RAW 0x10u      /* a name is the identity itself, of no form */
#define WSASEC_NOTE_NAMES_OPTIONAL 0x20u /* another identity is no failure */

/* Whose the place of the descriptor is now, or was last; 0: nobody's. */
uint64_t wsasec_socket_identity(wsasec_socket socket);

/* The next one there, where identities are counted by place: that of a socket which is new to it. */
uint64_t wsasec_socket_next_identity(wsasec_socket socket);

enum wsasec_claim wsasec_socket_claim(wsasec_socket socket, uint64_t identity);
/* outcome: enum wsasec_outcome and WSASEC_NOTE_... */
void wsasec_socket_settle(wsasec_socket socket, uint64_t identity, uint16_t profile, unsigned outcome);
void wsasec_socket_release(wsasec_socket socket, uint64_t identity);

/*
 * Without a claim, where the system sees to it that a socket is secured once: the place of a descriptor, asked for
 * first, so that there is one (NULL: as WSASEC_CLAIM_NO_ROOM), and what became of a socket that is new to it.
 */
struct wsasec_entry *wsasec_socket_entry(wsasec_socket socket);
void wsasec_entry_settle(struct wsasec_entry *entry, uint16_t profile, unsigned outcome);

/* What became of the claim, and the profile that it was settled with. */
enum wsasec_outcome wsasec_socket_outcome(wsasec_socket socket, uint64_t identity, uint16_t *profile);

/* WSASEC_NOTE_... of the socket; 0 where nothing is known of it. */
unsigned wsasec_socket_notes(wsasec_socket socket, uint64_t identity);

/* What became of the last claim on the place of a descriptor, which may be of a socket that is gone. */
enum wsasec_outcome wsasec_socket_last_outcome(wsasec_socket socket);

/* The number of the profile that the socket was secured with, or -1. */
int32_t wsasec_socket_profile(wsasec_socket socket, uint64_t identity);

#endif
