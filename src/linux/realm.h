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

/* What is wanted of a realm, and opened when it first is: a kernel may have the one and not the other. */
enum wsasec_realm_part {
    WSASEC_REALM_POLICIES, /* .xfrm, .route */
    WSASEC_REALM_DEVICES,  /* .links, .nftables */
    WSASEC_REALM_PARTS
};

struct wsasec_sysctl {
    int fd; /* -1: not there, or not readable */
    int error;
    dev_t device;
    ino_t inode;
};

struct wsasec_realm {
    uint64_t cookie; /* SO_NETNS_COOKIE; 0: not in use */
    uint64_t last_use;
    int is_open[WSASEC_REALM_PARTS];
    struct wsasec_netlink xfrm;
    struct wsasec_netlink route;
    struct wsasec_netlink links;
    struct wsasec_netlink nftables;
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
    /* Devices that were found as they should be, and are so until a notification says otherwise. */
    struct wsasec_realm_device {
        const wsasec_profile *profile;
        uint32_t index;      /* 0: it is being looked at */
        uint32_t generation; /* of nftables, at which it is vouched for */
    } devices[WSASEC_PROFILES_MAX];
    unsigned device_count;
    struct timespec looked_at_devices[WSASEC_FAMILIES];
    /* The last device that nobody vouched for, what was to be vouched for, and since when that is so. */
    struct {
        const wsasec_profile *profile;
        uint32_t generation;
        uint64_t since; /* nanoseconds of wsasec_backend_clock() */
    } doubt;
};

/*
 * The realm of a cookie (0: the calling thread's), with a part of it, opened if need be. NULL after an error in the
 * status, of the step that the part is for.
 */
struct wsasec_realm *wsasec_realm_enter(uint64_t cookie, wsasec_socket socket, enum wsasec_realm_part part,
                                        wsasec_status *status);

/* drop: its descriptors are of no use any more. */
void wsasec_realm_leave(struct wsasec_realm *realm, int drop);

/* Closes all that is kept. */
void wsasec_realms_close(void);

/* The namespace of the calling thread, opened anew and apart from the kept ones, without notifications. */
int32_t wsasec_realm_open_here(struct wsasec_realm *realm, enum wsasec_realm_part part, wsasec_status *status);
void wsasec_realm_close(struct wsasec_realm *realm);

/* Whether what nothing tells of is to be looked at again, which it then counts as; last: when it last was. */
int wsasec_realm_is_due(struct timespec *last);

/* Whether the sysctl is on. Returns 1, 0, or -errno. */
int wsasec_sysctl_get(const struct wsasec_sysctl *sysctl);
/* Turns it on. Returns 0 or -errno. */
int wsasec_sysctl_set(const struct wsasec_sysctl *sysctl);

#endif
