/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners without Python, in a network namespace that the caller made: threads, ends, forks, limits. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wsasec_accept.h"
#include "wsasec_listener.h"

static atomic_int failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                \
            atomic_fetch_add(&failures, 1);                                                                  \
        }                                                                                                    \
    } while (0)

static const uint64_t PATIENCE = UINT64_C(20000000000);

static void raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    close(fd);
}

static int is_closed(int fd)
{
    return fcntl(fd, F_GETFD) < 0 && errno == EBADF;
}

static struct sockaddr_in name_of(int fd)
{
    struct sockaddr_in name = {0};
    socklen_t length = sizeof name;

    CHECK(getsockname(fd, (struct sockaddr *)&name, &length) == 0);
    return name;
}

static int bound(int type)
{
    const struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, type, 0);

    CHECK(bind(fd, (const struct sockaddr *)&loopback, sizeof loopback) == 0);
    if (type == SOCK_STREAM)
        CHECK(listen(fd, 1024) == 0);
    return fd;
}

static int connected(int type, const struct sockaddr_in *to)
{
    const struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, type, 0);

    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    CHECK(connect(fd, (const struct sockaddr *)to, sizeof *to) == 0);
    return fd;
}

static wsasec_listener *start(int fd, uint32_t mode, uint32_t threads)
{
    const wsasec_listener_spec spec = {.socket = fd, .mode = mode, .threads = threads,
                                       .discard_after = mode == WSASEC_LISTENER_DISCARD ? 100 : 0};
    wsasec_status status;
    wsasec_listener *listener = wsasec_listener_start(&spec, &status);

    CHECK(listener && status.code == 0);
    return listener;
}

static wsasec_listener_counts counts_of(wsasec_listener *listener)
{
    wsasec_listener_counts counts;

    wsasec_listener_look(listener, &counts);
    return counts;
}

static int closed(wsasec_listener *listener, uint64_t count)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    for (int i = 0; i < 20000 && counts_of(listener).closed < count; i++)
        nanosleep(&pause, NULL);
    return counts_of(listener).closed == count;
}

enum { CLIENTS = 4, TURNS = 40, SIZE = 200000 };

static struct sockaddr_in server;

/* More than the socket buffers hold: the listener has to keep some of it. */
static void *send_and_read(void *argument)
{
    static const char zeros[SIZE];
    char *data = malloc(SIZE);

    (void)argument;
    for (int turn = 0; turn < TURNS; turn++) {
        int fd = connected(SOCK_STREAM, &server);
        size_t back = 0;
        ssize_t part = 1;

        CHECK(send(fd, zeros, SIZE, MSG_NOSIGNAL) == SIZE);
        while (back < SIZE && (part = recv(fd, data, SIZE, 0)) > 0)
            back += (size_t)part;
        CHECK(back == SIZE);
        close(fd);
    }
    free(data);
    return NULL;
}

static void *look(void *argument)
{
    wsasec_listener *listener = argument;
    uint64_t before = 0;

    CHECK(wsasec_listener_wait_accepted(listener, CLIENTS * TURNS / 2, PATIENCE));
    while (before < CLIENTS * TURNS) {
        const wsasec_listener_counts counts = counts_of(listener);

        CHECK(counts.closed <= counts.accepted && counts.accepted >= before);
        before = counts.accepted;
    }
    return NULL;
}

static void test_echo(void)
{
    int fd = bound(SOCK_STREAM);
    wsasec_listener *listener;
    pthread_t clients[CLIENTS];
    pthread_t looker;
    wsasec_listener_counts counts;

    server = name_of(fd);
    listener = start(fd, WSASEC_LISTENER_ECHO, 3);
    pthread_create(&looker, NULL, look, listener);
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, send_and_read, NULL);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    pthread_join(looker, NULL);
    CHECK(closed(listener, CLIENTS * TURNS));
    counts = counts_of(listener);
    CHECK(counts.received_bytes == (uint64_t)CLIENTS * TURNS * SIZE && counts.sent_bytes == counts.received_bytes);
    CHECK(counts.resets == 0 && counts.refused == 0 && counts.accept_errors == 0);
    wsasec_listener_free(listener);
}

static void *stop(void *listener)
{
    wsasec_listener_stop(listener);
    return NULL;
}

static void *wait_long(void *listener)
{
    CHECK(!wsasec_listener_wait_accepted(listener, UINT64_MAX, PATIENCE));
    return NULL;
}

/* With connections that are in the middle of something, by several at once, while another waits. */
static void test_stop(void)
{
    for (uint32_t mode = 0; mode < WSASEC_LISTENER_MODES; mode++) {
        int fd = bound(SOCK_STREAM);
        const struct sockaddr_in name = name_of(fd);
        wsasec_listener *listener = start(fd, mode, 2);
        pthread_t threads[4];
        int fds[20];

        for (int i = 0; i < 20; i++) {
            fds[i] = connected(SOCK_STREAM, &name);
            for (int sent = 0; sent < 100; sent++) /* an echo has nowhere to put it */
                (void)send(fds[i], name.sin_zero, sizeof name.sin_zero, MSG_NOSIGNAL);
        }
        CHECK(wsasec_listener_wait_accepted(listener, 20, PATIENCE));
        for (int i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, i ? stop : wait_long, listener) == 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        CHECK(counts_of(listener).accepted == 20);
        CHECK(is_closed(fd));
        for (int i = 0; i < 20; i++)
            close(fds[i]);
        wsasec_listener_free(listener);
    }
}

static void test_datagrams(void)
{
    int fd = bound(SOCK_DGRAM);
    const struct sockaddr_in name = name_of(fd);
    wsasec_listener *listener = start(fd, WSASEC_LISTENER_ECHO, 2);
    char data[2000] = "";

    for (int i = 0; i < 5; i++) {
        int client = connected(SOCK_DGRAM, &name);

        for (size_t size = 0; size < sizeof data; size += 100) {
            CHECK(send(client, data, size, 0) == (ssize_t)size);
            CHECK(recv(client, data, sizeof data, 0) == (ssize_t)size);
        }
        close(client);
    }
    wsasec_listener_stop(listener);
    CHECK(counts_of(listener).received_datagrams == 100 && counts_of(listener).sent_datagrams == 100);
    wsasec_listener_free(listener);
}

static void test_fork(void)
{
    int fd = bound(SOCK_STREAM);
    const struct sockaddr_in name = name_of(fd);
    wsasec_listener *listener = start(fd, WSASEC_LISTENER_ECHO, 2);
    int client = connected(SOCK_STREAM, &name);
    int status = 1;
    char letter = 'x';
    pid_t child;

    CHECK(wsasec_listener_wait_accepted(listener, 1, PATIENCE));
    child = fork();
    if (child == 0) {
        CHECK(is_closed(fd));
        wsasec_listener_stop(listener);
        CHECK(!wsasec_listener_wait_accepted(listener, 2, PATIENCE));
        wsasec_listener_free(listener);
        _exit(failures);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(send(client, &letter, 1, 0) == 1 && recv(client, &letter, 1, 0) == 1);
    wsasec_listener_free(listener);
    CHECK(recv(client, &letter, 1, 0) == 0);
    close(client);
}

static void refuse(wsasec_listener_spec spec, int32_t code)
{
    wsasec_status status;

    CHECK(!wsasec_listener_start(&spec, &status));
    CHECK(status.code == -code);
}

static void test_refused(void)
{
    const int on = 1;
    int listening = bound(SOCK_STREAM);
    int datagrams = bound(SOCK_DGRAM);
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    int shared = socket(AF_INET, SOCK_STREAM, 0);
    int shared_port = socket(AF_INET, SOCK_DGRAM, 0);
    const struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const wsasec_listener_spec good = {.socket = listening, .threads = 1};
    wsasec_listener_spec spec = good;

    refuse((wsasec_listener_spec){.socket = -1, .threads = 1}, WSASEC_WSAENOTSOCK);
    refuse((wsasec_listener_spec){.socket = STDERR_FILENO, .threads = 1}, WSASEC_WSAENOTSOCK);
    refuse((wsasec_listener_spec){.socket = fresh, .threads = 1}, WSASEC_WSAEINVAL);
    refuse((wsasec_listener_spec){.socket = listening}, WSASEC_WSAEINVAL);
    spec.threads = WSASEC_LISTENER_THREADS_MAX + 1;
    refuse(spec, WSASEC_WSAEINVAL);
    spec = good;
    spec.mode = WSASEC_LISTENER_MODES;
    refuse(spec, WSASEC_WSAEINVAL);
    spec = good;
    spec.mode = WSASEC_LISTENER_DISCARD;
    refuse(spec, WSASEC_WSAEINVAL);
    spec.discard_after = 1;
    spec.socket = datagrams;
    refuse(spec, WSASEC_WSAEINVAL);
    spec = good;
    spec.flags = WSASEC_LISTENER_SECURED;
    refuse(spec, WSASEC_WSAEINVAL);
    CHECK(wsasec_set_socket_security(shared, NULL, 0, NULL, NULL, NULL) == 0);
    CHECK(setsockopt(shared, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
    CHECK(listen(shared, 1) == 0);
    spec.socket = shared;
    refuse(spec, WSASEC_WSAEINVAL);
    CHECK(wsasec_set_socket_security(shared_port, NULL, 0, NULL, NULL, NULL) == 0);
    CHECK(setsockopt(shared_port, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    CHECK(bind(shared_port, (const struct sockaddr *)&loopback, sizeof loopback) == 0);
    spec.socket = shared_port;
    spec.mode = WSASEC_LISTENER_SINK;
    refuse(spec, WSASEC_WSAEINVAL);
    close(shared_port);
    wsasec_listener_free(NULL);
    close(listening);
    close(datagrams);
    close(fresh);
    close(shared);
}

static void test_accept(void)
{
    const wsasec_socket_security_settings fallback = {0, WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE};
    const struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name;
    struct sockaddr_in peer = {0};
    uint32_t length = sizeof peer;
    wsasec_socket accepted = -1;
    int client;

    CHECK(wsasec_accept(fd, 0, &accepted, NULL, NULL, NULL) == -WSASEC_WSAEINVAL);
    CHECK(wsasec_set_socket_security(fd, &fallback, sizeof fallback, NULL, NULL, NULL) == 0);
    CHECK(bind(fd, (const struct sockaddr *)&loopback, sizeof loopback) == 0 && listen(fd, 10) == 0);
    name = name_of(fd);
    client = connected(SOCK_STREAM, &name);
    CHECK(wsasec_accept(fd, WSASEC_ACCEPT_NONBLOCKING, &accepted, &peer, &length, NULL) == 0);
    CHECK(wsasec_profile_of(accepted) == wsasec_profile_builtin());
    name = name_of(client);
    CHECK(length == sizeof peer && peer.sin_port == name.sin_port);
    CHECK(recv((int)accepted, &name, 1, 0) < 0 && errno == EAGAIN);
    close((int)accepted);
    close(client);
    close(fd);
}

int main(void)
{
    raise_loopback();
    test_echo();
    test_stop();
    test_datagrams();
    test_fork();
    test_refused();
    test_accept();
    wsasec_release_namespaces();
    return failures != 0;
}
