/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic without Python, over loopback, against peers of this program: what is counted is what they received. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wsasec_traffic.h"

static atomic_int failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                \
            atomic_fetch_add(&failures, 1);                                                                  \
        }                                                                                                    \
    } while (0)

enum { PAIRS = 7, ROOM = 65536, WAIT_MS = 20000, QUIET_MS = 200 };

static const uint64_t MILLISECOND = UINT64_C(1000000);

/* The other ends, served by one thread. */
struct peers {
    int32_t near[PAIRS];
    int far[PAIRS];
    int echo;
    int datagrams;
    int bell[2]; /* closed at one end: the thread ends */
    pthread_t thread;
    uint64_t bytes;
    uint64_t datagrams_received;
};

/* Datagrams that are all sent at once, as by a sender that was kept waiting, are not lost. */
static void take_much(int fd)
{
    const int size = 4 << 20;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size)) /* of no namespace but the first */
        CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0);
}

static void loopback_pair(int type, int32_t *near, int *far)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    const int first = socket(AF_INET, type, 0);

    CHECK(bind(first, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(getsockname(first, (struct sockaddr *)&address, &length) == 0);
    *near = socket(AF_INET, type, 0);
    if (type == SOCK_STREAM)
        CHECK(listen(first, 1) == 0);
    CHECK(connect(*near, (struct sockaddr *)&address, sizeof address) == 0);
    if (type == SOCK_STREAM) {
        *far = accept(first, NULL, NULL);
        close(first);
        return;
    }
    take_much(first);
    take_much(*near);
    CHECK(getsockname(*near, (struct sockaddr *)&address, &length) == 0);
    CHECK(connect(first, (struct sockaddr *)&address, sizeof address) == 0);
    *far = first;
}

static void send_all(int fd, const char *data, ssize_t count)
{
    while (count > 0) {
        const ssize_t sent = send(fd, data, (size_t)count, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        data += sent;
        count -= sent;
    }
}

static void *serve(void *argument)
{
    static char room[ROOM];
    struct peers *peers = argument;
    struct pollfd polled[PAIRS + 1];
    int left = PAIRS;

    for (int i = 0; i < PAIRS; i++)
        polled[i] = (struct pollfd){.fd = peers->far[i], .events = POLLIN};
    polled[PAIRS] = (struct pollfd){.fd = peers->bell[0], .events = POLLIN};
    while (peers->datagrams ? polled[PAIRS].fd >= 0 || poll(polled, PAIRS, QUIET_MS) : left || polled[PAIRS].fd >= 0) {
        CHECK(poll(polled, PAIRS + 1, WAIT_MS) > 0);
        if (polled[PAIRS].revents)
            polled[PAIRS].fd = -1;
        for (int i = 0; i < PAIRS; i++) {
            ssize_t count;

            if (polled[i].fd < 0 || !polled[i].revents)
                continue;
            count = recv(polled[i].fd, room, sizeof room, MSG_DONTWAIT);
            if (count > 0) {
                peers->bytes += (uint64_t)count;
                peers->datagrams_received++;
                if (peers->echo)
                    send_all(polled[i].fd, room, count);
            } else if (!peers->datagrams && (count == 0 || errno != EAGAIN)) {
                polled[i].fd = -1;
                left--;
            }
        }
    }
    return NULL;
}

static void open_peers(struct peers *peers, int type, int echo)
{
    memset(peers, 0, sizeof *peers);
    peers->echo = echo;
    peers->datagrams = type == SOCK_DGRAM;
    for (int i = 0; i < PAIRS; i++)
        loopback_pair(type, &peers->near[i], &peers->far[i]);
    CHECK(pipe(peers->bell) == 0);
    CHECK(pthread_create(&peers->thread, NULL, serve, peers) == 0);
}

/* Waits until the peers have read everything. */
static void close_peers(struct peers *peers)
{
    if (!peers->datagrams)
        for (int i = 0; i < PAIRS; i++)
            shutdown(peers->near[i], SHUT_WR);
    close(peers->bell[1]);
    pthread_join(peers->thread, NULL);
    close(peers->bell[0]);
    for (int i = 0; i < PAIRS; i++) {
        close(peers->near[i]);
        close(peers->far[i]);
    }
}

static wsasec_traffic_spec spec_of(uint32_t kind, uint32_t message_bytes, uint32_t threads, double rate)
{
    return (wsasec_traffic_spec){
        .kind = kind,
        .threads = threads,
        .message_bytes = message_bytes,
        .warm_up = 50 * MILLISECOND,
        .run = 250 * MILLISECOND,
        .drain = 5000 * MILLISECOND,
        .rate = rate,
    };
}

struct outcome {
    wsasec_traffic_counts counts;
    wsasec_traffic_result result;
    wsasec_traffic_socket sockets[PAIRS];
    wsasec_histogram latency;
};

static void run(const struct peers *peers, const wsasec_traffic_spec *spec, struct outcome *outcome)
{
    wsasec_status status;
    wsasec_traffic *traffic = wsasec_traffic_start(peers->near, PAIRS, spec, &status);
    unsigned waits = 0;

    CHECK(traffic != NULL);
    if (!traffic)
        return;
    while (!wsasec_traffic_wait(traffic, 20 * MILLISECOND) && waits++ < 1000)
        wsasec_traffic_look(traffic, &outcome->counts);
    CHECK(waits < 1000);
    wsasec_traffic_look(traffic, &outcome->counts);
    CHECK(outcome->counts.phase == WSASEC_TRAFFIC_DONE);
    wsasec_histogram_clear(&outcome->latency);
    wsasec_traffic_results(traffic, &outcome->result, outcome->sockets, &outcome->latency);
    wsasec_traffic_end(traffic);
}

static void test_stream(uint32_t threads, uint32_t message_bytes, double rate, int echo)
{
    struct peers peers;
    struct outcome outcome;
    const wsasec_traffic_spec spec = spec_of(WSASEC_TRAFFIC_STREAM, message_bytes, threads, rate);
    uint64_t sum = 0;

    open_peers(&peers, SOCK_STREAM, echo);
    run(&peers, &spec, &outcome);
    for (int i = 0; i < PAIRS; i++) {
        CHECK(outcome.sockets[i].error == 0);
        sum += outcome.sockets[i].bytes;
    }
    CHECK(sum == outcome.result.bytes && sum);
    CHECK(outcome.result.bytes <= outcome.counts.sent_bytes);
    CHECK(!echo == !outcome.counts.received_bytes);
    CHECK(outcome.counts.failed == 0 && outcome.counts.open == PAIRS);
    if (!echo) {
        close_peers(&peers);
        CHECK(peers.bytes == outcome.counts.sent_bytes);
        return;
    }
    for (int i = 0; i < PAIRS; i++) /* an echo that nobody reads any more: reset it */
        shutdown(peers.far[i], SHUT_RDWR);
    close_peers(&peers);
}

static void test_requests(uint32_t threads, uint32_t message_bytes, double rate)
{
    struct peers peers;
    struct outcome outcome;
    const wsasec_traffic_spec spec = spec_of(WSASEC_TRAFFIC_REQUESTS, message_bytes, threads, rate);

    open_peers(&peers, SOCK_STREAM, 1);
    for (int again = 0; again < 2; again++) { /* the sockets are clean after a run */
        run(&peers, &spec, &outcome);
        CHECK(outcome.result.messages > 0);
        CHECK(outcome.latency.count > 0);
        CHECK(outcome.result.unanswered == 0);
        CHECK(outcome.counts.sent_messages == outcome.counts.received_messages);
        CHECK(outcome.counts.sent_bytes == outcome.counts.sent_messages * message_bytes);
        CHECK(outcome.counts.received_bytes == outcome.counts.sent_bytes);
        CHECK(outcome.result.messages <= outcome.counts.received_messages);
        if (rate > 0) { /* of 250 ms; each thread may be off by one */
            const uint64_t due = outcome.latency.count + outcome.result.unsent;

            CHECK(due + threads >= (uint64_t)(rate / 4) && due <= (uint64_t)(rate / 4) + threads);
        }
        for (int i = 0; i < PAIRS; i++)
            CHECK(!outcome.sockets[i].unclean && !outcome.sockets[i].error);
    }
    close_peers(&peers);
}

static void test_datagrams(uint32_t threads, uint32_t message_bytes, double rate, int echo)
{
    struct peers peers;
    struct outcome outcome;
    wsasec_traffic_spec spec = spec_of(WSASEC_TRAFFIC_DATAGRAMS, message_bytes, threads, rate);

    if (rate <= 0)
        spec.drain = 100 * MILLISECOND; /* some are lost: their echoes never come */
    open_peers(&peers, SOCK_DGRAM, echo);
    run(&peers, &spec, &outcome);
    close_peers(&peers);
    CHECK(outcome.result.messages > 0);
    CHECK(outcome.result.bytes == outcome.result.messages * message_bytes);
    CHECK(outcome.counts.sent_bytes == outcome.counts.sent_messages * message_bytes);
    CHECK(peers.datagrams_received <= outcome.counts.sent_messages);
    CHECK(outcome.counts.stale == 0 && outcome.counts.without_sa == 0);
    if (rate > 0) { /* few enough for every buffer */
        CHECK(peers.datagrams_received == outcome.counts.sent_messages);
        CHECK(outcome.counts.sent_messages <= (uint64_t)(rate * 0.3) + threads);
        CHECK(outcome.counts.received_messages == (echo ? outcome.counts.sent_messages : 0));
        CHECK(outcome.latency.count == (echo && message_bytes >= 16 ? outcome.result.messages : 0));
    }
}

static void test_sockets_that_fail(void)
{
    struct peers peers;
    struct outcome outcome;
    wsasec_traffic_spec spec = spec_of(WSASEC_TRAFFIC_STREAM, 1000, 2, 0);
    const struct linger reset = {1, 0};
    const int32_t good = 0;
    int32_t extra[2];
    int far;

    for (uint32_t kind = WSASEC_TRAFFIC_STREAM; kind <= WSASEC_TRAFFIC_REQUESTS; kind++) {
        spec.kind = kind;
        open_peers(&peers, SOCK_STREAM, kind == WSASEC_TRAFFIC_REQUESTS);
        loopback_pair(SOCK_STREAM, &extra[0], &far);
        CHECK(setsockopt(far, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
        close(far); /* reset */
        extra[1] = socket(AF_INET, SOCK_DGRAM, 0);
        close(peers.near[1]);
        peers.near[1] = -1;
        close(peers.near[3]);
        peers.near[3] = extra[0];
        close(peers.near[4]);
        peers.near[4] = extra[1];
        run(&peers, &spec, &outcome);
        CHECK(outcome.sockets[1].error == EBADF);
        CHECK(outcome.sockets[3].error == ECONNRESET || outcome.sockets[3].error == EPIPE);
        CHECK(outcome.sockets[4].error == EPROTOTYPE);
        CHECK(outcome.sockets[good].error == 0 && outcome.sockets[good].bytes > 0);
        CHECK(outcome.counts.failed == 3 && outcome.counts.open == PAIRS - 3);
        close_peers(&peers);
    }
}

/* All ends with the last socket, long before its time. */
static void test_all_fail(void)
{
    for (uint32_t kind = WSASEC_TRAFFIC_STREAM; kind <= WSASEC_TRAFFIC_DATAGRAMS; kind++) {
        const int type = kind == WSASEC_TRAFFIC_DATAGRAMS ? SOCK_DGRAM : SOCK_STREAM;
        wsasec_traffic_spec spec = spec_of(kind, 100, 2, 1000);
        wsasec_status status;
        wsasec_traffic *traffic;
        int32_t near[2];
        int far[2];

        spec.run = 3600 * 1000 * MILLISECOND;
        for (int i = 0; i < 2; i++)
            loopback_pair(type, &near[i], &far[i]);
        traffic = wsasec_traffic_start(near, 2, &spec, &status);
        CHECK(traffic != NULL);
        CHECK(wsasec_traffic_wait(traffic, 100 * MILLISECOND) == 0);
        close(far[0]);
        close(far[1]);
        CHECK(wsasec_traffic_wait(traffic, 20000 * MILLISECOND) == 1);
        wsasec_traffic_end(traffic);
        close(near[0]);
        close(near[1]);
    }
}

static void test_given_up(void)
{
    for (uint32_t kind = WSASEC_TRAFFIC_STREAM; kind <= WSASEC_TRAFFIC_DATAGRAMS; kind++) {
        struct peers peers;
        wsasec_traffic_spec spec = spec_of(kind, 100, 3, 0);
        wsasec_status status;
        wsasec_traffic *traffic;
        int child_status = 1;
        pid_t child;

        spec.run = 3600 * 1000 * MILLISECOND;
        open_peers(&peers, kind == WSASEC_TRAFFIC_DATAGRAMS ? SOCK_DGRAM : SOCK_STREAM,
                   kind == WSASEC_TRAFFIC_REQUESTS);
        traffic = wsasec_traffic_start(peers.near, PAIRS, &spec, &status);
        CHECK(wsasec_traffic_wait(traffic, 30 * MILLISECOND) == 0);
        child = fork();
        if (child == 0) { /* here there are no threads, and the parent's go on */
            const int answer = wsasec_traffic_wait(traffic, 1000 * 1000 * MILLISECOND);

            wsasec_traffic_end(traffic);
            _exit(answer != -1);
        }
        CHECK(waitpid(child, &child_status, 0) == child && child_status == 0);
        CHECK(wsasec_traffic_wait(traffic, 30 * MILLISECOND) == 0);
        wsasec_traffic_end(traffic);
        if (kind == WSASEC_TRAFFIC_REQUESTS) /* responses that nobody reads */
            for (int i = 0; i < PAIRS; i++)
                shutdown(peers.far[i], SHUT_RDWR);
        close_peers(&peers);
    }
    wsasec_traffic_end(NULL);
}

/* A peer that never answers: the run ends with the drain, and tells which sockets are of no use. */
static void test_no_answer(void)
{
    wsasec_traffic_spec spec = spec_of(WSASEC_TRAFFIC_REQUESTS, 100, 1, 100);
    struct outcome outcome;
    wsasec_status status;
    wsasec_traffic *traffic;
    int32_t near;
    int far;

    loopback_pair(SOCK_STREAM, &near, &far);
    spec.warm_up = 0;
    spec.run = 600 * MILLISECOND;
    spec.drain = 50 * MILLISECOND;
    traffic = wsasec_traffic_start(&near, 1, &spec, &status);
    CHECK(wsasec_traffic_wait(traffic, 20000 * MILLISECOND) == 1);
    wsasec_histogram_clear(&outcome.latency);
    wsasec_traffic_results(traffic, &outcome.result, outcome.sockets, &outcome.latency);
    CHECK(outcome.sockets[0].unclean == 1 && outcome.sockets[0].error == 0);
    CHECK(outcome.result.unanswered == 1 && outcome.result.unsent == 59 && outcome.result.messages == 0);
    wsasec_traffic_end(traffic);
    close(near);
    close(far);
}

/* Far more than can be: it ends in time, and what was not begun is told. */
static void test_extreme_rates(void)
{
    const double rates[] = {WSASEC_TRAFFIC_RATE_MIN, 1e9, WSASEC_TRAFFIC_RATE_MAX};

    for (uint32_t kind = WSASEC_TRAFFIC_STREAM; kind <= WSASEC_TRAFFIC_DATAGRAMS; kind++)
        for (int i = 0; i < 3; i++) {
            struct peers peers;
            struct outcome outcome;
            wsasec_traffic_spec spec = spec_of(kind, 100, 2, rates[i]);

            spec.run = 600 * MILLISECOND;
            spec.drain = 100 * MILLISECOND;
            open_peers(&peers, kind == WSASEC_TRAFFIC_DATAGRAMS ? SOCK_DGRAM : SOCK_STREAM,
                       kind == WSASEC_TRAFFIC_REQUESTS);
            run(&peers, &spec, &outcome);
            if (i && kind == WSASEC_TRAFFIC_REQUESTS) {
                CHECK(outcome.result.messages > 0 && outcome.result.unsent > 0);
                for (int j = 0; j < PAIRS; j++)
                    CHECK(outcome.sockets[j].messages > 0);
            }
            close_peers(&peers);
        }
}

/* The longest time there is. */
static void test_wait_for_ever(void)
{
    const wsasec_traffic_spec spec = spec_of(WSASEC_TRAFFIC_DATAGRAMS, 100, 1, 100);
    wsasec_status status;
    wsasec_traffic *traffic;
    int32_t near;
    int far;

    loopback_pair(SOCK_DGRAM, &near, &far);
    traffic = wsasec_traffic_start(&near, 1, &spec, &status);
    CHECK(wsasec_traffic_wait(traffic, UINT64_MAX) == 1);
    wsasec_traffic_end(traffic);
    close(near);
    close(far);
}

static void test_wrong_specifications(void)
{
    const wsasec_traffic_spec good = spec_of(WSASEC_TRAFFIC_DATAGRAMS, 100, 1, 0);
    wsasec_traffic_spec bad[13];
    const int32_t none = -1;
    wsasec_status status;

    for (int i = 0; i < 13; i++)
        bad[i] = good;
    bad[0].kind = 0;
    bad[1].kind = WSASEC_TRAFFIC_DATAGRAMS + 1;
    bad[2].threads = 0;
    bad[3].threads = WSASEC_TRAFFIC_THREADS_MAX + 1;
    bad[4].message_bytes = 0;
    bad[5].message_bytes = WSASEC_TRAFFIC_DATAGRAM_MAX + 1;
    bad[6].run = UINT64_MAX;
    bad[7].rate = -1;
    bad[8].rate = 1e308 * 10;
    bad[9].reserved = 1;
    bad[10].rate = WSASEC_TRAFFIC_RATE_MIN / 2;
    bad[11].rate = WSASEC_TRAFFIC_RATE_MAX * 2;
    bad[12].rate = bad[8].rate - bad[8].rate; /* not a number */
    for (int i = 0; i < 13; i++) {
        CHECK(wsasec_traffic_start(&none, 1, &bad[i], &status) == NULL);
        CHECK(status.code == -WSASEC_WSAEINVAL);
    }
    CHECK(wsasec_traffic_start(&none, 0, &good, &status) == NULL);
}

int main(void)
{
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        test_stream(threads, 131072, 0, 0);
        test_stream(threads, 100, 0, 1);
        test_stream(threads, 1000, 1e6, 0);
        test_requests(threads, 64, 0);
        test_requests(threads, 64, 400);
        test_requests(threads, 400000, 0);
        test_datagrams(threads, 1024, 0, 0);
        test_datagrams(threads, 1024, 0, 1);
        test_datagrams(threads, 64, 500, 1);
        test_datagrams(threads, 7, 500, 1);
        test_datagrams(threads, 65507, 100, 0);
    }
    test_sockets_that_fail();
    test_all_fail();
    test_given_up();
    test_no_answer();
    test_extreme_rates();
    test_wait_for_ever();
    test_wrong_specifications();
    return atomic_load(&failures) ? EXIT_FAILURE : EXIT_SUCCESS;
}
