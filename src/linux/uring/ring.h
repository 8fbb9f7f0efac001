/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of io_uring that is filled, run to its end, and asked for results by the number of each entry. */
#ifndef WSASEC_LINUX_URING_RING_H
#define WSASEC_LINUX_URING_RING_H

#include <sys/types.h>

#include "../../backend.h"
#include "abi.h"

/* Room for every option of every socket of a group. */
enum { WSASEC_RING_ENTRIES = WSASEC_GROUP * WSASEC_OPTIONS_MAX };

/* The result of an entry that was not run: no errno. */
#define WSASEC_RING_NOT_RUN INT32_MIN

struct wsasec_ring {
    struct io_uring uring;
    pid_t owner;
    int broken; /* it takes no entries any more */
    unsigned filled;
    int32_t results[WSASEC_RING_ENTRIES]; /* 0 or more, or an errno made negative */
    struct {
        uint64_t cookie;
        uint64_t realm;
        uint32_t mark;
        int32_t type;
    } answers[WSASEC_GROUP];
    uint32_t marks[WSASEC_GROUP];
};

/* The next entry, cleared; its result will be at the number returned. -1: there is none. */
int wsasec_ring_add_option(struct wsasec_ring *ring, unsigned command, wsasec_socket socket, int level, int name,
                           const void *value, uint32_t length, int linked);
int wsasec_ring_add_socket(struct wsasec_ring *ring, int address_family, int type);

/* Runs all entries to their end. Those that could not be run have the result WSASEC_RING_NOT_RUN. */
void wsasec_ring_run(struct wsasec_ring *ring);

#endif
