/* SPDX-License-Identifier: Apache-2.0 */
/* The socket options that a request comes to, made once for each family, and for a device. */
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

/* What carries the sockets of the request, as wsasec_carrier_of() has it. */
enum wsasec_carrier wsasec_plan_carrier(const struct wsasec_plan *plan);

/* For policies; the other one for a device, which is the same for both families. */
const struct wsasec_family_plan *wsasec_plan_of(struct wsasec_plan *plan, int address_family);
const struct wsasec_family_plan *wsasec_plan_of_device(struct wsasec_plan *plan);

/* The one for a socket, by what wsasec_backend_ready() said of its carrier. */
const struct wsasec_family_plan *wsasec_plan_for(struct wsasec_plan *plan, const struct wsasec_facts *facts);

/* Whether it is to bind a socket that there is no device for: bound to the interface 0, it would be free. */
int wsasec_plan_lacks_device(const struct wsasec_family_plan *mine, const struct wsasec_facts *facts);

/* The value to set for an option: its own, or the device's index, or the mark, which is made in the place given. */
const void *wsasec_plan_value(const struct wsasec_plan *plan, const wsasec_option *option,
                              const struct wsasec_facts *facts, uint32_t *mark);

/* Sets the options from an index on. */
int32_t wsasec_plan_carry_out(struct wsasec_plan *plan, const struct wsasec_facts *facts, uint32_t from,
                              wsasec_socket socket, wsasec_status *status);

#endif
