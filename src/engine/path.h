/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the way to a peer takes, where that is less than the device's packets. What carries data has no DF, as it would
 * be lost where nobody hears the routers, so no router says anything about it. Dummy packets of ESP (RFC 4303 section
 * 2.6) have DF: about one that is too large a router tells this host, whose kernel then refuses the next one.
 */
#ifndef WSASEC_ENGINE_PATH_H
#define WSASEC_ENGINE_PATH_H

#include <stdatomic.h>
#include <stdint.h>

struct wse_association;

/* Of an outbound association. Zero is its first state. */
struct wse_path {
    _Atomic(uint32_t) mtu;  /* bytes of an inner packet, with its IP header; 0: as much as the device's */
    _Atomic(uint64_t) next; /* milliseconds of the monotonic clock: when it is looked at again; 0: never was */
    _Atomic(uint64_t) told; /* the same: when a program was told last */
};

/* Sets whether what a socket sends may be cut, here or by a router. 0 or -errno. */
int wse_path_set_cut(int fd, int family, int may);

/* Whether it is time to look. Of several threads that ask one hears so. */
int wse_path_due(struct wse_path *path, uint64_t now);

/* Whether it is time to tell whoever sends what is too large: a kernel that listens needs it once. */
int wse_path_tells(struct wse_path *path, uint64_t now);

/*
 * Looks, by a socket of the association's transport on which nothing else is sent meanwhile. most: the device's MTU.
 * room: for an ESP packet of that size. Returns how many packets were sent. They count for none of the association's
 * limits but that of sequence numbers, as a peer's kernel does not count them either.
 */
unsigned wse_path_look(struct wse_association *association, unsigned thread, int fd, uint32_t most, uint8_t *room);

#endif
