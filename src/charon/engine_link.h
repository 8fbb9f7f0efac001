/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * charon's one connection for requests to the engine, for any thread, and the ports that it shares with it.
 */
#ifndef WSASEC_CHARON_ENGINE_LINK_H
#define WSASEC_CHARON_ENGINE_LINK_H

#include <library.h>

#include "control_socket.h"

typedef struct engine_link_t engine_link_t;

/* timeout: milliseconds. */
engine_link_t *engine_link_create(const char *path, u_int timeout);
/* Closes its copies of shared ports; the engine keeps its own. */
void engine_link_destroy(engine_link_t *this);

const char *engine_link_path(engine_link_t *this);

/*
 * Asks, and connects before if need be, which waits for an engine that is not there. Nothing is asked twice: whether a
 * request was done whose answer is lost, nobody knows, and unknown says so, if it is not NULL. 0, or a negative errno, of
 * which what says for the log what was wanted; NULL: nothing is logged. -ENOENT is the engine's word only.
 */
int engine_link_ask(engine_link_t *this, const char *what, uint16_t type, const void *body, size_t size, void *answer,
                    size_t answer_size, bool *unknown);

/* Lets an engine let go of a port that charon is about to bind, if it is there and has it from another charon. */
void engine_link_release(engine_link_t *this, int family, uint16_t port);

/* Shares charon's socket's port with the engine: now, or once there is one. The socket stays charon's. */
void engine_link_share(engine_link_t *this, int fd, int family, uint16_t port);

/* Gives an engine, and not the same one twice, the sockets of all shared ports. Whether it has all of them. */
bool engine_link_hand_over(engine_link_t *this);

#endif
