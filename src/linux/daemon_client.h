/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the key daemon of the calling thread's network namespace (daemon_protocol.h). Any thread may ask at any
 * time. Connections are kept and used again, each by one question at a time; a child never uses those of its parent.
 *
 * step: what the caller is at; it is the step of failures that are not the daemon's own. Failures: what the daemon's
 * verdict says, with its detail (wsasec_detail()); WSASEC_REASON_NO_DAEMON, _DAEMON_SILENT (not answered in time,
 * or it ended before it did), _DAEMON_ANSWER (not what the protocol allows), _DAEMON_BUSY (it takes no
 * connections, or no more descriptors); _NOT_A_SOCKET for a closed descriptor.
 */
#ifndef WSASEC_LINUX_DAEMON_CLIENT_H
#define WSASEC_LINUX_DAEMON_CLIENT_H

#include "daemon_protocol.h"

/* What the daemon may take longer than the time it was given, until it counts as silent. */
#define WSASEC_DAEMON_GRACE UINT64_C(500000000)

/*
 * Asks, and waits at most so many nanoseconds for the answer. kind: enum wsasec_daemon_kind, but not CONTROL. answer:
 * room bytes for the body, of which *answered were filled (NULL: nobody wants to know); room must do for the shortest answer
 * of the kind. Returns 0, or an error; then the answer is not to be used.
 */
int32_t wsasec_daemon_ask(unsigned step, unsigned kind, const void *body, size_t length, const int32_t *sockets,
                          size_t socket_count, void *answer, size_t room, size_t *answered, uint64_t nanoseconds,
                          wsasec_status *status);

/* A question about one socket, all of whose answer is the verdict. peer: NULL for that which it is connected to. */
int32_t wsasec_daemon_tell(unsigned step, unsigned kind, int32_t socket, const wsasec_sockaddr_storage *peer,
                           uint64_t nanoseconds, wsasec_status *status);

/* Fills in a question; nanoseconds: how long the answer may take. peer may be NULL. */
void wsasec_daemon_question_of(struct wsasec_daemon_question *question, const wsasec_sockaddr_storage *peer,
                               uint64_t nanoseconds);

/* A question that is under way; whoever owns it ends it by wsasec_daemon_finish() or wsasec_daemon_abandon(). */
struct wsasec_daemon_call {
    int fd;        /* to poll for reading (POLLIN); -1: none is under way */
    int place;     /* among the kept connections, or -1 */
    uint64_t cookie;
    uint32_t id;
    uint16_t kind;
    uint16_t step;
};

/* Asks without waiting: where the daemon's queue of new connections is full, it fails as _DAEMON_BUSY. */
int32_t wsasec_daemon_start(struct wsasec_daemon_call *call, unsigned step, unsigned kind, const void *body,
                            size_t length, const int32_t *sockets, size_t socket_count, wsasec_status *status);

/* Returns WSASEC_DAEMON_PENDING while there is no answer, and leaves the call as it was; or else as wsasec_daemon_ask(). */
#define WSASEC_DAEMON_PENDING 1
int32_t wsasec_daemon_finish(struct wsasec_daemon_call *call, void *answer, size_t room, size_t *answered,
                             wsasec_status *status);

/* Gives a call up, and closes its connection. Without one under way it does nothing. */
void wsasec_daemon_abandon(struct wsasec_daemon_call *call);

#endif
