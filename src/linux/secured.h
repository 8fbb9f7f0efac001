/* SPDX-License-Identifier: Apache-2.0 */
/* A secured socket as the functions about peers see it. */
#ifndef WSASEC_LINUX_SECURED_H
#define WSASEC_LINUX_SECURED_H

#include "../backend.h"

struct wsasec_secured {
    struct wsasec_facts facts;
    const wsasec_profile *profile; /* NULL: nothing is in force for it */
    uint8_t required;              /* nothing passes in clear */
    uint8_t notes;                 /* WSASEC_NOTE_... (core/sockets.h) */
};

/* Finds out how the socket is secured: by this process, or by its mark. Returns 0, or an error. */
int32_t wsasec_secured_find(wsasec_socket socket, struct wsasec_secured *secured, wsasec_status *status);

/* Whether a stream socket has a connection: 0, or WSASEC_REASON_NOT_CONNECTED or _CONNECTION_GONE as an error. */
int32_t wsasec_secured_connected(wsasec_socket socket, unsigned step, wsasec_status *status);

/*
 * The peer that a question is about, of an address of length bytes; *asked is NULL for that which the socket is
 * connected to: always for stream sockets. An error where the address is not of the socket's family.
 */
int32_t wsasec_secured_peer(const struct wsasec_secured *secured, unsigned step, const void *address, size_t length,
                            wsasec_sockaddr_storage *room, const wsasec_sockaddr_storage **asked,
                            wsasec_status *status);

#endif
