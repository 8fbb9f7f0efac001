/* SPDX-License-Identifier: Apache-2.0 */
/* accept() for secured listeners. */
#ifndef WSASEC_ACCEPT_H
#define WSASEC_ACCEPT_H

#include "wsasec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The accepted socket does not block. */
#define WSASEC_ACCEPT_NONBLOCKING UINT32_C(0x1)

/*
 * Takes a connection from a listener. The socket is protected as its listener is, also where the kernel made it
 * from a SYN cookie: such a socket may keep a route without IPsec, until its policy is set again, as is done here
 * (without CAP_NET_ADMIN by other means).
 * wsasec_profile_of() knows it. A listener that is not secured gives plain sockets.
 *
 * The listener is one that this process secured, or one that carries the mark of a profile in use. The new socket
 * is closed when another program is started; it blocks unless flags say WSASEC_ACCEPT_NONBLOCKING. address: NULL, or
 * room for *address_len bytes of sockaddr, which is then set.
 *
 * Returns 0, or an error with status->step WSASEC_STEP_ACCEPT: WSAEWOULDBLOCK (nothing waits), WSAEINVAL (not
 * listening, or securing the listener failed before), WSAENOTSOCK, WSAEFAULT (arguments), WSAECONNRESET (the
 * connection is gone again: try the next), WSAEMFILE, WSAENOBUFS; status->os_error is accept()'s errno, also EINTR,
 * or 0. With another step it was the protection that failed: the connection was closed without a packet, and the
 * listener is good for more.
 */
int32_t wsasec_accept(wsasec_socket listener, uint32_t flags, wsasec_socket *accepted, void *address,
                      uint32_t *address_len, wsasec_status *status);

typedef struct wsasec_acceptor wsasec_acceptor;

/*
 * What protects the connections of a listener that somebody else accepts, an event loop for instance. It does not need
 * the listener any more. For one thread at a time. Returns NULL with the status filled in: WSAENOTSOCK, WSAEINVAL
 * (securing the listener failed before), WSAENOBUFS.
 */
wsasec_acceptor *wsasec_acceptor_new(wsasec_socket listener, wsasec_status *status);

/*
 * Does for an accepted socket what wsasec_accept() does; call it before anything is sent. Twice is no error. Returns 0,
 * or an error: then the socket is blocked, and must be closed.
 */
int32_t wsasec_acceptor_protect(wsasec_acceptor *acceptor, wsasec_socket accepted, wsasec_status *status);

void wsasec_acceptor_free(wsasec_acceptor *acceptor); /* NULL is none */

#ifdef __cplusplus
}
#endif
#endif
