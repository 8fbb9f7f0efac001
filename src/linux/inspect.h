/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of telling a socket's facts, for those who ask for the rest in another way. */
#ifndef WSASEC_LINUX_INSPECT_H
#define WSASEC_LINUX_INSPECT_H

#include "../backend.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

/* Tells family, and whether the socket is bound. Returns 0 or an errno. */
int wsasec_inspect_name(wsasec_socket socket, struct wsasec_facts *facts);

/* From SO_TYPE to enum wsasec_type. */
uint8_t wsasec_type_of(int type);

/* The facts of a socket that was just made, all but its identity. */
void wsasec_facts_of_fresh(const wsasec_batch_spec *spec, struct wsasec_facts *facts);

#endif
