/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UDP sockets that charon was started with, neither bound nor connected: who started it had the privilege to give them
 * longer queues than net.core.rmem_max allows, which charon has not. The environment's WSASEC_SOCKETS has their
 * numbers, with spaces in between. No locks: they are for one thread at a time.
 */
#ifndef WSASEC_CHARON_INHERITED_SOCKETS_H
#define WSASEC_CHARON_INHERITED_SOCKETS_H

#include <stddef.h>

enum { INHERITED_MAX = 64 };

struct inherited_sockets {
    int fds[INHERITED_MAX];
    size_t count;
};

/* Takes them over; nobody finds them in the environment after that. What is no such socket is left alone. */
void inherited_sockets_find(struct inherited_sockets *this);

/* One of that family, which is the caller's from then on; -1: there is none. */
int inherited_sockets_take(struct inherited_sockets *this, int family);

/* Gives one back that was not bound. */
void inherited_sockets_give_back(struct inherited_sockets *this, int fd);

void inherited_sockets_close(struct inherited_sockets *this);

#endif
