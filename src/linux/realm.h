/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace that sockets are secured in: the descriptors by which it is reached, opened once and kept. Access is
 * under one lock, held from wsasec_realm_enter() to wsasec_realm_leave().
 */
#ifndef WSASEC_LINUX_REALM_H
#define WSASEC_LINUX_REALM_H

#include <sys/stat.h>
#include <time.h>

#include "../backend.h"
#include "netlink.h"

enum { WSASEC_REALM_VERIFIED = 2 * WSASEC_PROFILES_MAX };

struct wsasec_sysctl {
    int fd; /* -1: not there, or not readable */
    int error;
    dev_t device;
    ino_t inode;
};

struct wsasec_realm {
    uint64_t cookie; /* SO_NETNS_COOKIE; 0: not in use */
    uint64_t last_use;
    struct wsasec_netlink xfrm;
    struct wsasec_netlink route;
    struct wsasec_sysctl reflect[WSASEC_FAMILIES];
    /* What was found complete, and is so until a notification says otherwise. */
    struct {
        const wsasec_profile *profile;
        int address_family;
    } verified[WSASEC_REALM_VERIFIED];
    unsigned verified_count;
    /* Policies that were found to come before all others when they had been put up at a time. */
    struct {
        const wsasec_profile *profile;
        uint64_t added;
        int address_family;
    } first[WSASEC_REALM_VERIFIED];
    unsigned first_count;
    struct timespec looked[WSASEC_FAMILIES]; /* when what nothing tells of was last looked at */
};

/* The realm of a cookie (0: the calling thread's), opened if need be. NULL after an error in the status. */
struct wsasec_realm *wsasec_realm_enter(uint64_t cookie, wsasec_socket socket, wsasec_status *status);

/* drop: its descriptors are of no use any more. */
void wsasec_realm_leave(struct wsasec_realm *realm, int drop);

/* Closes all that is kept. */
void wsasec_realms_close(void);

/* The namespace of the calling thread, opened anew and apart from the kept ones, without notifications. */
int32_t wsasec_realm_open_here(struct wsasec_realm *realm, wsasec_status *status);
void wsasec_realm_close(struct wsasec_realm *realm);

/* Whether the sysctl is on. Returns 1, 0, or -errno. */
int wsasec_sysctl_get(const struct wsasec_sysctl *sysctl);
/* Turns it on. Returns 0 or -errno. */
int wsasec_sysctl_set(const struct wsasec_sysctl *sysctl);

#endif
