/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* setns */
#include "realm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/xfrm.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failure.h"
#include "threads.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

/* Few: each kept socket keeps its namespace alive, too. */
enum { REALMS = 4, INTERVAL_MS = 100 };

static struct wsasec_realm realms[REALMS];
static uint64_t uses;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void sysctl_open(struct wsasec_sysctl *sysctl, const char *path)
{
    struct stat facts;

    sysctl->fd = open(path, O_RDONLY | O_CLOEXEC);
    sysctl->error = sysctl->fd < 0 ? errno : 0;
    if (sysctl->fd >= 0 && fstat(sysctl->fd, &facts) == 0) {
        sysctl->device = facts.st_dev;
        sysctl->inode = facts.st_ino;
    }
}

/* The program may have closed the descriptor, and its number may be another file's now. */
static int sysctl_alive(const struct wsasec_sysctl *sysctl)
{
    struct stat facts;

    return sysctl->fd >= 0 && fstat(sysctl->fd, &facts) == 0 && facts.st_dev == sysctl->device &&
           facts.st_ino == sysctl->inode;
}

static void sysctl_close(struct wsasec_sysctl *sysctl)
{
    if (sysctl_alive(sysctl))
        close(sysctl->fd);
    sysctl->fd = -1;
}

int wsasec_sysctl_get(const struct wsasec_sysctl *sysctl)
{
    char text[16] = "";

    if (sysctl->error)
        return -sysctl->error;
    if (!sysctl_alive(sysctl))
        return -ESTALE;
    if (pread(sysctl->fd, text, sizeof text - 1, 0) < 0)
        return -errno;
    return text[0] != '0';
}

int wsasec_sysctl_set(const struct wsasec_sysctl *sysctl)
{
    char path[64];
    ssize_t written;
    int error;
    int fd;

    if (!sysctl_alive(sysctl))
        return -ESTALE;
    /* Open for writing only now, through the descriptor that is held: it belongs to the right namespace. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", sysctl->fd);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    written = write(fd, "1", 1);
    error = written == 1 ? 0 : -errno;
    close(fd);
    return error;
}

static void close_sockets(struct wsasec_realm *realm, enum wsasec_realm_part part)
{
    wsasec_netlink_close(part == WSASEC_REALM_POLICIES ? &realm->xfrm : &realm->links);
    wsasec_netlink_close(part == WSASEC_REALM_POLICIES ? &realm->route : &realm->nftables);
}

void wsasec_realm_close(struct wsasec_realm *realm)
{
    /* These first, while the sockets keep the namespace: without it they do not say any more what they are. */
    for (int family = WSASEC_FAMILY_INET; family < WSASEC_FAMILIES; family++)
        sysctl_close(&realm->reflect[family]);
    close_sockets(realm, WSASEC_REALM_POLICIES);
    close_sockets(realm, WSASEC_REALM_DEVICES);
    realm->cookie = 0;
}

static void clear(struct wsasec_realm *realm)
{
    memset(realm, 0, sizeof *realm);
    realm->route.fd = realm->xfrm.fd = realm->links.fd = realm->nftables.fd = -1;
    realm->reflect[WSASEC_FAMILY_INET].fd = realm->reflect[WSASEC_FAMILY_INET6].fd = -1;
}

static uint32_t group(unsigned number)
{
    return 1u << (number - 1);
}

static int open_sockets(struct wsasec_realm *realm, enum wsasec_realm_part part, int watching)
{
    int error;

    if (part == WSASEC_REALM_POLICIES) {
        error = wsasec_netlink_open(&realm->xfrm, NETLINK_XFRM,
                                    watching ? group(XFRMNLGRP_POLICY) | group(XFRMNLGRP_SA) : 0);
        return error ? error : wsasec_netlink_open(&realm->route, NETLINK_ROUTE, 0);
    }
    error = wsasec_netlink_open(&realm->links, NETLINK_ROUTE, watching ? group(RTNLGRP_LINK) : 0);
    return error ? error : wsasec_netlink_open(&realm->nftables, NETLINK_NETFILTER,
                                               watching ? group(NFNLGRP_NFTABLES) : 0);
}

/* Opens a part of a realm in the calling thread's namespace. An error leaves what was open before. */
static int open_part(struct wsasec_realm *realm, enum wsasec_realm_part part, int watching)
{
    const struct wsasec_netlink *mine = part == WSASEC_REALM_POLICIES ? &realm->xfrm : &realm->links;
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    int error;

    if (!realm->cookie) {
        clear(realm);
        sysctl_open(&realm->reflect[WSASEC_FAMILY_INET], "/proc/sys/net/ipv4/fwmark_reflect");
        sysctl_open(&realm->reflect[WSASEC_FAMILY_INET6], "/proc/sys/net/ipv6/fwmark_reflect");
    }
    error = open_sockets(realm, part, watching);
    if (!error && getsockopt(mine->fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length))
        error = -errno;
    if (!error && realm->cookie && realm->cookie != cookie)
        error = -ESTALE;
    if (error) {
        if (realm->cookie)
            close_sockets(realm, part);
        else
            wsasec_realm_close(realm);
        return error;
    }
    realm->cookie = cookie;
    realm->is_open[part] = 1;
    return 0;
}

static unsigned step_of(enum wsasec_realm_part part)
{
    return part == WSASEC_REALM_POLICIES ? WSASEC_STEP_GUARD : WSASEC_STEP_DEVICE;
}

static int32_t fail_to_open(enum wsasec_realm_part part, int error, wsasec_status *status)
{
    if (part == WSASEC_REALM_DEVICES && error == EPROTONOSUPPORT)
        return wsasec_fail(status, WSASEC_STEP_DEVICE, WSASEC_REASON_NO_NFTABLES, error);
    return wsasec_fail_errno(status, step_of(part), error);
}

int32_t wsasec_realm_open_here(struct wsasec_realm *realm, enum wsasec_realm_part part, wsasec_status *status)
{
    int error;

    realm->cookie = 0;
    error = open_part(realm, part, 0);
    return error ? fail_to_open(part, -error, status) : 0;
}

struct visit {
    struct wsasec_realm *realm;
    enum wsasec_realm_part part;
    int namespace;
    int error;
};

static void *visit_main(void *argument)
{
    struct visit *visit = argument;

    visit->error = setns(visit->namespace, CLONE_NEWNET) ? -errno : open_part(visit->realm, visit->part, 1);
    return NULL;
}

/* From a thread of its own: the caller's must not change namespaces, not even for a moment or after an error. */
static int open_there(struct wsasec_realm *realm, enum wsasec_realm_part part, wsasec_socket socket)
{
    struct visit visit = {.realm = realm, .part = part, .namespace = ioctl((int)socket, SIOCGSKNS)};
    pthread_t thread;
    int error;

    if (visit.namespace < 0)
        return -errno;
    error = -wsasec_thread_start(&thread, visit_main, &visit);
    if (!error) {
        pthread_join(thread, NULL);
        error = visit.error;
    }
    close(visit.namespace);
    return error;
}

static void close_all(void)
{
    for (int i = 0; i < REALMS; i++)
        if (realms[i].cookie)
            wsasec_realm_close(&realms[i]);
}

void wsasec_realms_close(void)
{
    pthread_mutex_lock(&lock);
    close_all();
    pthread_mutex_unlock(&lock);
}

/* The sockets are the parent's, too: reading from them would take its notifications away. */
static void forget_after_fork(void)
{
    close_all();
    pthread_mutex_unlock(&lock);
}

static void lock_for_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void unlock_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void set_up(void)
{
    pthread_atfork(lock_for_fork, unlock_after_fork, forget_after_fork);
}

static struct wsasec_realm *oldest(void)
{
    struct wsasec_realm *found = &realms[0];

    for (int i = 1; i < REALMS; i++)
        if (realms[i].last_use < found->last_use)
            found = &realms[i];
    if (found->cookie)
        wsasec_realm_close(found);
    return found;
}

static struct wsasec_realm *kept(uint64_t cookie)
{
    for (int i = 0; i < REALMS; i++)
        if (cookie && realms[i].cookie == cookie)
            return &realms[i];
    return NULL;
}

static uint64_t cookie_here(void)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length))
        cookie = 0;
    close(fd);
    return cookie;
}

static int32_t open_realm(struct wsasec_realm *realm, uint64_t cookie, wsasec_socket socket,
                          enum wsasec_realm_part part, wsasec_status *status)
{
    int here = !cookie || cookie == cookie_here();
    int error = here ? open_part(realm, part, 1) : open_there(realm, part, socket);

    if (!error && cookie && realm->cookie != cookie) {
        wsasec_realm_close(realm);
        error = -ESTALE;
    }
    if (!error)
        return 0;
    if (here && error != -ESTALE)
        return fail_to_open(part, -error, status);
    return wsasec_fail(status, step_of(part), WSASEC_REASON_NAMESPACE, -error);
}

struct wsasec_realm *wsasec_realm_enter(uint64_t cookie, wsasec_socket socket, enum wsasec_realm_part part,
                                        wsasec_status *status)
{
    struct wsasec_realm *realm;

    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    realm = kept(cookie ? cookie : cookie_here());
    if (!realm)
        realm = oldest();
    if ((!realm->cookie || !realm->is_open[part]) && open_realm(realm, cookie, socket, part, status)) {
        pthread_mutex_unlock(&lock);
        return NULL;
    }
    realm->last_use = ++uses;
    return realm;
}

void wsasec_realm_leave(struct wsasec_realm *realm, int drop)
{
    if (drop)
        wsasec_realm_close(realm);
    pthread_mutex_unlock(&lock);
}

int wsasec_realm_is_due(struct timespec *last)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (last->tv_sec && (int64_t)(now.tv_sec - last->tv_sec) * 1000 + (now.tv_nsec - last->tv_nsec) / 1000000 <
                            INTERVAL_MS)
        return 0;
    *last = now;
    return 1;
}
