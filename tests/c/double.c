/* SPDX-License-Identifier: Apache-2.0 */
#include "double.h"

#include <pthread.h>
#include <string.h>

#include "../../src/core/errors.h"
#include "../../src/core/sockets.h"

struct double_backend the_double;

static void note(char call)
{
    size_t place = atomic_fetch_add(&the_double.count, 1);

    if (place < sizeof the_double.calls - 1)
        the_double.calls[place] = call;
}

static int concerns(wsasec_socket socket)
{
    return !the_double.alone || the_double.alone == socket;
}

/* By which method the calling thread is called. */
static _Thread_local unsigned by = WSASEC_METHOD_PLAIN;

int32_t wsasec_backend_inspect(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status)
{
    (void)socket;
    note('I');
    if (the_double.inspect_fails)
        return wsasec_fail(status, WSASEC_STEP_DESCRIPTOR, the_double.inspect_fails, 0);
    *facts = the_double.facts;
    if (the_double.checks_itself) /* it tells no identity: the socket is the one that the core knows there */
        facts->identity = wsasec_socket_identity(socket);
    if (the_double.different)
        facts->identity += (uint64_t)socket;
    return 0;
}

int wsasec_backend_checks_sockets(void)
{
    return the_double.checks_itself;
}

int wsasec_backend_has_profiles(void)
{
    return !the_double.checks_itself;
}

int32_t wsasec_backend_fail(unsigned step, int32_t error, wsasec_status *status)
{
    return wsasec_fail(status, step, WSASEC_REASON_NO_MEMORY, error);
}

int wsasec_backend_lacks_privilege(void)
{
    return the_double.lacks_privilege;
}

int wsasec_backend_broker(const struct wsasec_request *request, struct wsasec_member *members, size_t count)
{
    (void)request;
    note('K');
    if (!the_double.brokers)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (!wsasec_is_refused(members[i].code, &members[i].status))
            continue;
        note('k');
        members[i].code = the_double.broker_fails && concerns(members[i].socket)
                              ? wsasec_fail(&members[i].status,
                                            the_double.broker_step ? the_double.broker_step : WSASEC_STEP_DAEMON,
                                            the_double.broker_fails, 13)
                              : 0;
    }
    return 1;
}

int wsasec_backend_one_call_begin(uint64_t realm, wsasec_socket socket, uint64_t *identity)
{
    *identity = the_double.facts.identity + (uint64_t)(the_double.different ? socket : 0);
    return the_double.one_call && realm == the_double.facts.realm;
}

int wsasec_backend_one_call(const struct wsasec_facts *others, wsasec_socket socket)
{
    (void)socket;
    note('1');
    the_double.one_family = others->family;
    the_double.one_device = others->device;
    return the_double.one_call == 2;
}

uint16_t wsasec_backend_bound_reason(wsasec_socket socket)
{
    (void)socket;
    note('B');
    return the_double.bound_reason;
}

int wsasec_backend_falls_back(const wsasec_profile *profile)
{
    (void)profile;
    return !the_double.device;
}

int32_t wsasec_backend_carrier_auto(wsasec_status *status)
{
    (void)status;
    return the_double.device ? WSASEC_CARRIER_DEVICE : WSASEC_CARRIER_POLICY;
}

void wsasec_backend_plan(const struct wsasec_request *request, struct wsasec_plan *plan)
{
    (void)request;
    (void)plan;
}

int32_t wsasec_backend_realm(wsasec_socket socket, uint64_t *realm, wsasec_status *status)
{
    (void)socket;
    (void)status;
    *realm = the_double.facts.realm;
    return 0;
}

int32_t wsasec_backend_ready(const struct wsasec_request *request, struct wsasec_facts *facts,
                             wsasec_socket socket, wsasec_status *status)
{
    (void)request;
    facts->device = the_double.device;
    note('R');
    return the_double.ready_fails && concerns(socket) ? wsasec_fail(status, WSASEC_STEP_GUARD, the_double.ready_fails, 7) : 0;
}

int32_t wsasec_backend_apply(struct wsasec_plan *plan, const struct wsasec_facts *facts, wsasec_socket socket,
                             wsasec_status *status)
{
    (void)plan;
    if (facts && facts->device != the_double.device) /* an overlapped call has none */
        atomic_fetch_add(&the_double.astray, 1);
    note('A');
    atomic_fetch_add(&the_double.clock, the_double.cost[by]);
    return the_double.apply_fails && concerns(socket) ? wsasec_fail(status, the_double.apply_step ? the_double.apply_step : WSASEC_STEP_POLICY_IN,
                                                                    the_double.apply_fails, 8) : 0;
}

int32_t wsasec_backend_block(wsasec_socket socket)
{
    (void)socket;
    note('X');
    return the_double.block_fails;
}

int32_t wsasec_backend_options(const struct wsasec_request *request, struct wsasec_plan *plan, int family,
                               wsasec_option *options, size_t *count, wsasec_status *status)
{
    (void)request;
    (void)plan;
    (void)family;
    (void)options;
    (void)status;
    *count = 0;
    return 0;
}

int32_t wsasec_backend_guard_state(const wsasec_profile *profile, int family, wsasec_status *status)
{
    (void)profile;
    (void)family;
    (void)status;
    return 0;
}

void wsasec_backend_release(void)
{
}

int32_t wsasec_backend_capability(unsigned capability, wsasec_status *status)
{
    (void)status;
    return (int32_t)capability & 1;
}

int32_t wsasec_backend_query(wsasec_socket socket, const void *template_, uint32_t template_len, void *info,
                             uint32_t *info_len, void *overlapped, void *completion_routine, wsasec_status *status)
{
    (void)socket;
    (void)template_;
    (void)template_len;
    (void)overlapped;
    (void)completion_routine;
    (void)info;
    (void)info_len;
    (void)status;
    note('q');
    return 0;
}

int32_t wsasec_backend_set_peer_name(wsasec_socket socket, const void *name, uint32_t name_len, void *overlapped,
                                     void *completion_routine, wsasec_status *status)
{
    (void)overlapped;
    (void)completion_routine;
    (void)socket;
    (void)name;
    (void)name_len;
    (void)status;
    note('n');
    return 0;
}

int32_t wsasec_backend_delete_peer_name(wsasec_socket socket, const void *peer, uint32_t peer_len, void *overlapped,
                                        void *completion_routine, wsasec_status *status)
{
    (void)overlapped;
    (void)completion_routine;
    (void)socket;
    (void)peer;
    (void)peer_len;
    (void)status;
    note('d');
    return 0;
}

int32_t wsasec_backend_impersonate(wsasec_socket socket, const void *peer, uint32_t peer_len, wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)peer_len;
    (void)status;
    note('i');
    return 0;
}

int32_t wsasec_backend_revert(wsasec_status *status)
{
    (void)status;
    note('r');
    return 0;
}

int32_t wsasec_backend_negotiate(wsasec_socket socket, const wsasec_sockaddr_storage *peer, uint64_t nanoseconds,
                                 wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)nanoseconds;
    (void)status;
    note('N');
    return 0;
}

int32_t wsasec_backend_association(wsasec_socket socket, const wsasec_sockaddr_storage *peer,
                                   wsasec_socket_association *association, wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)association;
    (void)status;
    note('s');
    return 0;
}

int32_t wsasec_backend_close_token(uint64_t handle)
{
    note('t');
    return handle == 7 ? 0 : -6;
}

int32_t wsasec_backend_apply_fresh(struct wsasec_plan *plan, const struct wsasec_facts *facts, wsasec_socket socket,
                                   wsasec_status *status)
{
    return wsasec_backend_apply(plan, facts, socket, status);
}

void wsasec_backend_kind(const wsasec_batch_spec *spec, struct wsasec_facts *facts)
{
    (void)spec;
    facts->family = the_double.facts.family;
    facts->type = the_double.facts.type;
}

int32_t wsasec_backend_make(const wsasec_batch_spec *spec, wsasec_socket *socket, struct wsasec_facts *facts,
                            wsasec_status *status)
{
    (void)spec;
    note('M');
    if (the_double.make_fails)
        return wsasec_fail(status, WSASEC_STEP_CREATE, the_double.make_fails, 9);
    *socket = atomic_fetch_add(&the_double.next_socket, 1);
    *facts = the_double.facts;
    facts->identity += (uint64_t)*socket;
    return 0;
}

int32_t wsasec_backend_equip(const wsasec_batch_spec *spec, size_t index, wsasec_socket socket, wsasec_status *status)
{
    (void)spec;
    (void)index;
    note('E');
    return the_double.equip_fails && concerns(socket) ? wsasec_fail(status, WSASEC_STEP_BIND, the_double.equip_fails, 10) : 0;
}

uint64_t wsasec_backend_clock(void)
{
    return atomic_fetch_add(&the_double.clock, 1000) + 1000;
}

struct wsasec_ring {
    int open;
};

static struct wsasec_ring the_ring;

struct wsasec_ring *wsasec_backend_ring_open(wsasec_status *status)
{
    note('O');
    if (the_double.ring_fails) {
        wsasec_fail(status, WSASEC_STEP_NONE, the_double.ring_fails, 11);
        return NULL;
    }
    the_ring.open++;
    return &the_ring;
}

void wsasec_backend_ring_close(struct wsasec_ring *ring)
{
    if (ring) {
        note('o');
        ring->open--;
    }
}

void wsasec_backend_ring_inspect(struct wsasec_ring *ring, struct wsasec_member *members, size_t count)
{
    (void)ring;
    for (size_t i = 0; i < count; i++)
        members[i].code = wsasec_backend_inspect(members[i].socket, &members[i].facts, &members[i].status);
}

void wsasec_backend_ring_make(struct wsasec_ring *ring, const wsasec_batch_spec *spec, struct wsasec_member *members,
                              size_t count)
{
    (void)ring;
    for (size_t i = 0; i < count; i++)
        members[i].code = wsasec_backend_make(spec, &members[i].socket, &members[i].facts, &members[i].status);
}

void wsasec_backend_ring_apply(struct wsasec_ring *ring, struct wsasec_plan *plan, int fresh,
                               struct wsasec_member *members, size_t count)
{
    (void)ring;
    (void)fresh;
    by = WSASEC_METHOD_IO_URING;
    for (size_t i = 0; i < count; i++)
        if (!members[i].code)
            members[i].code = wsasec_backend_apply(plan, &members[i].facts, members[i].socket, &members[i].status);
    by = WSASEC_METHOD_PLAIN;
}

/* Calls that are under way, in their order. */
struct wsasec_flight {
    unsigned slots[WSASEC_WINDOW];
    int cancelled[WSASEC_WINDOW];
    wsasec_socket sockets[WSASEC_WINDOW];
    unsigned count;
};

static struct wsasec_flight the_flight;

struct wsasec_flight *wsasec_backend_flight_open(const struct wsasec_request *request, unsigned window,
                                                 wsasec_status *status)
{
    (void)request;
    (void)window;
    if (the_double.ring_fails) {
        wsasec_fail(status, WSASEC_STEP_SECURE, the_double.ring_fails, 9);
        return NULL;
    }
    memset(&the_flight, 0, sizeof the_flight);
    return &the_flight;
}

int32_t wsasec_backend_flight_start(struct wsasec_flight *flight, unsigned slot, wsasec_socket socket,
                                    wsasec_status *status)
{
    note('F');
    if (socket % 3 == 0) /* some are done at once */
        return wsasec_backend_apply(NULL, NULL, socket, status);
    flight->slots[flight->count++] = slot;
    flight->sockets[slot] = socket;
    flight->cancelled[slot] = 0;
    return wsasec_fail(status, WSASEC_STEP_SECURE, WSASEC_REASON_PENDING, 0);
}

int wsasec_backend_flight_land(struct wsasec_flight *flight, uint64_t nanoseconds, unsigned *slot, int32_t *error)
{
    unsigned place = the_double.lands_backwards && flight->count ? flight->count - 1 : 0;

    while (place < flight->count && the_double.never_lands && !flight->cancelled[flight->slots[place]])
        place++;
    if (place >= flight->count) {
        atomic_fetch_add(&the_double.clock, nanoseconds);
        return 0;
    }
    *slot = flight->slots[place];
    memmove(&flight->slots[place], &flight->slots[place + 1], (--flight->count - place) * sizeof flight->slots[0]);
    *error = flight->cancelled[*slot] || (the_double.apply_fails && concerns(flight->sockets[*slot]));
    note('f');
    return 1;
}

void wsasec_backend_flight_cancel(struct wsasec_flight *flight, unsigned slot)
{
    flight->cancelled[slot] = !the_double.never_ends;
    note('c');
}

void wsasec_backend_flight_close(struct wsasec_flight *flight)
{
    (void)flight;
}

unsigned wsasec_backend_processors(void)
{
    return the_double.processors;
}

struct worker {
    pthread_t thread;
    void (*work)(void *, unsigned);
    void *context;
    unsigned number;
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;

    note('T');
    by = WSASEC_METHOD_THREADS;
    worker->work(worker->context, worker->number);
    return NULL;
}

void wsasec_backend_parallel(unsigned count, void (*work)(void *, unsigned), void *context)
{
    struct worker workers[WSASEC_THREADS_MAX];

    for (unsigned i = 1; i < count; i++) {
        workers[i].work = work;
        workers[i].context = context;
        workers[i].number = i;
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]))
            count = i;
    }
    by = WSASEC_METHOD_THREADS;
    work(context, 0);
    by = WSASEC_METHOD_PLAIN;
    for (unsigned i = 1; i < count; i++)
        pthread_join(workers[i].thread, NULL);
}

void wsasec_close_many(int32_t *sockets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sockets[i] >= 0)
            note('C');
        sockets[i] = -1;
    }
}

int32_t wsasec_backend_accept(wsasec_socket listener, int nonblocking, wsasec_socket *accepted, uint64_t *identity,
                              void *address, uint32_t *address_len, wsasec_status *status)
{
    (void)listener;
    (void)nonblocking;
    (void)address;
    (void)address_len;
    note(identity ? 'L' : 'l');
    if (the_double.accept_fails)
        return wsasec_fail(status, WSASEC_STEP_ACCEPT, the_double.accept_fails, 11);
    *accepted = the_double.next_socket++;
    if (identity)
        *identity = the_double.facts.identity + 1000 + (uint64_t)*accepted;
    return 0;
}

int32_t wsasec_backend_apply_accepted(struct wsasec_plan *plan, const struct wsasec_facts *facts, wsasec_socket socket,
                                      wsasec_status *status)
{
    (void)plan;
    (void)facts;
    (void)socket;
    note('a');
    return the_double.apply_fails ? wsasec_fail(status, WSASEC_STEP_POLICY_OUT, the_double.apply_fails, 12) : 0;
}

int32_t wsasec_backend_silence(wsasec_socket socket)
{
    (void)socket;
    note('S');
    return the_double.block_fails;
}

void wsasec_backend_abandon(wsasec_socket socket)
{
    (void)socket;
    note('Q');
}

int32_t wsasec_overlapped_error(wsasec_socket socket, void *overlapped)
{
    (void)socket;
    (void)overlapped;
    return WSASEC_WSAEOPNOTSUPP;
}

void wsasec_overlapped_cancel(wsasec_socket socket, void *overlapped)
{
    (void)socket;
    (void)overlapped;
}
