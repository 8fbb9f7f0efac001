/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* unshare */
/* Batches on the running kernel, in a network namespace that the caller made; the argument tells how it was built. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wsasec_batch.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

enum { MANY = 700 };

static int failures;
static int32_t sockets[MANY];
static int32_t codes[MANY];
static unsigned methods[] = {WSASEC_METHOD_PLAIN, WSASEC_METHOD_THREADS, WSASEC_METHOD_IO_URING};
static unsigned method_count = 3;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

#define EACH_METHOD(method) for (unsigned m = 0, method; m < method_count && (method = methods[m], 1); m++)

static int sends_nothing(int fd, int family)
{
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = in6addr_loopback};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    if (family == AF_INET6)
        return connect(fd, (struct sockaddr *)&to6, sizeof to6) < 0 && errno == EAGAIN;
    return connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == EAGAIN;
}

static int is_blocked(int fd)
{
    int index = 0;
    socklen_t length = sizeof index;

    return getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &length) == 0 && index == INT_MAX;
}

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 2 * MANY; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static size_t finish(wsasec_job *job, wsasec_status *first)
{
    CHECK(job);
    while (job && !wsasec_job_run(job, 1000000))
        continue;
    return wsasec_job_end(job, first);
}

static size_t create(const wsasec_batch_spec *spec, int stop, unsigned method, wsasec_status *first)
{
    return finish(wsasec_job_create(sockets, MANY, spec, codes, stop, method, 2, first), first);
}

static size_t secure(unsigned method, wsasec_status *first)
{
    return finish(wsasec_job_secure(sockets, MANY, NULL, 0, codes, method, 2, first), first);
}

static void close_all(void)
{
    wsasec_close_many(sockets, MANY);
    for (int i = 0; i < MANY; i++)
        CHECK(sockets[i] == -1);
}

/* What is opened once for a namespace, while there is the privilege. */
static void open_realm(void)
{
    wsasec_option options[WSASEC_OPTIONS_MAX];
    wsasec_status status;
    size_t count;

    CHECK(wsasec_socket_options(AF_INET, NULL, 0, options, &count, &status) == 0);
    CHECK(wsasec_socket_options(AF_INET6, NULL, 0, options, &count, &status) == 0);
}

static void test_all_kinds(void)
{
    const struct sockaddr_in6 source6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    const struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int families[] = {AF_INET, AF_INET6};
    const int types[] = {SOCK_STREAM, SOCK_DGRAM};

    EACH_METHOD(method)
    for (int kind = 0; kind < 4; kind++) {
        const int family = families[kind / 2];
        const wsasec_batch_spec spec = {
            .address_family = family,
            .type = types[kind % 2],
            .flags = kind % 2 ? 0 : WSASEC_BATCH_NODELAY,
            .sources = family == AF_INET6 ? (const void *)&source6 : (const void *)&source,
            .source_count = 1,
            .source_size = family == AF_INET6 ? sizeof source6 : sizeof source,
        };
        const int before = open_descriptors();
        wsasec_status first;

        CHECK(create(&spec, 1, method, &first) == 0);
        for (int i = 0; i < MANY; i++)
            CHECK(codes[i] == 0 && sends_nothing(sockets[i], family) &&
                  wsasec_profile_of(sockets[i]) == wsasec_profile_builtin());
        close_all();
        CHECK(open_descriptors() == before);

        for (int i = 0; i < MANY; i++)
            sockets[i] = socket(family, types[kind % 2] | SOCK_NONBLOCK, 0);
        CHECK(secure(method, &first) == 0);
        CHECK(secure(method, &first) == MANY && first.reason == WSASEC_REASON_ALREADY_SECURED);
        for (int i = 0; i < MANY; i++)
            CHECK(sends_nothing(sockets[i], family));
        close_all();
        CHECK(open_descriptors() == before);
    }
}

/* What is wrong with some must not change what becomes of the others. */
static void test_some_are_wrong(void)
{
    const struct sockaddr_in any = {.sin_family = AF_INET};

    EACH_METHOD(method) {
        const int before = open_descriptors();
        wsasec_status first;

        for (int i = 0; i < MANY; i++)
            sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(bind(sockets[101], (const struct sockaddr *)&any, sizeof any) == 0 && listen(sockets[101], 1) == 0);
        close(sockets[102]);
        sockets[102] = socket(AF_UNIX, SOCK_STREAM, 0);
        close(sockets[103]);
        sockets[103] = open("/dev/null", O_RDONLY);
        close(sockets[104]);
        sockets[104] = -7;
        close(sockets[105]);
        close(sockets[105]);
        sockets[105] = dup(sockets[99]);
        close(sockets[100]); /* last: its number is free now */
        CHECK(secure(method, &first) == 6);
        CHECK(first.reason == WSASEC_REASON_NOT_A_SOCKET && first.flags == 0);
        for (int i = 0; i < MANY; i++) {
            if (i < 100 || i > 105)
                CHECK(codes[i] == 0 && sends_nothing(sockets[i], AF_INET));
            else
                CHECK(codes[i] == -(i == 100 || i == 103 || i == 104 ? WSASEC_WSAENOTSOCK : WSASEC_WSAEINVAL));
        }
        CHECK(!is_blocked(sockets[101]) && !is_blocked(sockets[102]));
        sockets[100] = -1;
        close_all();
        CHECK(open_descriptors() == before);
    }
}

/* A step that fails after the checks: nothing may go out in clear, or be left. */
static void test_without_privilege(void)
{
    const wsasec_batch_spec spec = {.address_family = AF_INET, .type = SOCK_DGRAM};
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    EACH_METHOD(method) {
        const int before = open_descriptors();
        wsasec_status first;

        for (int i = 0; i < MANY; i++)
            sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
        CHECK(seteuid(65534) == 0);
        CHECK(secure(method, &first) == MANY);
        CHECK(first.code == -WSASEC_WSAEACCES && first.step == WSASEC_STEP_POLICY_OUT);
        CHECK(first.flags == WSASEC_STATUS_BLOCKED && first.os_error == EPERM);
        for (int i = 0; i < MANY; i++)
            CHECK(codes[i] == -WSASEC_WSAEACCES && is_blocked(sockets[i]));
        CHECK(secure(method, &first) == MANY && first.reason == WSASEC_REASON_FAILED_BEFORE);
        for (int i = 0; i < MANY; i++)
            CHECK(sendto(sockets[i], "x", 1, 0, (const struct sockaddr *)&to, sizeof to) < 0);
        close_all();
        CHECK(create(&spec, 1, method, &first) == 1 && first.step == WSASEC_STEP_POLICY_OUT);
        CHECK(codes[0] == -WSASEC_WSAEACCES && codes[1] == 0);
        CHECK(open_descriptors() == before);
        CHECK(create(&spec, 0, method, &first) == MANY);
        CHECK(open_descriptors() == before);
        CHECK(seteuid(0) == 0);
    }
}

static void test_limit(void)
{
    const wsasec_batch_spec spec = {.address_family = AF_INET, .type = SOCK_STREAM};
    struct rlimit limit;
    struct rlimit low;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    low = limit;
    low.rlim_cur = 300;
    EACH_METHOD(method)
    for (int stop = 0; stop < 2; stop++) {
        const int before = open_descriptors();
        wsasec_status first;
        int made = 0, total = 0;

        CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
        CHECK(create(&spec, stop, method, &first) == (stop ? 1 : (size_t)(MANY - open_descriptors() + before)));
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        CHECK(first.reason == WSASEC_REASON_NO_DESCRIPTORS && first.step == WSASEC_STEP_CREATE);
        while (made < MANY && sockets[made] >= 0)
            made++;
        CHECK(codes[made] == -WSASEC_WSAEMFILE);
        for (int i = 0; i < MANY; i++) {
            CHECK(sockets[i] < 0 || (codes[i] == 0 && sends_nothing(sockets[i], AF_INET)));
            total += sockets[i] >= 0;
        }
        CHECK(total < 300 && (!stop || total == made));
        /* A thread that had to wait for the processor finds none left for its first one: what comes after is closed. */
        if (!stop || method != WSASEC_METHOD_THREADS)
            CHECK(total > 280 - before);
        close_all();
        CHECK(open_descriptors() == before);
    }
}

/* A child of fork() has the job, but no thread of it, and not its ring. */
static void test_fork_in_a_job(void)
{
    const wsasec_batch_spec spec = {.address_family = AF_INET, .type = SOCK_STREAM};

    EACH_METHOD(method) {
        wsasec_status first;
        wsasec_job *job = wsasec_job_create(sockets, MANY, &spec, codes, 1, method, 2, &first);
        int status = 1;
        pid_t child;

        CHECK(job && wsasec_job_run(job, 0) == 0);
        child = fork();
        CHECK(finish(job, &first) == 0);
        for (int i = 0; i < MANY; i++)
            CHECK(sends_nothing(sockets[i], AF_INET));
        close_all();
        if (child == 0)
            _exit(failures != 0);
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
}

struct elsewhere {
    wsasec_job *job;
    size_t failed;
};

static void *finish_elsewhere(void *argument)
{
    struct elsewhere *elsewhere = argument;
    wsasec_status first;

    elsewhere->failed = finish(elsewhere->job, &first);
    return NULL;
}

/* A ring is one thread's; a job that goes on in another still ends well. */
static void test_another_thread(void)
{
    const wsasec_batch_spec spec = {.address_family = AF_INET6, .type = SOCK_STREAM};

    EACH_METHOD(method) {
        wsasec_status first;
        struct elsewhere elsewhere = {wsasec_job_create(sockets, MANY, &spec, codes, 1, method, 2, &first), 1};
        pthread_t thread;

        CHECK(elsewhere.job && wsasec_job_run(elsewhere.job, 0) == 0);
        CHECK(pthread_create(&thread, NULL, finish_elsewhere, &elsewhere) == 0);
        pthread_join(thread, NULL);
        CHECK(elsewhere.failed == 0);
        for (int i = 0; i < MANY; i++)
            CHECK(sends_nothing(sockets[i], AF_INET6));
        close_all();
    }
}

static void test_reserved_port(void)
{
    const struct sockaddr_in source = {.sin_family = AF_INET, .sin_port = htons(1)};
    const wsasec_batch_spec spec = {.address_family = AF_INET, .type = SOCK_STREAM, .flags = WSASEC_BATCH_PLAIN,
                                    .sources = &source, .source_count = 1, .source_size = sizeof source};

    EACH_METHOD(method) {
        wsasec_status first;

        CHECK(seteuid(65534) == 0);
        CHECK(create(&spec, 1, method, &first) == 1);
        CHECK(first.step == WSASEC_STEP_BIND && first.reason == WSASEC_REASON_PRIVILEGED_PORT);
        CHECK(seteuid(0) == 0);
    }
}

/* The thread goes to another namespace in the middle: what it makes there is guarded there. Last, as it stays. */
static void test_another_namespace(void)
{
    const wsasec_batch_spec spec = {.address_family = AF_INET, .type = SOCK_STREAM};

    EACH_METHOD(method) {
        wsasec_status first;
        wsasec_job *job = wsasec_job_create(sockets, MANY, &spec, codes, 1, method, 2, &first);

        CHECK(job && wsasec_job_run(job, 0) == 0);
        CHECK(unshare(CLONE_NEWNET) == 0 && system("ip link set lo up") == 0);
        CHECK(wsasec_guard_state(AF_INET, NULL, &first) & WSASEC_GUARD_POLICY_MISSING);
        CHECK(wsasec_job_run(job, 0) == 0);
        CHECK(wsasec_guard_state(AF_INET, NULL, &first) == WSASEC_GUARD_UP);
        CHECK(finish(job, &first) == 0);
        for (int i = 0; i < MANY; i++)
            CHECK(sends_nothing(sockets[i], AF_INET));
        close_all();
    }
}

/* Descriptors in rows, with gaps, and out of order. */
static void test_close(void)
{
    const int before = open_descriptors();
    int32_t all[12];

    for (int i = 0; i < 12; i++)
        all[i] = dup(0);
    sockets[0] = all[7];
    for (int i = 0; i < 7; i++)
        sockets[1 + i] = all[i];
    sockets[8] = -1;
    for (int i = 8; i < 12; i++)
        sockets[1 + i] = all[i];
    wsasec_close_many(sockets, 13);
    for (int i = 0; i < 13; i++)
        CHECK(sockets[i] == -1);
    CHECK(open_descriptors() == before);
    wsasec_close_many(sockets, 13);
    wsasec_close_many(sockets, 0);
}

int main(int argc, char **argv)
{
    wsasec_status status;
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(system("ip link set lo up") == 0);
    if (argc > 1 && strcmp(argv[1], "no_uring") == 0) {
        CHECK(wsasec_method_status(WSASEC_METHOD_IO_URING, &status) == -WSASEC_WSAEOPNOTSUPP);
        CHECK(status.reason == WSASEC_REASON_URING_NOT_BUILT);
        method_count--;
    } else if (wsasec_method_status(WSASEC_METHOD_IO_URING, &status)) {
        fprintf(stderr, "no io_uring here: %s\n", wsasec_reason_text(status.reason));
        method_count--;
    }
    open_realm();
    test_all_kinds();
    test_some_are_wrong();
    test_without_privilege();
    test_limit();
    test_fork_in_a_job();
    test_another_thread();
    test_reserved_port();
    test_close();
    test_another_namespace();
    wsasec_release_namespaces();
    return failures != 0;
}
