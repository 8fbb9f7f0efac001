/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One setsockopt() that secures a socket on a device, by a program that the device's keeper has put into the kernel
 * (engine/one_call.py). That looks at the socket itself, while the kernel holds its lock: whether it is of TCP or UDP,
 * in the namespace, neither bound nor connected, and without a mark. Where it is not so, nothing has changed.
 */
#ifndef WSASEC_LINUX_ONE_CALL_H
#define WSASEC_LINUX_ONE_CALL_H

#include "../backend.h"

/* No protocol has that number. That it is done is told by an error that the kernel has not got: a program of others that
 * says yes to whatever it does not know is not believed. */
enum { WSASEC_ONE_CALL_LEVEL = 0x57534143, WSASEC_ONE_CALL_SECURE = 1, WSASEC_ONE_CALL_DONE = 3557 };

/* The value of the option. */
struct wsasec_one_call {
    uint64_t realm;  /* the namespace (SO_NETNS_COOKIE) that was found ready */
    uint32_t device; /* index of its interface there */
    uint32_t family; /* AF_INET; AF_INET6 for either */
};

/* Whether it is worth a try in a realm: nobody is asked for a second after nobody answered. */
int wsasec_one_call_may_be(uint64_t realm);

#endif
