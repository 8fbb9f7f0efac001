/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection to the engine's control socket: requests with descriptors, answers, deadlines. No locks: it is for
 * one thread at a time.
 */
#ifndef WSASEC_CHARON_CONTROL_SOCKET_H
#define WSASEC_CHARON_CONTROL_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control_protocol.h"

struct control_socket {
    int fd; /* -1: none */
    uint32_t number;
    bool sent; /* whether the last request got to the engine, perhaps; else it was surely not done */
    struct wse_hello hello;
    char text[128]; /* what went wrong, of the last call that failed */
    uint8_t message[WSE_MESSAGE_MAX];
};

/* Milliseconds of CLOCK_MONOTONIC, in which deadlines are points. */
uint64_t control_now(void);

void control_init(struct control_socket *control);
void control_close(struct control_socket *control);

/* Closes a connection whose engine has ended: nothing is asked then that could get lost. */
void control_look(struct control_socket *control);

/*
 * Connects and says hello, if there is no connection. Where no engine is there it looks again until the deadline, or until
 * something can be read from cancel (-1: nothing). 0, or a negative errno: -ENOTCONN where nobody listens; -ECANCELED.
 */
int control_open(struct control_socket *control, const char *path, uint64_t deadline, int cancel);

/*
 * Sends a request and takes its answer, whose body is copied to answer: exactly answer_size bytes. 0, or a negative
 * errno: that of the engine's refusal, or of a connection that ended, which is closed then. A request whose answer
 * did not come may have been done, or not.
 */
int control_ask(struct control_socket *control, uint16_t type, const void *body, size_t size, const int *fds, size_t count,
                void *answer, size_t answer_size, uint64_t deadline);

/* The same for an answer of many messages: each is a number of entries of entry_size bytes. Ends where take is false. */
typedef bool (*control_take)(void *context, const void *entry);
int control_list(struct control_socket *control, uint16_t type, size_t entry_size, control_take take, void *context,
                 uint64_t deadline);

/*
 * Waits for an event, for something to read from cancel, or until the deadline; 0: none. 1: type, body and size say the event,
 * until the next call; 0: cancelled, or late; else a negative errno, and the connection is closed.
 */
int control_wait(struct control_socket *control, int cancel, uint64_t deadline, uint16_t *type, const void **body,
                 size_t *size);

#endif
