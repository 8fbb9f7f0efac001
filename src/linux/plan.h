/* SPDX-License-Identifier: Apache-2.0 */
/* The socket options that a request comes to, made once for each family. */
#ifndef WSASEC_LINUX_PLAN_H
#define WSASEC_LINUX_PLAN_H

#include "../backend.h"

/* The first is for datagram sockets only; the first two set what is so by default. */
struct wsasec_family_plan {
    uint32_t count; /* 0: not yet made */
    wsasec_option options[WSASEC_OPTIONS_MAX];
};

/* Index of the first option that a fresh socket needs. */
#define WSASEC_PLAN_FRESH 2

const struct wsasec_family_plan *wsasec_plan_of(struct wsasec_plan *plan, int address_family);

/* The value to set for an option: its own, or the mark, which is made in the place given. */
const void *wsasec_plan_value(const struct wsasec_plan *plan, const wsasec_option *option,
                              const struct wsasec_facts *facts, uint32_t *mark);

/* Sets the options from an index on. */
int32_t wsasec_plan_carry_out(struct wsasec_plan *plan, const struct wsasec_facts *facts, uint32_t from,
                              wsasec_socket socket, wsasec_status *status);

#endif
