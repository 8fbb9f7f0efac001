/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "inherited_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char variable[] = "WSASEC_SOCKETS";

/* -1: no socket, or no such option. */
static int option_of(int fd, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, name, &value, &length) < 0 ? -1 : value;
}

/* Of a socket that is not bound it is 0 in both families, at the same place. */
static bool is_bound(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    memset(&address, 0, sizeof(address));
    return getsockname(fd, (struct sockaddr *)&address, &length) < 0 || ((struct sockaddr_in *)&address)->sin_port != 0;
}

static bool is_free_udp(int fd)
{
    int family = option_of(fd, SO_DOMAIN);

    return (family == AF_INET || family == AF_INET6) && option_of(fd, SO_PROTOCOL) == IPPROTO_UDP && !is_bound(fd);
}

static bool has(const struct inherited_sockets *this, int fd)
{
    for (size_t i = 0; i < this->count; i++) {
        if (this->fds[i] == fd) {
            return true;
        }
    }
    return false;
}

void inherited_sockets_find(struct inherited_sockets *this)
{
    const char *next = getenv(variable);

    memset(this, 0, sizeof(*this));
    while (next != NULL && this->count < INHERITED_MAX) {
        char *end;
        long fd;

        errno = 0;
        fd = strtol(next, &end, 10);
        if (end == next || errno != 0 || fd < 0 || fd > INT_MAX) {
            break;
        }
        next = end;
        /* None of charon's own descriptors goes away with these, whatever the text says. */
        if (has(this, (int)fd) || !is_free_udp((int)fd) || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0
            || fcntl((int)fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
            continue;
        }
        this->fds[this->count++] = (int)fd;
    }
    unsetenv(variable);
}

int inherited_sockets_take(struct inherited_sockets *this, int family)
{
    for (size_t i = 0; i < this->count; i++) {
        int fd = this->fds[i];

        if (option_of(fd, SO_DOMAIN) == family) {
            this->fds[i] = this->fds[--this->count];
            return fd;
        }
    }
    return -1;
}

void inherited_sockets_give_back(struct inherited_sockets *this, int fd)
{
    if (this->count < INHERITED_MAX) {
        this->fds[this->count++] = fd;
    } else {
        close(fd);
    }
}

void inherited_sockets_close(struct inherited_sockets *this)
{
    while (this->count > 0) {
        close(this->fds[--this->count]);
    }
}
