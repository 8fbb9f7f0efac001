/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel itself knows of the keys that protect a connection. */
#ifndef WSASEC_LINUX_ASSOCIATION_H
#define WSASEC_LINUX_ASSOCIATION_H

#include "secured.h"

/*
 * The newest pair of SAs between the socket and the peer; of a socket on a device, what that guarantees. Needs
 * CAP_NET_ADMIN, without which it is WSASEC_REASON_NO_DAEMON: there is nobody else to ask. Without SAs:
 * WSASEC_REASON_NO_ASSOCIATION; of a device why there is no guarantee.
 */
int32_t wsasec_association_of_kernel(wsasec_socket socket, const struct wsasec_secured *secured,
                                     const wsasec_sockaddr_storage *peer, wsasec_socket_association *association,
                                     wsasec_status *status);

#endif
