/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink as transport: requests, answers, dumps, and notifications in between. What they mean is elsewhere. */
#ifndef WSASEC_LINUX_NETLINK_H
#define WSASEC_LINUX_NETLINK_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

struct wsasec_netlink {
    int fd;
    uint32_t port;   /* the kernel's name for this socket */
    uint32_t seq;
    uint64_t cookie; /* SO_COOKIE: tells whether the descriptor is still this socket */
    /* Called with notifications, also while an answer is awaited. NULL message: some were lost. */
    void (*notify)(void *context, const struct nlmsghdr *message);
    void *context;
};

struct wsasec_message {
    union {
        struct nlmsghdr header;
        unsigned char bytes[1024];
    };
};

/* Opens a socket in the calling thread's network namespace; groups: a bit mask. Returns 0 or -errno. */
int wsasec_netlink_open(struct wsasec_netlink *link, int protocol, uint32_t groups);

/* Closes it, if the descriptor is still this socket: the program may have closed and reused the number. */
void wsasec_netlink_close(struct wsasec_netlink *link);

int wsasec_netlink_alive(const struct wsasec_netlink *link);

void wsasec_message_start(struct wsasec_message *message, uint16_t type, uint16_t flags, const void *body,
                          size_t length);
void wsasec_message_attribute(struct wsasec_message *message, uint16_t type, const void *value, size_t length);

/*
 * Sends a request and waits, at most a second for each datagram, for its end. answer (may be NULL) is called with each
 * message of the answer. Returns 0 or -errno (the kernel's own, or ETIMEDOUT).
 */
int wsasec_netlink_call(struct wsasec_netlink *link, struct wsasec_message *message,
                        void (*answer)(void *context, const struct nlmsghdr *message), void *context);

/* Hands waiting notifications to notify. Without any it costs one system call. Returns 0 or -errno. */
int wsasec_netlink_poll(struct wsasec_netlink *link);

/* The attribute's payload of at least `least` bytes, or NULL; attributes start `offset` bytes into the body. */
const void *wsasec_attribute(const struct nlmsghdr *message, size_t offset, uint16_t type, size_t least,
                             size_t *length);

#endif
