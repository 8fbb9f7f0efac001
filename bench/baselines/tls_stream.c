/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 as a program in C would use it: OpenSSL over non-blocking sockets, one thread at each end. What Python's ssl
 * adds to that is not in its figures.
 *
 *     tls-stream receive ADDRESS SUITE STREAMS PEM WARM SECONDS      PEM: a file with a certificate and its key
 *     tls-stream send ADDRESS PORT SUITE STREAMS PEM MESSAGE_BYTES   PEM: the certificate that is trusted
 *
 * Both tell their director on standard output, in JSON, a line each, how far they are; a line on standard input has the
 * sender begin, or the receiver take resets for an end. Both end with their standard input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

enum {
    EVENTS = 256,
    BACKLOG = 4096,
    CHUNK = 256 << 10, /* bytes that one connection may send, or give, before it is another's turn */
    READ_BUFFER = 64 << 10,
    STREAMS_MAX = 1 << 16,
    MESSAGE_MAX = 1 << 20,
    SECONDS_MAX = 3600,
};

struct stream {
    SSL *ssl;
    int fd; /* -1: closed */
    int ready;
};

struct end {
    SSL_CTX *context;
    struct stream *streams;
    long count;
    long ready;
    long opened;
    int poll;
    int finishing;
    unsigned char *buffer;
    int message;
};

/* What epoll tells of: a stream by its number, or one of these. */
#define ORDERS UINT32_MAX
#define LISTENER (UINT32_MAX - 1)

static _Noreturn void fail(const char *what)
{
    const unsigned long error = ERR_peek_last_error();
    char words[256];

    if (error)
        ERR_error_string_n(error, words, sizeof words);
    fprintf(stderr, "tls-stream: %s: %s\n", what, error ? words : strerror(errno));
    exit(1);
}

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *format, ...)
{
    va_list values;

    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    putchar('\n');
    if (fflush(stdout))
        fail("standard output");
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double number(const char *word, double least, double most)
{
    char *end;
    const double value = strtod(word, &end);

    if (*word && !*end && value >= least && value <= most)
        return value;
    fprintf(stderr, "tls-stream: %s is not a number from %g to %g\n", word, least, most);
    exit(2);
}

static void watch(const struct end *end, int fd, uint32_t name, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = name};

    if (epoll_ctl(end->poll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void change(const struct end *end, int fd, uint32_t name, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = name};

    if (epoll_ctl(end->poll, EPOLL_CTL_MOD, fd, &event))
        fail("epoll_ctl");
}

static struct sockaddr_in address_of(const char *text, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
        fprintf(stderr, "tls-stream: %s is not an IPv4 address\n", text);
        exit(2);
    }
    return address;
}

static int socket_of(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket");
    return fd;
}

/* Reads what was ordered; returns 0 if the director has gone. */
static int obey(void)
{
    char orders[256];
    ssize_t size;

    do
        size = read(STDIN_FILENO, orders, sizeof orders);
    while (size < 0 && errno == EINTR);
    return size > 0;
}

static void prepare(struct end *end, const SSL_METHOD *method, const char *suite, const char *streams)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* what does not fit is told by socket() */
    }
    end->count = (long)number(streams, 1, STREAMS_MAX);
    end->streams = calloc((size_t)end->count, sizeof *end->streams);
    end->buffer = calloc(1, MESSAGE_MAX);
    end->poll = epoll_create1(EPOLL_CLOEXEC);
    end->context = SSL_CTX_new(method);
    if (!end->streams || !end->buffer || end->poll < 0 || !end->context)
        fail("no room");
    SSL_CTX_set_min_proto_version(end->context, TLS1_3_VERSION);
    if (!SSL_CTX_set_ciphersuites(end->context, suite))
        fail(suite);
    SSL_CTX_set_num_tickets(end->context, 0); /* nothing but the data flows after the handshake */
    SSL_CTX_set_mode(end->context, SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_read_ahead(end->context, 1);
    SSL_CTX_set_default_read_buffer_len(end->context, READ_BUFFER);
    watch(end, STDIN_FILENO, ORDERS, EPOLLIN);
}

static void begin(struct end *end, struct stream *stream, int fd)
{
    stream->fd = fd;
    stream->ssl = SSL_new(end->context);
    if (!stream->ssl || !SSL_set_fd(stream->ssl, fd))
        fail("SSL_new");
}

static void drop(struct stream *stream)
{
    const struct linger none = {.l_onoff = 1};

    if (stream->fd < 0 || !stream->ssl)
        return;
    SSL_free(stream->ssl);
    /* A reset: nothing of it is left for the next measurement. */
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(stream->fd);
    stream->fd = -1;
}

/* Goes on with a handshake; returns whether it is done. */
static int shake(const struct end *end, struct stream *stream)
{
    const uint32_t name = (uint32_t)(stream - end->streams);
    const int result = SSL_do_handshake(stream->ssl);

    if (result == 1)
        return 1;
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        change(end, stream->fd, name, EPOLLIN);
        return 0;
    case SSL_ERROR_WANT_WRITE:
        change(end, stream->fd, name, EPOLLOUT);
        return 0;
    default:
        fail("handshake");
    }
}

static void agreed(const struct end *end, const char *event)
{
    const SSL *ssl = end->streams[0].ssl;

    tell("{\"event\": \"%s\", \"cipher\": \"%s %s\"}", event, SSL_get_version(ssl), SSL_get_cipher_name(ssl));
}

/* The sender. */

static void put(const struct end *end, const struct stream *stream)
{
    int sent = 0;

    while (sent < CHUNK) {
        const int size = SSL_write(stream->ssl, end->buffer, end->message);

        if (size > 0) {
            sent += size;
            continue;
        }
        if (SSL_get_error(stream->ssl, size) != SSL_ERROR_WANT_WRITE)
            fail("sending");
        return;
    }
}

static void dial(struct end *end, const struct sockaddr_in *address)
{
    for (long i = 0; i < end->count; i++) {
        const int fd = socket_of();

        if (connect(fd, (const struct sockaddr *)address, sizeof *address) && errno != EINPROGRESS)
            fail("connect");
        begin(end, &end->streams[i], fd);
        SSL_set_connect_state(end->streams[i].ssl);
        watch(end, fd, (uint32_t)i, EPOLLOUT);
    }
}

/* Waits without looking at the streams, which would have room all the time. */
static int told_to_send(const struct end *end)
{
    agreed(end, "connected");
    if (!obey())
        return 0;
    for (long i = 0; i < end->count; i++)
        change(end, end->streams[i].fd, (uint32_t)i, EPOLLOUT);
    return 1;
}

static void send_all(struct end *end)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        const int count = epoll_wait(end->poll, events, EVENTS, -1);

        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct stream *stream;

            if (events[i].data.u32 == ORDERS)
                return;
            stream = &end->streams[events[i].data.u32];
            if (stream->ready) {
                put(end, stream);
            } else if (shake(end, stream)) {
                stream->ready = 1;
                change(end, stream->fd, events[i].data.u32, 0);
                if (++end->ready == end->count && !told_to_send(end))
                    return;
            }
        }
    }
}

static int sender(char **words)
{
    const struct sockaddr_in address = address_of(words[0], (int)number(words[1], 1, 65535));
    struct end end = {0};

    prepare(&end, TLS_client_method(), words[2], words[3]);
    end.message = (int)number(words[5], 1, MESSAGE_MAX);
    SSL_CTX_set_verify(end.context, SSL_VERIFY_PEER, NULL);
    if (!SSL_CTX_load_verify_locations(end.context, words[4], NULL) ||
        !X509_VERIFY_PARAM_set1_ip_asc(SSL_CTX_get0_param(end.context), words[0]))
        fail("the certificate");
    dial(&end, &address);
    send_all(&end);
    for (long i = 0; i < end.count; i++)
        drop(&end.streams[i]);
    return 0;
}

/* The receiver. */

struct gauge {
    double warm;
    double seconds;
    double first; /* 0: nothing has come in yet */
    double start; /* 0: the warm-up is not over */
    uint64_t counted;
    int done;
};

static void add(struct gauge *gauge, uint64_t size)
{
    double time;

    if (gauge->done || !size)
        return;
    time = now();
    if (gauge->first <= 0) {
        gauge->first = time;
    } else if (gauge->start <= 0) {
        if (time - gauge->first >= gauge->warm)
            gauge->start = time;
    } else {
        gauge->counted += size;
        if (time - gauge->start < gauge->seconds)
            return;
        gauge->done = 1;
        tell("{\"event\": \"measured\", \"bytes\": %llu, \"seconds\": %.9f}", (unsigned long long)gauge->counted,
             time - gauge->start);
    }
}

static uint64_t take(const struct end *end, struct stream *stream)
{
    uint64_t taken = 0;

    /* What OpenSSL has read already, epoll does not tell of again. */
    while (taken < CHUNK || SSL_has_pending(stream->ssl)) {
        const int size = SSL_read(stream->ssl, end->buffer, READ_BUFFER);

        if (size > 0) {
            taken += (uint64_t)size;
            continue;
        }
        if (SSL_get_error(stream->ssl, size) == SSL_ERROR_WANT_READ)
            break;
        if (!end->finishing)
            fail("receiving");
        drop(stream);
        break;
    }
    return taken;
}

static void accept_all(struct end *end, int listener)
{
    for (;;) {
        const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
                return;
            fail("accept");
        }
        if (end->opened == end->count) {
            close(fd);
            continue;
        }
        begin(end, &end->streams[end->opened], fd);
        SSL_set_accept_state(end->streams[end->opened].ssl);
        watch(end, fd, (uint32_t)end->opened++, EPOLLIN);
    }
}

static uint64_t serve(struct end *end, struct stream *stream)
{
    if (stream->fd < 0)
        return 0;
    if (stream->ready)
        return take(end, stream);
    if (shake(end, stream)) {
        stream->ready = 1;
        change(end, stream->fd, (uint32_t)(stream - end->streams), EPOLLIN);
        if (++end->ready == end->count)
            agreed(end, "accepted");
    }
    return 0;
}

static void receive_all(struct end *end, int listener, struct gauge *gauge)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        const int count = epoll_wait(end->poll, events, EVENTS, -1);
        uint64_t taken = 0;

        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.u32 == LISTENER) {
                accept_all(end, listener);
            } else if (events[i].data.u32 != ORDERS) {
                taken += serve(end, &end->streams[events[i].data.u32]);
            } else {
                if (!obey())
                    return;
                end->finishing = 1;
                tell("{\"event\": \"finishing\"}");
            }
        }
        add(gauge, taken);
    }
}

static int receiver(char **words)
{
    struct sockaddr_in address = address_of(words[0], 0);
    socklen_t length = sizeof address;
    struct end end = {0};
    struct gauge gauge = {0};
    const int listener = socket_of();

    prepare(&end, TLS_server_method(), words[1], words[2]);
    gauge.warm = number(words[4], 0, SECONDS_MAX);
    gauge.seconds = number(words[5], 0, SECONDS_MAX);
    if (SSL_CTX_use_certificate_chain_file(end.context, words[3]) != 1 ||
        SSL_CTX_use_PrivateKey_file(end.context, words[3], SSL_FILETYPE_PEM) != 1)
        fail("the certificate");
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, BACKLOG) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        fail("listen");
    watch(&end, listener, LISTENER, EPOLLIN);
    tell("{\"event\": \"listening\", \"port\": %u}", ntohs(address.sin_port));
    receive_all(&end, listener, &gauge);
    for (long i = 0; i < end.opened; i++)
        drop(&end.streams[i]);
    return 0;
}

int main(int count, char **words)
{
    if (count == 8 && !strcmp(words[1], "receive"))
        return receiver(words + 2);
    if (count == 8 && !strcmp(words[1], "send"))
        return sender(words + 2);
    fprintf(stderr, "tls-stream: see its source for its arguments\n");
    return 2;
}
