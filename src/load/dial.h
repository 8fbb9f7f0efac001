/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the seam (system.h) that connects a socket. Errors are the system's; 0 is none. */
#ifndef WSASEC_LOAD_DIAL_H
#define WSASEC_LOAD_DIAL_H

#include <stddef.h>
#include <stdint.h>

/* Whether it is an IPv4 or IPv6 address, of that size. */
int wsasec_dial_is_address(const void *address, size_t size);

/* Sees to it that the socket will not block. Returns why it cannot be connected so. */
int wsasec_dial_check(int32_t socket);

/* Calls connect(). */
int wsasec_dial(int32_t socket, const void *address, size_t size);

/* How an attempt that was in progress stands; events: what was told of it, 0 if nothing was. */
int wsasec_dial_ask(int32_t socket, const void *address, size_t size, uint32_t events);

/* Whether the error of either says that the attempt is in progress. */
int wsasec_dial_is_open(int error);

/* Whether the error of wsasec_dial() says that there is no security association; else it may become a better one. */
int wsasec_dial_is_refused(int32_t socket, int *error);

#endif
