/* SPDX-License-Identifier: Apache-2.0 */
/* The ring itself: what is linked stops at the first failure, what is not goes on, and each result is found. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/linux/uring/ring.h"

static int failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

enum { NO_SUCH_OPTION = 9999 };

static const int on = 1;

static int set(struct wsasec_ring *ring, int fd, int name, int linked)
{
    return wsasec_ring_add_option(ring, WSASEC_URING_SETSOCKOPT, fd, SOL_SOCKET, name, &on, sizeof on, linked);
}

static int is_on(int fd, int name)
{
    int value = 0;
    socklen_t length = sizeof value;

    return getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 && value;
}

/* Of three sockets, the one in the middle has a step that fails. */
static void test_chains(struct wsasec_ring *ring)
{
    int fds[3];
    int first[3];

    for (int i = 0; i < 3; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        first[i] = set(ring, fds[i], SO_REUSEADDR, 1);
        CHECK(set(ring, fds[i], i == 1 ? NO_SUCH_OPTION : SO_KEEPALIVE, 1) == first[i] + 1);
        CHECK(set(ring, fds[i], SO_OOBINLINE, 0) == first[i] + 2);
    }
    wsasec_ring_run(ring);
    for (int i = 0; i < 3; i++) {
        const int32_t *results = &ring->results[first[i]];

        CHECK(results[0] == 0 && is_on(fds[i], SO_REUSEADDR));
        CHECK(results[1] == (i == 1 ? -ENOPROTOOPT : 0));
        CHECK(results[2] == (i == 1 ? -ECANCELED : 0));
        CHECK(is_on(fds[i], SO_OOBINLINE) == (i != 1));
        close(fds[i]);
    }
}

static void test_a_closed_descriptor(struct wsasec_ring *ring)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int gone = dup(fd);
    int first;

    close(gone);
    first = set(ring, gone, SO_REUSEADDR, 1);
    set(ring, gone, SO_KEEPALIVE, 0);
    set(ring, fd, SO_KEEPALIVE, 0);
    wsasec_ring_run(ring);
    CHECK(ring->results[first] == -EBADF && ring->results[first + 1] == -ECANCELED && ring->results[first + 2] == 0);
    close(fd);
}

static void test_sockets(struct wsasec_ring *ring)
{
    int good = wsasec_ring_add_socket(ring, AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC);
    int bad = wsasec_ring_add_socket(ring, AF_INET, 77);

    wsasec_ring_run(ring);
    CHECK(ring->results[good] >= 0 && ring->results[bad] == -EINVAL);
    close(ring->results[good]);
}

static void test_full(struct wsasec_ring *ring)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < WSASEC_RING_ENTRIES; i++)
            CHECK(set(ring, fd, SO_KEEPALIVE, i % 5 != 0) == i);
        CHECK(set(ring, fd, SO_KEEPALIVE, 0) == -1);
        wsasec_ring_run(ring);
        for (int i = 0; i < WSASEC_RING_ENTRIES; i++)
            CHECK(ring->results[i] == 0);
    }
    wsasec_ring_run(ring); /* nothing is in it */
    close(fd);
}

int main(void)
{
    wsasec_status status;
    struct wsasec_ring *ring = wsasec_backend_ring_open(&status);

    if (!ring) {
        fprintf(stderr, "%s\n", wsasec_reason_text(status.reason));
        return 77;
    }
    test_chains(ring);
    test_a_closed_descriptor(ring);
    test_sockets(ring);
    test_full(ring);
    CHECK(!ring->broken);
    wsasec_backend_ring_close(ring);
    return failures != 0;
}
