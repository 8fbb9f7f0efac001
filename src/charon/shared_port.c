/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "shared_port.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

static int beside(struct inherited_sockets *inherited, const struct sockaddr_storage *address, socklen_t length)
{
    int on = 1, error, fd = inherited_sockets_take(inherited, address->ss_family);
    bool is_inherited = fd >= 0;

    if (!is_inherited) {
        fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd < 0) {
        return -errno;
    }
    if ((address->ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
        || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0
        || bind(fd, (const struct sockaddr *)address, length) < 0) {
        error = errno;
        if (is_inherited) {
            inherited_sockets_give_back(inherited, fd);
        } else {
            close(fd);
        }
        return -error;
    }
    return fd;
}

/* The number of the socket in the group, in which charon's is the first: it was bound before the others. */
static int choose(int fd, size_t count)
{
    struct sock_filter steps[] = {
        /* The kernel shows the filter what is behind the UDP header. What is too short ends it with 0. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, (uint32_t)count),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {sizeof(steps) / sizeof(steps[0]), steps};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0 ? -errno : 0;
}

int shared_port_open(int charon, struct inherited_sockets *inherited, int *sockets, size_t *count, size_t wanted)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    int on = 1, code = 0;

    if (*count > wanted) {
        /* First, as what is chosen and is not there would go to any. */
        code = choose(sockets[0], wanted);
        while (code == 0 && *count > wanted) {
            close(sockets[--*count]);
        }
        return code;
    }
    if (getsockname(charon, (struct sockaddr *)&address, &length) < 0
        || setsockopt(charon, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) {
        return -errno;
    }
    while (code == 0 && *count < wanted) {
        int fd = beside(inherited, &address, length);

        if (fd < 0) {
            code = fd;
            break;
        }
        /* Each time, for the same reason. */
        code = choose(fd, *count + 1);
        if (code == 0) {
            sockets[(*count)++] = fd;
        } else {
            close(fd);
        }
    }
    /* Fewer do as well. */
    return *count > 0 ? 0 : code;
}
