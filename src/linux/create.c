/* SPDX-License-Identifier: Apache-2.0 */
/* Making sockets for batches, and closing them. */
#include "../backend.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "failure.h"
#include "inspect.h"
#include "options.h"

#ifndef SYS_close_range
#define SYS_close_range 436 /* Linux 5.9; the same on every architecture */
#endif

_Static_assert(sizeof(struct sockaddr_in) == 16 && sizeof(struct sockaddr_in6) == 28, "as the core has them");

void wsasec_backend_kind(const wsasec_batch_spec *spec, struct wsasec_facts *facts)
{
    facts->family = spec->address_family == AF_INET    ? WSASEC_FAMILY_INET
                    : spec->address_family == AF_INET6 ? WSASEC_FAMILY_INET6
                                                       : WSASEC_FAMILY_OTHER;
    facts->type = wsasec_type_of(spec->type);
}

void wsasec_facts_of_fresh(const wsasec_batch_spec *spec, struct wsasec_facts *facts)
{
    facts->realm = 0; /* not yet asked for */
    facts->mark = 0;
    facts->device = 0;
    facts->bound = 0;
    wsasec_backend_kind(spec, facts);
}

int32_t wsasec_backend_make(const wsasec_batch_spec *spec, wsasec_socket *made, struct wsasec_facts *facts,
                            wsasec_status *status)
{
    socklen_t length = sizeof facts->identity;
    int fd = socket(spec->address_family, spec->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return wsasec_fail_errno(status, WSASEC_STEP_CREATE, errno);
    wsasec_facts_of_fresh(spec, facts);
    if (!(spec->flags & WSASEC_BATCH_PLAIN) &&
        getsockopt(fd, SOL_SOCKET, SO_COOKIE, &facts->identity, &length)) {
        const int error = errno;

        close(fd);
        return wsasec_fail_errno(status, WSASEC_STEP_CREATE, error);
    }
    *made = fd;
    return 0;
}

static int set(wsasec_socket socket, int level, int name, int value)
{
    return setsockopt((int)socket, level, name, &value, sizeof value);
}

int32_t wsasec_backend_equip(const wsasec_batch_spec *spec, size_t index, wsasec_socket socket,
                             wsasec_status *status)
{
    const unsigned char *source;
    const struct sockaddr_in *in;

    if ((spec->flags & WSASEC_BATCH_NODELAY && set(socket, IPPROTO_TCP, TCP_NODELAY, 1)) ||
        (spec->send_buffer && set(socket, SOL_SOCKET, SO_SNDBUF, spec->send_buffer)) ||
        (spec->receive_buffer && set(socket, SOL_SOCKET, SO_RCVBUF, spec->receive_buffer)))
        return wsasec_fail_errno(status, WSASEC_STEP_OPTIONS, errno);
    if (!spec->source_count)
        return 0;
    source = (const unsigned char *)spec->sources + index % spec->source_count * spec->source_size;
    in = (const struct sockaddr_in *)(const void *)source; /* the port is at the same place for both families */
    /* Port 0 is then chosen by connect(), with respect to the destination: far more connections fit. */
    if (!in->sin_port && spec->type == SOCK_STREAM && set(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1))
        return wsasec_fail_errno(status, WSASEC_STEP_BIND, errno);
    if (bind((int)socket, (const struct sockaddr *)(const void *)source, spec->source_size))
        return wsasec_fail_errno(status, WSASEC_STEP_BIND, errno);
    return 0;
}

uint64_t wsasec_backend_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void close_row(int32_t first, int32_t last)
{
    if (last > first && syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0u) == 0)
        return;
    for (int32_t fd = first; fd <= last; fd++)
        close(fd);
}

void wsasec_close_many(int32_t *sockets, size_t count)
{
    size_t i = 0;

    while (i < count) {
        const int32_t first = sockets[i];
        int32_t last = first;

        sockets[i++] = -1;
        if (first < 0)
            continue;
        while (i < count && sockets[i] == last + 1) {
            last++;
            sockets[i++] = -1;
        }
        close_row(first, last);
    }
}
