/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard: what keeps in ESP the packets that the kernel sends for a secured socket without asking the socket
 * (TIME_WAIT, RST, ICMP, SYN cookies). Per network namespace, profile and family:
 *
 *   - a system policy: outbound, any to any, for packets with the profile's mark, ESP required;
 *   - fwmark_reflect: kernel replies take the mark of what they answer;
 *   - inbound SAs set the mark on what they decapsulate.
 *
 * The socket's own mark is the caller's part.
 */
#ifndef WSASEC_LINUX_GUARD_H
#define WSASEC_LINUX_GUARD_H

#include "../backend.h"

/* The namespace of the calling thread instead of a socket's. */
#define WSASEC_REALM_HERE UINT64_C(0)

/*
 * Sees that the guard is complete in the realm, putting up what is missing; with profile NULL only that the
 * kernel's XFRM can be reached there. socket: one that lives in the realm; -1 for WSASEC_REALM_HERE.
 */
int32_t wsasec_guard_ready(uint64_t realm, wsasec_socket socket, const wsasec_profile *profile,
                           int address_family, wsasec_status *status);

/* A sum of enum wsasec_guard_state for the calling thread's namespace, or an error. Changes nothing. */
int32_t wsasec_guard_look(const wsasec_profile *profile, int address_family, wsasec_status *status);

#endif
