/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting many sockets, without Python, on loopback in a network namespace that the caller made. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wsasec.h"
#include "wsasec_batch.h"
#include "wsasec_connect.h"

static int failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

enum { MANY = 300 };

static const uint64_t SECOND = UINT64_C(1000000000);

struct run {
    int32_t sockets[MANY];
    int32_t errnos[MANY];
    struct sockaddr_in addresses[MANY];
    wsasec_histogram latency;
    wsasec_histogram wait;
    wsasec_connect_spec spec;
    wsasec_connect_counts counts;
    int slices;
};

static struct run the_run;

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

    address.sin_port = htons(port);
    return address;
}

static int listen_somewhere(uint16_t *port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(fd, 4096) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void begin(struct run *run, int type, size_t addresses)
{
    for (int i = 0; i < MANY; i++)
        run->sockets[i] = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    memset(&run->spec, 0, sizeof run->spec);
    run->spec.addresses = run->addresses;
    run->spec.address_count = addresses;
    run->spec.address_size = sizeof run->addresses[0];
    run->spec.timeout = 60 * SECOND;
    run->spec.latency = &run->latency;
    run->spec.wait = &run->wait;
    run->slices = 0;
}

static void go(struct run *run, size_t count, uint64_t slice)
{
    wsasec_status status;
    wsasec_connector *connector;

    wsasec_histogram_clear(&run->latency);
    wsasec_histogram_clear(&run->wait);
    connector = wsasec_connect_begin(run->sockets, count, &run->spec, run->errnos, &status);
    CHECK(connector);
    while (!wsasec_connect_run(connector, slice))
        run->slices++;
    CHECK(wsasec_connect_run(connector, slice) == 1);
    wsasec_connect_look(connector, &run->counts);
    wsasec_connect_end(connector);
    CHECK(run->counts.done == count);
    CHECK(run->counts.in_progress == 0);
    CHECK(run->latency.count == run->counts.connected);
}

static void finish(struct run *run)
{
    wsasec_close_many(run->sockets, MANY);
}

static int count_of(const struct run *run, int error)
{
    int count = 0;

    for (int i = 0; i < MANY; i++)
        count += run->errnos[i] == error;
    return count;
}

static void test_connected(struct run *run, uint16_t port)
{
    const uint32_t limits[] = {0, 1, 3, 1000};

    for (int i = 0; i < 4; i++) {
        run->addresses[0] = loopback(port);
        begin(run, SOCK_STREAM, 1);
        run->spec.concurrency = limits[i];
        go(run, MANY, SECOND / 20);
        CHECK(count_of(run, 0) == MANY && run->counts.connected == MANY);
        run->slices = 0;
        go(run, MANY, UINT64_MAX);
        CHECK(count_of(run, EISCONN) == MANY && run->slices == 0);
        finish(run);
    }
}

static void test_mixed(struct run *run, uint16_t port)
{
    run->addresses[0] = loopback(port);
    run->addresses[1] = loopback(9);
    run->addresses[2] = loopback(port);
    begin(run, SOCK_STREAM, 3);
    close(run->sockets[3]);
    run->sockets[3] = -1;
    CHECK(fcntl(run->sockets[6], F_SETFL, 0) == 0);
    go(run, MANY, 1); /* slices as short as can be */
    CHECK(run->slices > 1);
    CHECK(count_of(run, 0) == MANY / 3 * 2 - 2);
    CHECK(count_of(run, ECONNREFUSED) == MANY / 3);
    CHECK(run->errnos[3] == EBADF && run->errnos[6] == EINVAL);
    finish(run);
    /* More addresses than sockets. */
    for (int i = 0; i < MANY; i++)
        run->addresses[i] = loopback((uint16_t)(1000 + i));
    begin(run, SOCK_DGRAM, MANY);
    memset(run->errnos, 0xff, sizeof run->errnos);
    go(run, 7, SECOND);
    CHECK(count_of(run, 0) == 7);
    go(run, 0, SECOND);
    finish(run);
}

static void test_without_association(struct run *run, int type, size_t addresses)
{
    int32_t codes[MANY];
    wsasec_status status;

    for (size_t i = 0; i < addresses; i++)
        run->addresses[i] = loopback((uint16_t)(1000 + i));
    begin(run, type, addresses);
    CHECK(wsasec_secure_many(run->sockets, MANY, NULL, 0, codes, &status) == 0);
    run->spec.timeout = SECOND / 5;
    go(run, MANY, SECOND / 20);
    CHECK(count_of(run, EAGAIN) == MANY);
    CHECK(run->counts.waited == MANY && run->counts.connected == 0 && run->wait.count == 0);
    CHECK(run->counts.nanoseconds >= run->spec.timeout);
    finish(run);
}

/* Every second socket finds what the others lack. */
static void test_half_without_association(struct run *run, uint16_t port)
{
    int32_t some[MANY / 2];
    int32_t codes[MANY / 2];
    wsasec_status status;

    run->addresses[0] = loopback(port);
    begin(run, SOCK_STREAM, 1);
    for (int i = 0; i < MANY / 2; i++)
        some[i] = run->sockets[2 * i];
    CHECK(wsasec_secure_many(some, MANY / 2, NULL, 0, codes, &status) == 0);
    run->spec.timeout = 2 * SECOND;
    go(run, MANY, SECOND / 20);
    for (int i = 0; i < MANY; i++)
        CHECK(run->errnos[i] == (i % 2 ? 0 : EAGAIN));
    CHECK(run->counts.waited == MANY && run->wait.count == MANY / 2);
    finish(run);
}

static void test_given_up(struct run *run, uint16_t port)
{
    wsasec_status status;
    wsasec_connector *connector;

    run->addresses[0] = loopback(port);
    begin(run, SOCK_STREAM, 1);
    connector = wsasec_connect_begin(run->sockets, MANY, &run->spec, run->errnos, &status);
    CHECK(connector && !wsasec_connect_run(connector, 0));
    wsasec_connect_look(connector, &run->counts);
    CHECK(run->counts.done == 0);
    CHECK(!wsasec_connect_run(connector, 1));
    wsasec_connect_end(connector);
    finish(run);
    wsasec_connect_end(NULL);
}

static void test_refusals(struct run *run)
{
    wsasec_status status;

    run->addresses[0] = loopback(9);
    begin(run, SOCK_STREAM, 1);
    run->addresses[0].sin_family = AF_UNSPEC;
    CHECK(!wsasec_connect_begin(run->sockets, MANY, &run->spec, run->errnos, &status));
    CHECK(status.code == -WSASEC_WSAEINVAL && status.step == WSASEC_STEP_CONNECT);
    run->addresses[0] = loopback(9);
    run->spec.address_size--;
    CHECK(!wsasec_connect_begin(run->sockets, MANY, &run->spec, run->errnos, &status));
    run->spec.address_size++;
    run->spec.address_count = 0;
    CHECK(!wsasec_connect_begin(run->sockets, MANY, &run->spec, run->errnos, &status));
    run->spec.address_count = 1;
    run->spec.latency = NULL;
    CHECK(!wsasec_connect_begin(run->sockets, MANY, &run->spec, run->errnos, &status));
    finish(run);
}

int main(void)
{
    uint16_t port = 0;
    int listener;

    CHECK(system("ip link set lo up") == 0);
    listener = listen_somewhere(&port);
    test_connected(&the_run, port);
    test_mixed(&the_run, port);
    test_without_association(&the_run, SOCK_STREAM, 1);
    test_without_association(&the_run, SOCK_DGRAM, 2);
    test_without_association(&the_run, SOCK_STREAM, MANY);
    test_half_without_association(&the_run, port);
    test_given_up(&the_run, port);
    test_refusals(&the_run);
    close(listener);
    wsasec_release_namespaces();
    return failures != 0;
}
