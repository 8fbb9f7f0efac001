/* SPDX-License-Identifier: Apache-2.0 */
/* The kept connections to key daemons. */
#ifndef WSASEC_LINUX_DAEMON_CONNECTIONS_H
#define WSASEC_LINUX_DAEMON_CONNECTIONS_H

#include <stdint.h>
#include <sys/un.h>

struct wsasec_daemon_connection {
    int fd;
    int place;       /* among the kept ones, or -1 */
    uint64_t cookie; /* SO_COOKIE: tells whether the descriptor is still this socket */
};

/* The address of the daemon of the calling thread's network namespace. Returns 0 or an errno. */
int wsasec_daemon_address(struct sockaddr_un *address);

/* Takes an idle connection to this address. Returns 0, or -1 if there is none. */
int wsasec_daemon_take(struct wsasec_daemon_connection *connection, const struct sockaddr_un *address);

/* Counts a new connection among the kept ones, as one in use, if there is a place. */
void wsasec_daemon_keep(struct wsasec_daemon_connection *connection, const struct sockaddr_un *address);

/* Ends its use. good: it may be used again; else it is closed. */
void wsasec_daemon_give_back(const struct wsasec_daemon_connection *connection, int good);

/* Closes those that are idle. */
void wsasec_daemon_release(void);

#endif
