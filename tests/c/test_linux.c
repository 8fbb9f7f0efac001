/* SPDX-License-Identifier: Apache-2.0 */
/* The library without Python, on the running kernel, in a network namespace that the caller made. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wsasec.h"

static atomic_int failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                \
            atomic_fetch_add(&failures, 1);                                                                  \
        }                                                                                                    \
    } while (0)

static const int families[] = {AF_INET, AF_INET6};
static const int types[] = {SOCK_STREAM, SOCK_DGRAM};

static int sends_nothing(int fd, int family)
{
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = in6addr_loopback};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    if (family == AF_INET6)
        return connect(fd, (struct sockaddr *)&to6, sizeof to6) < 0 && errno == EAGAIN;
    return connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == EAGAIN;
}

static void test_one_by_one(void)
{
    for (int f = 0; f < 2; f++) {
        for (int t = 0; t < 2; t++) {
            wsasec_status status;
            int fd = socket(families[f], types[t], 0);

            CHECK(wsasec_set_socket_security(fd, NULL, 0, NULL, NULL, &status) == 0);
            CHECK(wsasec_set_socket_security(fd, NULL, 0, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
            CHECK(wsasec_profile_of(fd) == wsasec_profile_builtin());
            CHECK(wsasec_guard_state(families[f], NULL, &status) == WSASEC_GUARD_UP);
            CHECK(wsasec_query_socket_security(fd, NULL, 0, NULL, NULL, NULL, NULL, &status) == -WSASEC_WSAEFAULT);
            CHECK(sends_nothing(fd, families[f]));
            close(fd);
        }
    }
}

static void test_options(void)
{
    for (int f = 0; f < 2; f++) {
        wsasec_option options[WSASEC_OPTIONS_MAX];
        wsasec_status status;
        size_t count = 0;
        int fd = socket(families[f], SOCK_STREAM, 0);

        CHECK(wsasec_socket_options(families[f], NULL, 0, options, &count, &status) == 0);
        CHECK(count >= 4);
        for (size_t i = 0; i < count; i++)
            CHECK(setsockopt(fd, options[i].level, options[i].name, options[i].value, options[i].length) == 0);
        CHECK(sends_nothing(fd, families[f]));
        close(fd);
    }
}

enum { MANY = 500 };

static void *secure_some(void *argument)
{
    int32_t *sockets = argument;
    wsasec_status first;

    CHECK(wsasec_secure_many(sockets, MANY, NULL, 0, NULL, &first) == 0);
    return NULL;
}

static void test_threads(void)
{
    static int32_t sockets[4][MANY];
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        for (int j = 0; j < MANY; j++)
            sockets[i][j] = socket(families[j % 2], types[i % 2], 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, secure_some, sockets[i]) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < MANY; j++)
            close(sockets[i][j]);
}

static void test_fork(void)
{
    int status = 1;
    pid_t child = fork();

    if (child == 0) {
        test_one_by_one();
        wsasec_release_namespaces();
        _exit(failures);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    test_one_by_one();
}

static void test_capabilities(void)
{
    wsasec_status status;

    for (unsigned i = WSASEC_CAPABILITY_SOCKET_POLICY; i <= WSASEC_CAPABILITY_AES_GCM; i++)
        CHECK(wsasec_capability(i, &status) >= 0);
    CHECK(wsasec_capability(WSASEC_CAPABILITY_SOCKET_POLICY, &status) == 1);
    CHECK(wsasec_capability(0, &status) == -WSASEC_WSAEOPNOTSUPP);
}

/* An ordinary user's soft limit is often 1,024. */
static void raise_limit(void)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

int main(void)
{
    raise_limit();
    CHECK(system("ip link set lo up") == 0);
    test_one_by_one();
    test_options();
    test_threads();
    test_fork();
    test_capabilities();
    wsasec_release_namespaces();
    return failures != 0;
}
