/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* secure_getenv */
#include "daemon_connections.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon_protocol.h"

/* As many threads ask at a time without a connection made for one question. */
enum { PLACES = 8 };

static struct place {
    struct sockaddr_un address;
    uid_t user; /* as whom it was made, and so what the daemon allows it */
    gid_t group;
    uint64_t cookie;
    int fd;
    enum { FREE, IDLE, USED } state;
} places[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) ? 0 : cookie;
}

/* The program may have closed the descriptor, and its number may be another file's now. */
static int is_alive(int fd, uint64_t cookie)
{
    return cookie && cookie_of(fd) == cookie;
}

static void lock_for_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void unlock_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

/* They are the parent's, and those in use are its other threads'. */
static void leave_child(void)
{
    for (int i = 0; i < PLACES; i++) {
        if (places[i].state != FREE && is_alive(places[i].fd, places[i].cookie))
            close(places[i].fd);
        places[i].state = FREE;
    }
    pthread_mutex_unlock(&lock);
}

static void set_up(void)
{
    pthread_atfork(lock_for_fork, unlock_after_fork, leave_child);
}

int wsasec_daemon_address(struct sockaddr_un *address)
{
    const char *folder = secure_getenv(WSASEC_DAEMON_VARIABLE);
    struct stat facts;
    int length;

    /* Asked each time: the thread may have gone to another namespace. */
    if (stat("/proc/thread-self/ns/net", &facts))
        return errno;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    length = snprintf(address->sun_path, sizeof address->sun_path, "%s/net-%llu/control",
                      folder && *folder ? folder : WSASEC_DAEMON_FOLDER, (unsigned long long)facts.st_ino);
    return length < (int)sizeof address->sun_path ? 0 : ENAMETOOLONG;
}

int wsasec_daemon_take(struct wsasec_daemon_connection *connection, const struct sockaddr_un *address)
{
    const uid_t user = geteuid();
    const gid_t group = getegid();
    int found = -1;

    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PLACES && found < 0; i++) {
        if (places[i].state != IDLE || places[i].user != user || places[i].group != group ||
            strcmp(places[i].address.sun_path, address->sun_path) != 0)
            continue;
        if (!is_alive(places[i].fd, places[i].cookie)) {
            places[i].state = FREE;
            continue;
        }
        places[i].state = USED;
        connection->fd = places[i].fd;
        connection->cookie = places[i].cookie;
        connection->place = found = i;
    }
    pthread_mutex_unlock(&lock);
    return found < 0 ? -1 : 0;
}

void wsasec_daemon_keep(struct wsasec_daemon_connection *connection, const struct sockaddr_un *address)
{
    int idle = -1;
    int found = -1;

    connection->place = -1;
    connection->cookie = cookie_of(connection->fd);
    if (!connection->cookie)
        return;
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PLACES && found < 0; i++) {
        if (places[i].state == FREE)
            found = i;
        else if (places[i].state == IDLE)
            idle = i;
    }
    /* Rather than one of another daemon that nobody uses: there was none of this one. */
    if (found < 0 && idle >= 0) {
        if (is_alive(places[idle].fd, places[idle].cookie))
            close(places[idle].fd);
        found = idle;
    }
    if (found >= 0) {
        places[found].state = USED;
        places[found].address = *address;
        places[found].user = geteuid();
        places[found].group = getegid();
        places[found].fd = connection->fd;
        places[found].cookie = connection->cookie;
        connection->place = found;
    }
    pthread_mutex_unlock(&lock);
}

void wsasec_daemon_give_back(const struct wsasec_daemon_connection *connection, int good)
{
    struct place *place = connection->place < 0 ? NULL : &places[connection->place];
    int kept = 0;

    pthread_mutex_lock(&lock);
    /* In a child that was forked meanwhile it is not there any more, or is another's. */
    if (place && place->state == USED && place->cookie == connection->cookie) {
        kept = good;
        place->state = good ? IDLE : FREE;
    }
    if (!kept && is_alive(connection->fd, connection->cookie)) {
        /* So that the daemon hears of it though a child should have the descriptor, too. */
        shutdown(connection->fd, SHUT_RDWR);
        close(connection->fd);
    }
    pthread_mutex_unlock(&lock);
}

void wsasec_daemon_release(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PLACES; i++) {
        if (places[i].state != IDLE)
            continue;
        if (is_alive(places[i].fd, places[i].cookie))
            close(places[i].fd);
        places[i].state = FREE;
    }
    pthread_mutex_unlock(&lock);
}
