/* SPDX-License-Identifier: Apache-2.0 */
#include "requests.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ecn.h"
#include "inner.h"
#include "log.h"
#include "metrics.h"
#include "path.h"
#include "seccomp.h"
#include "seen.h"
#include "worker.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    SPI_LEAST = 256,         /* what is below is reserved (RFC 4303 section 2.1) */
    RESERVED_SECONDS = 60,   /* that an SPI is kept for who asked for it */
    SPI_DRAWS = 65536,
    /* Bytes that are asked for a socket's buffers; the system may give less. */
    RECEIVED = 32 * 1024 * 1024,
    TO_SEND = 8 * 1024 * 1024
};

/* A request, and where its answer goes. */
struct request {
    struct wse_control *control;
    struct wse_engine *engine;
    struct wse_connection *connection;
    uint32_t number;
    void *body;
    size_t length;
    int *descriptors;
    unsigned count;
    const char *why; /* for who asks; never a secret */
};

static int answer(struct request *request, const void *body, size_t length)
{
    return wse_control_send(request->control, request->connection, WSE_ANSWER, request->number, 0, body, length);
}

static int answer_more(struct request *request, const void *body, size_t length, int more)
{
    return wse_control_send(request->control, request->connection, WSE_ANSWER, request->number, more ? WSE_MORE : 0,
                            body, length);
}

static int refused(struct request *request, int error, const char *why)
{
    request->why = why;
    return -error;
}

static int hello(struct request *request)
{
    struct wse_hello body = {.instance = request->engine->instance,
                             .pid = (uint32_t)getpid(),
                             .threads = request->engine->threads};

    strncpy(body.crypto, wse_crypto_name(request->engine->crypto), sizeof body.crypto - 1);
    strncpy(body.version, WSASEC_VERSION, sizeof body.version - 1);
    return answer(request, &body, sizeof body);
}

/* Whether the descriptor is a queue of that TUN device, with the headers that are read and written. */
static int check_queue(struct request *request, int fd, const struct wse_device *device)
{
    struct ifreq interface;
    int size = 0;

    memset(&interface, 0, sizeof interface);
    if (ioctl(fd, TUNGETIFF, &interface) || ioctl(fd, TUNGETVNETHDRSZ, &size))
        return refused(request, EINVAL, "a descriptor is no queue of a TUN device");
    if (!(interface.ifr_flags & IFF_TUN) || !(interface.ifr_flags & IFF_NO_PI) ||
        !(interface.ifr_flags & IFF_VNET_HDR) || size != WSE_VNET_LENGTH)
        return refused(request, EINVAL, "a queue is not of IFF_TUN, IFF_NO_PI, IFF_VNET_HDR with headers of 10 bytes");
    if (memcmp(interface.ifr_name, device->name, sizeof device->name))
        return refused(request, EINVAL, "a queue is of another device than is said");
    if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK))
        return -errno;
    return 0;
}

static struct wse_link *link_of(const struct wse_engine *engine, uint32_t reqid)
{
    for (int i = 0; i < WSE_DEVICES_MAX; i++) {
        struct wse_link *link = atomic_load(&engine->links[i]);

        if (link && link->device.reqid == reqid)
            return link;
    }
    return NULL;
}

static struct wse_port *port_of(const struct wse_engine *engine, uint16_t kind, uint16_t port, uint16_t family)
{
    for (int i = 0; i < WSE_TRANSPORTS_MAX; i++) {
        struct wse_port *each = atomic_load(&engine->ports[i]);

        if (each && each->transport.kind == kind && each->transport.family == family &&
            (kind != WSE_UDP || each->transport.port == port))
            return each;
    }
    return NULL;
}

/* Has an association the device, or the transport, that there is for it now. */
static void attach(const struct wse_engine *engine, struct wse_association *association)
{
    const int udp = (association->flags & WSE_SA_UDP) != 0;

    if (association->name.direction == WSE_INBOUND)
        atomic_store(&association->link, link_of(engine, association->reqid));
    else
        atomic_store(&association->port, port_of(engine, udp ? WSE_UDP : WSE_RAW, association->source_port,
                                                 association->name.family));
}

static void attach_all(struct wse_engine *engine)
{
    for (struct wse_association *each = engine->table.all; each; each = each->next)
        attach(engine, each);
}

/* Has worker i of a direction told of descriptor i, or no more. 0 or -errno. */
static int watch(struct wse_engine *engine, int operation, enum wse_direction direction, const int *descriptors,
                 unsigned count, enum wse_source source, uint32_t number)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = wse_source_make(source, number)};
    const unsigned first = direction == WSE_OUTBOUND ? 0 : engine->threads;

    for (unsigned i = 0; i < count; i++)
        /* A worker that gave up a queue has deleted it itself: the others are deleted all the same. */
        if (epoll_ctl(engine->workers[first + i]->epoll, operation, descriptors[i], &event) &&
            operation == EPOLL_CTL_ADD)
            return -errno;
    return 0;
}

static void end_link(struct wse_retired *retired)
{
    struct wse_link *link = (struct wse_link *)retired;

    for (unsigned i = 0; i < link->count + link->bulk; i++)
        close(link->queues[i]);
    link->engine->link_taken[link->number] = 0;
    free(link);
}

static int watch_queues(struct wse_engine *engine, int operation, const struct wse_link *link)
{
    const int error =
        watch(engine, operation, WSE_OUTBOUND, link->queues, link->count, WSE_SOURCE_LINK, link->number);

    return error ? error
                 : watch(engine, operation, WSE_OUTBOUND, link->queues + link->count, link->bulk, WSE_SOURCE_BULK,
                         link->number);
}

static void drop_link(struct wse_engine *engine, struct wse_link *link)
{
    watch_queues(engine, EPOLL_CTL_DEL, link);
    atomic_store(&engine->links[link->number], NULL);
    attach_all(engine);
    wse_retire(&engine->epochs, &link->retired, end_link);
}

static void end_port(struct wse_retired *retired)
{
    struct wse_port *port = (struct wse_port *)retired;

    for (unsigned i = 0; i < port->count; i++)
        close(port->sockets[i]);
    port->engine->port_taken[port->number] = 0;
    for (int i = 0; i < WSE_CONNECTIONS && port->asker; i++) {
        struct wse_connection *connection = &port->control->connections[i];

        if (connection->fd >= 0 && connection->serial == port->asker)
            wse_control_send(port->control, connection, WSE_ANSWER, port->number_asked, 0, NULL, 0);
    }
    free(port);
}

static void drop_port(struct wse_engine *engine, struct wse_port *port)
{
    watch(engine, EPOLL_CTL_DEL, WSE_INBOUND, port->sockets, port->count, WSE_SOURCE_PORT, port->number);
    atomic_store(&engine->ports[port->number], NULL);
    attach_all(engine);
    wse_retire(&engine->epochs, &port->retired, end_port);
}

static int add_device(struct request *request)
{
    struct wse_engine *engine = request->engine;
    const struct wse_device *device = request->body;
    struct wse_link *link;
    uint32_t number = 0;
    unsigned halves = device->flags & WSE_DEVICE_BULK ? 2 : 1;
    int error;

    if (!device->reqid || device->flags & ~(uint32_t)(WSE_DEVICE_VNET | WSE_DEVICE_BULK) || !device->name[0] ||
        !memchr(device->name, 0, sizeof device->name))
        return refused(request, EINVAL, "a device has a reqid and a name");
    if (!request->count || request->count % halves || request->count / halves > engine->threads)
        return refused(request, EINVAL, "a device has one to as many queues as there are threads, twice with bulk");
    if (link_of(engine, device->reqid))
        return refused(request, EEXIST, "there is a device of that reqid");
    while (number < WSE_DEVICES_MAX && engine->link_taken[number])
        number++;
    if (number == WSE_DEVICES_MAX)
        return refused(request, ENOSPC, "there are as many devices as can be");
    for (unsigned i = 0; i < request->count; i++) {
        error = check_queue(request, request->descriptors[i], device);
        if (error)
            return error;
    }
    link = calloc(1, sizeof *link);
    if (!link)
        return -ENOMEM;
    link->device = *device;
    link->number = number;
    link->engine = engine;
    engine->link_taken[number] = 1;
    link->count = request->count / halves;
    link->bulk = request->count - link->count;
    memcpy(link->queues, request->descriptors, request->count * sizeof(int));
    atomic_store(&engine->links[number], link);
    error = watch_queues(engine, EPOLL_CTL_ADD, link);
    for (unsigned i = 0; i < request->count; i++)
        request->descriptors[i] = -1;
    if (error) {
        drop_link(engine, link);
        return refused(request, -error, "the queues cannot be watched");
    }
    attach_all(engine);
    return answer(request, NULL, 0);
}

static int remove_device(struct request *request)
{
    const struct wse_device *device = request->body;
    struct wse_link *link = link_of(request->engine, device->reqid);

    if (!link)
        return refused(request, ENOENT, "there is no device of that reqid");
    drop_link(request->engine, link);
    return answer(request, NULL, 0);
}

static int option_of(int fd, int name)
{
    int value = -1;
    socklen_t length = sizeof value;

    return getsockopt(fd, SOL_SOCKET, name, &value, &length) ? -1 : value;
}

static int bound_to(int fd)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof name;

    if (getsockname(fd, (struct sockaddr *)&name, &length))
        return -1;
    return ntohs(name.ss_family == AF_INET ? ((struct sockaddr_in *)&name)->sin_port
                                           : ((struct sockaddr_in6 *)&name)->sin6_port);
}

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) ? -errno : 0;
}

static int check_socket(struct request *request, int fd, const struct wse_transport *transport)
{
    const int udp = transport->kind == WSE_UDP;

    if (option_of(fd, SO_DOMAIN) != transport->family || option_of(fd, SO_TYPE) != (udp ? SOCK_DGRAM : SOCK_RAW) ||
        option_of(fd, SO_PROTOCOL) != (udp ? IPPROTO_UDP : IPPROTO_ESP))
        return refused(request, EINVAL, "a descriptor is no socket of that kind and family");
    if (udp && bound_to(fd) != transport->port)
        return refused(request, EINVAL, "a socket is not bound to that port");
    return 0;
}

static int prepare_socket(int fd, const struct wse_transport *transport)
{
    int error = fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) ? -errno : wse_outer_enable(fd, transport->family);

    if (error)
        return error;
    /*
     * Larger datagrams than the way carries are cut by IP: behind ESP, as it has to be (RFC 4303 section 3.3.4), whatever
     * who opened the socket had in mind. By IPv4 the routers do it: without DF no packet is lost where their ICMP is.
     */
    error = wse_path_set_cut(fd, transport->family, 1);
    if (error)
        return error;
    if (transport->family == AF_INET) {
        error = set(fd, IPPROTO_IP, IP_PKTINFO, 1);
    } else {
        error = set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        /* Only so does the kernel hear "packet too big" for a raw socket that is not connected, and cuts as it says. */
        if (!error && transport->kind == WSE_RAW)
            error = set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
    }
    /* Without it (before Linux 5.0) each datagram comes alone. */
    if (!error && transport->kind == WSE_UDP)
        set(fd, IPPROTO_UDP, UDP_GRO, 1);
    /* Who opened it may have given it more by privilege; that is not taken back. */
    if (option_of(fd, SO_RCVBUF) < RECEIVED)
        set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVED);
    if (option_of(fd, SO_SNDBUF) < TO_SEND)
        set(fd, SOL_SOCKET, SO_SNDBUF, TO_SEND);
    return error;
}

/* The answer comes when no worker has the sockets any more, and they are closed. */
static int let_go(struct request *request, struct wse_port *port)
{
    if (!port)
        return refused(request, ENOENT, "there is no transport of that kind, port and family");
    port->control = request->control;
    port->asker = request->connection->serial;
    port->number_asked = request->number;
    drop_port(request->engine, port);
    return 0;
}

static int add_transport(struct request *request)
{
    struct wse_engine *engine = request->engine;
    const struct wse_transport *transport = request->body;
    struct wse_port *before, *port;
    uint32_t number = 0;
    int error = 0;

    if ((transport->kind != WSE_UDP && transport->kind != WSE_RAW) || transport->reserved ||
        (transport->family != AF_INET && transport->family != AF_INET6) ||
        (transport->kind == WSE_UDP) != (transport->port != 0))
        return refused(request, EINVAL, "a transport has a kind, a family, and, of UDP, a port");
    before = port_of(engine, transport->kind, transport->port, transport->family);
    if (!request->count)
        return let_go(request, before);
    if (request->count > engine->threads)
        return refused(request, EINVAL, "a transport has one to as many sockets as there are threads");
    for (unsigned i = 0; i < request->count && !error; i++) {
        error = check_socket(request, request->descriptors[i], transport);
        if (!error)
            error = prepare_socket(request->descriptors[i], transport);
    }
    if (error)
        return error;
    while (number < WSE_TRANSPORTS_MAX && engine->port_taken[number])
        number++;
    if (number == WSE_TRANSPORTS_MAX)
        return refused(request, ENOSPC, "there are as many transports as can be");
    port = calloc(1, sizeof *port);
    if (!port)
        return -ENOMEM;
    port->transport = *transport;
    port->number = number;
    port->engine = engine;
    engine->port_taken[number] = 1;
    port->count = request->count;
    memcpy(port->sockets, request->descriptors, request->count * sizeof(int));
    for (unsigned i = 0; i < request->count; i++)
        request->descriptors[i] = -1;
    atomic_store(&engine->ports[number], port);
    error = watch(engine, EPOLL_CTL_ADD, WSE_INBOUND, port->sockets, port->count, WSE_SOURCE_PORT, number);
    if (error) {
        drop_port(engine, port);
        return refused(request, -error, "the sockets cannot be watched");
    }
    /*
     * A key daemon that was started anew brings new sockets, which take the place of the old ones: associations go from
     * one to the other at once, so that no packet finds none.
     */
    if (before)
        drop_port(engine, before);
    else
        attach_all(engine);
    return answer(request, NULL, 0);
}

static int listen_too(struct request *request)
{
    int error;

    if (request->count != 1)
        return refused(request, EINVAL, "one listening socket is wanted");
    error = wse_control_listen(request->control, request->descriptors[0]);
    if (error)
        return refused(request, -error, "it is no listening socket of SOCK_SEQPACKET, or there are too many");
    request->descriptors[0] = -1;
    return answer(request, NULL, 0);
}

static int start(struct request *request)
{
    int error = 0;

    if (!request->control->started)
        error = wse_seccomp_start();
    if (error)
        return refused(request, -error, "the filter of system calls is refused");
    request->control->started = 1;
    return answer(request, NULL, 0);
}

static int stop(struct request *request)
{
    request->control->stop = 1;
    return answer(request, NULL, 0);
}

static int is_reserved(const struct wse_control *control, uint32_t spi, uint64_t now)
{
    for (int i = 0; i < WSE_RESERVED; i++)
        if (control->reserved[i].spi == spi && now - control->reserved[i].second < RESERVED_SECONDS)
            return 1;
    return 0;
}

static int reserve_spi(struct request *request)
{
    struct wse_control *control = request->control;
    struct wse_spi *spi = request->body;
    const uint64_t now = wse_seconds();
    uint64_t range, tries;
    uint32_t drawn, candidate;

    if (spi->least < SPI_LEAST || spi->least > spi->most || spi->spi || spi->reserved)
        return refused(request, EINVAL, "the range is of SPIs from 256 on");
    range = (uint64_t)spi->most - spi->least + 1;
    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn)
        return -errno;
    for (tries = 0; tries < range && tries < SPI_DRAWS; tries++) {
        candidate = spi->least + (uint32_t)((drawn + tries) % range);
        if (wse_table_has_spi(&request->engine->table, candidate) || is_reserved(control, candidate, now))
            continue;
        control->reserved[control->next_reserved].spi = candidate;
        control->reserved[control->next_reserved].second = now;
        control->next_reserved = (control->next_reserved + 1) % WSE_RESERVED;
        spi->spi = candidate;
        return answer(request, spi, sizeof *spi);
    }
    return refused(request, ENOSPC, "all SPIs of the range are in use");
}

static int is_zero(const uint8_t *bytes, size_t length)
{
    uint8_t all = 0;

    for (size_t i = 0; i < length; i++)
        all |= bytes[i];
    return !all;
}

static int check_name(struct request *request, const struct wse_sa_name *name)
{
    if ((name->family != AF_INET && name->family != AF_INET6) || name->reserved ||
        (name->direction != WSE_INBOUND && name->direction != WSE_OUTBOUND))
        return refused(request, EINVAL, "an association has a family and a direction");
    if (name->family == AF_INET && (!is_zero(name->source + 4, 12) || !is_zero(name->destination + 4, 12)))
        return refused(request, EINVAL, "an IPv4 address has zeros behind it");
    return 0;
}

static int check_sa(struct request *request, const struct wse_sa *sa)
{
    const int udp = (sa->flags & WSE_SA_UDP) != 0;

    if (check_name(request, &sa->name))
        return -EINVAL;
    if (sa->name.spi < SPI_LEAST)
        return refused(request, EINVAL, "SPIs below 256 are reserved");
    if (wse_addresses_check(sa->name.family, sa->name.source, sa->name.destination) != WSE_FINE)
        return refused(request, EINVAL, "the addresses are not those of two hosts");
    if (!sa->reqid || sa->flags & ~(uint32_t)(WSE_SA_ESN | WSE_SA_UDP) ||
        !is_zero(sa->reserved, sizeof sa->reserved) || !is_zero(sa->reserved_too, sizeof sa->reserved_too))
        return refused(request, EINVAL, "there is no reqid, or a flag or reserved member that is not known");
    if (udp ? !sa->source_port || !sa->destination_port : sa->source_port || sa->destination_port)
        return refused(request, EINVAL, "ports are there with WSE_SA_UDP, and not without");
    if (sa->name.direction == WSE_OUTBOUND ? sa->window : sa->window && !wse_replay_size(sa->window))
        return refused(request, EINVAL, "a window is of 64 to 65536 packets, and inbound");
    if (!wse_algorithm_key_length(sa->algorithm) || sa->key_length != wse_algorithm_key_length(sa->algorithm))
        return refused(request, EINVAL, "the algorithm is not known, or its key has another length");
    return 0;
}

static int add_sa(struct request *request)
{
    const struct wse_sa *sa = request->body;
    struct wse_association *association;
    int error = check_sa(request, sa);

    if (error)
        return error;
    if (wse_table_find(&request->engine->table, &sa->name))
        return refused(request, EEXIST, "there is an association of that name");
    if (request->engine->table.count >= WSE_SAS_MAX)
        return refused(request, ENOSPC, "there are as many associations as can be");
    error = wse_seen_add(request->control->seen, sa->key, sa->key_length - WSE_SALT_SIZE);
    if (error)
        return refused(request, -error, "that key was in use before");
    error = wse_association_make(&association, request->engine, sa, &request->why);
    if (error)
        return error;
    attach(request->engine, association);
    error = wse_table_add(&request->engine->table, association);
    if (error) {
        wse_association_free(association);
        return refused(request, -error, "no memory");
    }
    if (sa->name.direction == WSE_OUTBOUND)
        wse_workers_wake(request->engine, WSE_OUTBOUND);
    return answer(request, NULL, 0);
}

static struct wse_association *named(struct request *request)
{
    request->why = "there is no association of that name";
    return wse_table_find(&request->engine->table, request->body);
}

static int delete_sa(struct request *request)
{
    struct wse_association *association = named(request);

    if (!association)
        return -ENOENT;
    wse_control_remove(request->control, association, 0);
    return answer(request, NULL, 0);
}

static int get_sa(struct request *request)
{
    const struct wse_association *association = named(request);
    struct wse_sa_state state;

    if (!association)
        return -ENOENT;
    wse_association_state(association, wse_seconds(), &state);
    return answer(request, &state, sizeof state);
}

static int is_between(const struct wse_association *association, const struct wse_sa_name *ends)
{
    const struct wse_sa_name *name = &association->name;

    return name->family == ends->family &&
           (is_zero(ends->source, 16) || !memcmp(name->source, ends->source, 16)) &&
           (is_zero(ends->destination, 16) || !memcmp(name->destination, ends->destination, 16));
}

/* ends: between which; NULL: all. */
static int list(struct request *request, const struct wse_sa_name *ends)
{
    enum { MANY = (WSE_MESSAGE_MAX - sizeof(struct wse_header)) / sizeof(struct wse_sa_state) };
    static struct wse_sa_state states[MANY];
    const struct wse_association *each = request->engine->table.all;
    const uint64_t now = wse_seconds();
    int error;

    do {
        size_t count = 0;

        for (; each && count < MANY; each = each->next)
            if (!ends || is_between(each, ends))
                wse_association_state(each, now, &states[count++]);
        error = answer_more(request, states, count * sizeof *states, each != NULL);
    } while (each && !error);
    return error;
}

static int list_sas(struct request *request)
{
    return list(request, NULL);
}

static int list_between(struct request *request)
{
    const struct wse_sa_name *ends = request->body;

    if ((ends->family != AF_INET && ends->family != AF_INET6) || ends->spi || ends->direction || ends->reserved ||
        (ends->family == AF_INET && (!is_zero(ends->source + 4, 12) || !is_zero(ends->destination + 4, 12))))
        return refused(request, EINVAL, "two addresses of a family are wanted, and nothing else");
    return list(request, ends);
}

static int flush_sas(struct request *request)
{
    const struct wse_device *device = request->body;
    struct wse_association *next;

    for (struct wse_association *each = request->engine->table.all; each; each = next) {
        next = each->next;
        if (!device->reqid || each->reqid == device->reqid)
            wse_control_remove(request->control, each, 0);
    }
    return answer(request, NULL, 0);
}

static void sum_up(struct request *request, struct wse_totals *totals)
{
    const struct wse_engine *engine = request->engine;

    *totals = request->control->told;
    for (unsigned i = 0; i < 2 * engine->threads; i++)
        wse_totals_add(totals, &engine->workers[i]->counters);
    totals->sas = engine->table.count;
    for (int i = 0; i < WSE_DEVICES_MAX; i++)
        totals->devices += atomic_load(&engine->links[i]) != NULL;
    for (int i = 0; i < WSE_TRANSPORTS_MAX; i++)
        totals->transports += atomic_load(&engine->ports[i]) != NULL;
    for (int i = 0; i < WSE_CONNECTIONS; i++)
        totals->subscribers += request->control->connections[i].fd >= 0 && request->control->connections[i].subscribed;
}

static int totals(struct request *request)
{
    struct wse_totals totals;

    sum_up(request, &totals);
    return answer(request, &totals, sizeof totals);
}

static int metrics(struct request *request)
{
    const size_t most = WSE_MESSAGE_MAX - sizeof(struct wse_header);
    struct wse_totals totals;
    size_t length, at = 0;
    char *text;
    int error = 0;

    sum_up(request, &totals);
    text = wse_metrics_make(request->engine, &totals, &length);
    if (!text)
        return -ENOMEM;
    do {
        const size_t part = length - at < most ? length - at : most;

        error = answer_more(request, text + at, part, at + part < length);
        at += part;
    } while (at < length && !error);
    free(text);
    return error;
}

static int subscribe(struct request *request)
{
    uint32_t mask;

    memcpy(&mask, request->body, sizeof mask);
    if (mask >> (WSE_EVENT_LOST - WSE_EVENT_ACQUIRE + 1))
        return refused(request, EINVAL, "an event is not known");
    request->connection->subscribed = mask;
    return answer(request, NULL, 0);
}

static void end_target(struct wse_retired *retired)
{
    free(retired);
}

static int set_target(struct wse_engine *engine, struct wse_association *association, const struct wse_mapping *mapping)
{
    struct wse_target *target = wse_target_make(association->name.family, mapping->address, mapping->port);

    if (!target)
        return -ENOMEM;
    target = atomic_exchange(&association->target, target);
    wse_retire(&engine->epochs, &target->retired, end_target);
    return 0;
}

/* Of an inbound association: it, and all outbound ones to that peer. Of an outbound one: it. */
static int set_mapping(struct request *request)
{
    const struct wse_mapping *mapping = request->body;
    struct wse_association *association = named(request);
    const struct wse_sa_name *name;
    int error;

    if (!association)
        return -ENOENT;
    name = &association->name;
    if (mapping->reserved || !mapping->port || !(association->flags & WSE_SA_UDP) ||
        wse_addresses_check(name->family, mapping->address,
                            name->direction == WSE_INBOUND ? name->destination : name->source) != WSE_FINE)
        return refused(request, EINVAL, "a peer with UDP has an address and a port");
    error = set_target(request->engine, association, mapping);
    for (struct wse_association *each = request->engine->table.all;
         each && !error && name->direction == WSE_INBOUND; each = each->next)
        if (each->name.direction == WSE_OUTBOUND && each->reqid == association->reqid &&
            each->name.family == name->family && each->flags & WSE_SA_UDP &&
            !memcmp(each->name.source, name->destination, 16) && !memcmp(each->name.destination, name->source, 16))
            error = set_target(request->engine, each, mapping);
    return error ? error : answer(request, NULL, 0);
}

/* What there is to ask for: who may, what comes with it, and what does it. */
static const struct {
    int (*answer)(struct request *request);
    size_t length;
    int launcher;    /* its connection only */
    int descriptors; /* may come with it */
} known[] = {
    [WSE_HELLO] = {hello, 0, 0, 0},
    [WSE_ADD_DEVICE] = {add_device, sizeof(struct wse_device), 1, 1},
    [WSE_REMOVE_DEVICE] = {remove_device, sizeof(struct wse_device), 1, 0},
    [WSE_ADD_TRANSPORT] = {add_transport, sizeof(struct wse_transport), 0, 1},
    [WSE_LISTEN] = {listen_too, 0, 1, 1},
    [WSE_START] = {start, 0, 1, 0},
    [WSE_STOP] = {stop, 0, 1, 0},
    [WSE_RESERVE_SPI] = {reserve_spi, sizeof(struct wse_spi), 0, 0},
    [WSE_ADD_SA] = {add_sa, sizeof(struct wse_sa), 0, 0},
    [WSE_DELETE_SA] = {delete_sa, sizeof(struct wse_sa_name), 0, 0},
    [WSE_GET_SA] = {get_sa, sizeof(struct wse_sa_name), 0, 0},
    [WSE_LIST_SAS] = {list_sas, 0, 0, 0},
    [WSE_FLUSH_SAS] = {flush_sas, sizeof(struct wse_device), 0, 0},
    [WSE_TOTALS] = {totals, 0, 0, 0},
    [WSE_METRICS] = {metrics, 0, 0, 0},
    [WSE_SUBSCRIBE] = {subscribe, sizeof(uint32_t), 0, 0},
    [WSE_SET_MAPPING] = {set_mapping, sizeof(struct wse_mapping), 0, 0},
    [WSE_LIST_BETWEEN] = {list_between, sizeof(struct wse_sa_name), 0, 0},
};

static int handle(struct request *request, uint16_t type)
{
    if (type >= sizeof known / sizeof *known || !known[type].answer)
        return refused(request, EOPNOTSUPP, "there is no such request");
    if (known[type].launcher && !request->connection->launcher)
        return refused(request, EPERM, "that is the launcher's to ask for");
    if (request->length != known[type].length)
        return refused(request, EINVAL, "the request has another length");
    if (request->count && !known[type].descriptors)
        return refused(request, EINVAL, "no descriptors belong to that request");
    return known[type].answer(request);
}

void wse_request(struct wse_control *control, struct wse_connection *connection, const struct wse_header *header,
                 void *body, size_t length, int *descriptors, unsigned count)
{
    struct request request = {control, control->engine, connection, header->number, body,
                              length,  descriptors,     count,      NULL};
    const int error = handle(&request, header->type);
    struct wse_error refusal = {.error = -error};

    if (!error)
        return;
    strncpy(refusal.text, request.why ? request.why : strerror(-error), sizeof refusal.text - 1);
    wse_control_send(control, connection, WSE_ERROR, header->number, 0, &refusal, sizeof refusal);
}
