/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's two threads, of which one at a time has the work. That of real time sleeps for packets, so that it has a
 * processor as soon as one comes, as the kernel's own IPsec would; and it serves connections that begin, for a while.
 * All else is the ordinary one's: what many packets come to together takes less time, and leaves programs theirs.
 *
 * TCP hands over the less of a stream at once the longer its shortest round trip was (net.ipv4.tcp_tso_rtt_log). Of
 * connections that begin in a burst all that they see is how long a program that goes on connecting kept this one
 * waiting, and a hundred streams would be cut into a twentieth of what they could be for as long as they are there.
 */
#ifndef WSASEC_ENGINE_TURNS_H
#define WSASEC_ENGINE_TURNS_H

#include <stdint.h>

enum wse_turn { WSE_ORDINARY = 0, WSE_REAL_TIME, WSE_TURNS };

enum {
    WSE_TURN_BEGIN = 20,  /* milliseconds that real time stays on when a connection begins */
    WSE_TURN_MOST = 500,  /* milliseconds of that together, where no connection began for long */
    WSE_TURN_SHARE = 10   /* and in the long run one of so many */
};

struct wse_turns {
    int both;       /* there is a thread of real time */
    uint64_t until; /* milliseconds: connections begin */
    uint64_t paid;  /* milliseconds: when all of it has been paid back */
};

/* A connection begins. */
void wse_turns_begin(struct wse_turns *turns, uint64_t now);

/* Whose turn it is next. brisk: the last wait was a short one. */
enum wse_turn wse_turns_next(const struct wse_turns *turns, int brisk, uint64_t now);

#endif
