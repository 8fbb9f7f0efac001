/* SPDX-License-Identifier: Apache-2.0 */
/* A backend that does what it is told and writes down what it was asked, for tests of the core alone. */
#ifndef DOUBLE_H
#define DOUBLE_H

#include <stdatomic.h>

#include "../../src/backend.h"

struct double_backend {
    /* what it answers */
    struct wsasec_facts facts;
    uint16_t bound_reason;
    unsigned inspect_fails; /* a reason, or 0 */
    unsigned ready_fails;
    unsigned apply_fails;
    unsigned apply_step; /* if not 0: where it fails */
    int checks_itself;   /* as Windows does, which has no profiles either */
    int lacks_privilege;
    int brokers; /* there is a broker */
    unsigned broker_fails;
    unsigned broker_step; /* if not 0: where it fails */
    int block_fails;
    unsigned make_fails;
    unsigned equip_fails;
    unsigned ring_fails;
    unsigned accept_fails;
    wsasec_socket alone; /* if not 0: only this socket fails to be made ready, applied to, or equipped */
    int lands_backwards; /* of overlapped calls, the last that is under way lands first */
    int never_lands;     /* but when it is cancelled */
    int never_ends;      /* nor then */
    uint32_t device;     /* that carries the sockets, as making ready says; then none falls back */
    int one_call;        /* 0: there is none; 1: it refuses; 2: it is done */
    uint8_t one_family;  /* that it was asked by last, with the device */
    uint32_t one_device;
    int different;       /* each descriptor is a socket of its own */
    unsigned processors;
    _Atomic wsasec_socket next_socket;
    _Atomic uint64_t clock; /* goes forward a microsecond with each look */
    _Atomic uint64_t cost[WSASEC_METHOD_COUNT]; /* what an apply adds to that, by the method it is called by */
    _Atomic unsigned astray; /* sockets that an apply did not get with that device */
    /* what it was asked, in order: I inspect, B bound reason, R ready, A apply, X block, M make, E equip,
     * C close; q n d i r: the other five; O open a ring, o close it; T a thread starts;
     * L accept and tell the identity, l accept, a apply to an accepted socket, S silence it, Q abandon it;
     * F an overlapped call starts, f is completed, c is cancelled;
     * K the broker is asked, k for a socket; 1 the one call */
    char calls[65536];
    _Atomic size_t count;
};

extern struct double_backend the_double;

#endif
