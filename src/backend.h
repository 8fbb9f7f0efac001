/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between the contract (src/core) and a system (src/linux, src/windows). The core decides whether a
 * call is right and in which order that is found out; a backend tells it facts and carries out what it asks.
 *
 * All functions may be called from any thread at any time. They return 0, or a Winsock code made negative,
 * after wsasec_fail() has filled in the status.
 */
#ifndef WSASEC_BACKEND_H
#define WSASEC_BACKEND_H

#include "wsasec.h"
#include "wsasec_batch.h"

/* Unasked: the system itself finds out whether it can be secured. */
enum wsasec_family {
    WSASEC_FAMILY_OTHER,
    WSASEC_FAMILY_INET,
    WSASEC_FAMILY_INET6,
    WSASEC_FAMILIES,
    WSASEC_FAMILY_UNASKED = WSASEC_FAMILIES
};
enum wsasec_type { WSASEC_TYPE_OTHER, WSASEC_TYPE_STREAM, WSASEC_TYPE_DGRAM, WSASEC_TYPE_UNASKED };

struct wsasec_facts {
    uint64_t identity; /* the same behind every descriptor of a socket; never one that another had there before */
    uint64_t realm;    /* the network namespace the socket lives in */
    uint32_t mark;     /* firewall mark it carries; 0 where there is no such thing */
    uint32_t device;   /* index of the interface to bind it to, from wsasec_backend_ready(); 0: to none */
    uint8_t family;
    uint8_t type;
    uint8_t bound;
};

/* What is to be done to a socket. */
struct wsasec_request {
    const void *settings; /* as the caller gave them */
    uint32_t settings_len;
    void *overlapped; /* of a call that may be completed later, where the system has such; or NULL */
    void *completion_routine;
    uint16_t buffer_reason; /* why pointer and length are wrong, or 0 */
    uint16_t member_reason; /* why a member is wrong, or 0 */
    uint16_t profile_number;
    uint8_t required; /* nothing may pass in clear */
    uint8_t skip;     /* install nothing */
    uint8_t unasked;  /* the system's own call, which there will be, checks the sockets */
    uint8_t notes;    /* WSASEC_NOTE_... (sockets.h) */
    const wsasec_profile *profile;
};

/* What a backend makes of a request once, or when the first socket of a kind needs it, so that a loop over sockets
 * does as little as it can. The request must live as long. */
struct wsasec_plan {
    _Alignas(8) unsigned char bytes[6272];
};

int32_t wsasec_backend_inspect(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status);

/* Whether the system's own call finds out all that makes it wrong: then nothing is asked of a socket before it. */
int wsasec_backend_checks_sockets(void);

/* Tells why a bound socket is bound: WSASEC_REASON_CONNECTED, _LISTENING or _BOUND. */
uint16_t wsasec_backend_bound_reason(wsasec_socket socket);

/* Whether policy keys name profiles of this library; else they, and what they stand for, are the system's. */
int wsasec_backend_has_profiles(void);

/* Whether sockets of this profile can go on in clear at all: those that a device carries cannot. */
int wsasec_backend_falls_back(const wsasec_profile *profile);

/* As wsasec_carrier_auto(). */
int32_t wsasec_backend_carrier_auto(wsasec_status *status);

void wsasec_backend_plan(const struct wsasec_request *request, struct wsasec_plan *plan);

/* The realm of a socket, where it is not known that of another is the same. */
int32_t wsasec_backend_realm(wsasec_socket socket, uint64_t *realm, wsasec_status *status);

/*
 * Sees to what must be in force in the socket's realm before a socket is secured, and checks it again; and says in the
 * facts which device carries it.
 */
int32_t wsasec_backend_ready(const struct wsasec_request *request, struct wsasec_facts *facts,
                             wsasec_socket socket, wsasec_status *status);

int32_t wsasec_backend_apply(struct wsasec_plan *plan, const struct wsasec_facts *facts,
                             wsasec_socket socket, wsasec_status *status);

/* The same for a socket from wsasec_backend_make(): what is so by default is not set. */
int32_t wsasec_backend_apply_fresh(struct wsasec_plan *plan, const struct wsasec_facts *facts,
                                   wsasec_socket socket, wsasec_status *status);

/*
 * Whether it is worth a try that the system has one call, in a realm, that looks at a socket and applies the rest only
 * if all is as it must be; and the identity of the socket.
 */
int wsasec_backend_one_call_begin(uint64_t realm, wsasec_socket socket, uint64_t *identity);

/*
 * That call, by what was found ready for others: their realm, family and device. Returns 1 when it is done, and 0 where
 * the socket is as it was.
 */
int wsasec_backend_one_call(const struct wsasec_facts *others, wsasec_socket socket);

/* Tells which family and type the system's numbers in a specification are. */
void wsasec_backend_kind(const wsasec_batch_spec *spec, struct wsasec_facts *facts);

/* Makes a socket of a specification, and fills in the facts that can be told of a fresh one: all but its realm. */
int32_t wsasec_backend_make(const wsasec_batch_spec *spec, wsasec_socket *socket, struct wsasec_facts *facts,
                            wsasec_status *status);

/* What the specification asks for besides security; after it, as it binds. index: of the socket in its batch. */
int32_t wsasec_backend_equip(const wsasec_batch_spec *spec, size_t index, wsasec_socket socket,
                             wsasec_status *status);

/* How many sockets a ring takes at a time: more do not fit into the processor's nearest cache with what they need. */
enum { WSASEC_GROUP = 32 };

/* One of a group. code is 0, or that of the status. */
struct wsasec_member {
    wsasec_socket socket;
    struct wsasec_facts facts;
    int32_t code;
    wsasec_status status;
};

/*
 * What carries out the steps of a group with few system calls; for one thread. NULL after an error in the status.
 * Where a ring fails on the way, the functions below make the system calls themselves.
 */
struct wsasec_ring;
struct wsasec_ring *wsasec_backend_ring_open(wsasec_status *status);
void wsasec_backend_ring_close(struct wsasec_ring *ring); /* NULL is none */

/*
 * Whether the calling thread lacks the privilege to apply anything, as far as that is known: then a broker is asked
 * first. Costs next to nothing where it has it.
 */
int wsasec_backend_lacks_privilege(void);

/* How many sockets a broker takes at a time. */
enum { WSASEC_BROKERED = 250 };

/* Whether a step was refused for the want of privilege: a broker may have it. */
static inline int wsasec_is_refused(int32_t code, const wsasec_status *status)
{
    return code && status->reason == WSASEC_REASON_PRIVILEGE &&
           ((status->step >= WSASEC_STEP_EXCLUSIVE && status->step <= WSASEC_STEP_MARK) ||
            status->step == WSASEC_STEP_DEVICE);
}

/*
 * Has a broker secure those of a group that were refused, at most WSASEC_BROKERED, and tells what became of them.
 * Returns 0, with nothing changed, where there is no broker, else 1.
 */
int wsasec_backend_broker(const struct wsasec_request *request, struct wsasec_member *members, size_t count);

/* As wsasec_backend_inspect() for each of a group. */
void wsasec_backend_ring_inspect(struct wsasec_ring *ring, struct wsasec_member *members, size_t count);

/* As wsasec_backend_make() for each of a group. */
void wsasec_backend_ring_make(struct wsasec_ring *ring, const wsasec_batch_spec *spec, struct wsasec_member *members,
                              size_t count);

/* As wsasec_backend_apply(), or _apply_fresh(), for each of a group whose code is 0. */
void wsasec_backend_ring_apply(struct wsasec_ring *ring, struct wsasec_plan *plan, int fresh,
                               struct wsasec_member *members, size_t count);

/*
 * Overlapped calls: many under way at a time, each in a slot, for one thread. NULL after an error in the status. The
 * request must live as long; its settings are copied.
 */
enum { WSASEC_WINDOW = 256 };
struct wsasec_flight;
struct wsasec_flight *wsasec_backend_flight_open(const struct wsasec_request *request, unsigned window,
                                                 wsasec_status *status);

/* As wsasec_backend_apply(), in a slot that is free; with WSASEC_REASON_PENDING the call is completed later. */
int32_t wsasec_backend_flight_start(struct wsasec_flight *flight, unsigned slot, wsasec_socket socket,
                                    wsasec_status *status);

/* Waits so long for a call to be completed. Returns 1 with its slot, which is free now, and its error, or else 0. */
int wsasec_backend_flight_land(struct wsasec_flight *flight, uint64_t nanoseconds, unsigned *slot, int32_t *error);

/* Has the call of a slot, if there is one, completed soon, with an error. */
void wsasec_backend_flight_cancel(struct wsasec_flight *flight, unsigned slot);

/* Also while calls are under way: what they may still write is kept until they are completed. */
void wsasec_backend_flight_close(struct wsasec_flight *flight);

/* Processors that this thread may run on. */
unsigned wsasec_backend_processors(void);

/*
 * Calls work(context, number) once in each of so many threads, numbered from 0, which is the calling one; returns
 * when all have. There are fewer where the system gives no more. Signals never interrupt the others.
 */
void wsasec_backend_parallel(unsigned count, void (*work)(void *context, unsigned number), void *context);

/* Nanoseconds of a clock that only goes forward. */
uint64_t wsasec_backend_clock(void);

/* So many nanoseconds after a time, or the last time that there is. */
static inline uint64_t wsasec_after(uint64_t time, uint64_t nanoseconds)
{
    return nanoseconds < UINT64_MAX - time ? time + nanoseconds : UINT64_MAX;
}

/*
 * Takes a connection from a listener; identity: of the accepted socket, NULL where nobody wants to know it. address: room
 * for *address_len bytes of sockaddr, or NULL.
 */
int32_t wsasec_backend_accept(wsasec_socket listener, int nonblocking, wsasec_socket *accepted, uint64_t *identity,
                              void *address, uint32_t *address_len, wsasec_status *status);

/* Sets again what an accepted socket of this family may not have from its listener. */
int32_t wsasec_backend_apply_accepted(struct wsasec_plan *plan, const struct wsasec_facts *facts,
                                      wsasec_socket socket, wsasec_status *status);

/* As wsasec_backend_block(); and close() then leaves nothing behind that would try to send for minutes. */
int32_t wsasec_backend_silence(wsasec_socket socket);

/* Closes an accepted socket without a further packet from it. */
void wsasec_backend_abandon(wsasec_socket socket);

/* Makes a socket unable to send anything, for good and without any privilege. */
int32_t wsasec_backend_block(wsasec_socket socket);

int32_t wsasec_backend_options(const struct wsasec_request *request, struct wsasec_plan *plan,
                               int address_family, wsasec_option *options, size_t *count,
                               wsasec_status *status);
int32_t wsasec_backend_guard_state(const wsasec_profile *profile, int address_family, wsasec_status *status);
void wsasec_backend_release(void);
int32_t wsasec_backend_capability(unsigned capability, wsasec_status *status);

/* As wsasec_fail(), with the reason that an error number of the system stands for. */
int32_t wsasec_backend_fail(unsigned step, int32_t error, wsasec_status *status);

/* The other five functions, after the core found their arguments good. */
int32_t wsasec_backend_query(wsasec_socket socket, const void *template_, uint32_t template_len, void *info,
                             uint32_t *info_len, void *overlapped, void *completion_routine, wsasec_status *status);
int32_t wsasec_backend_set_peer_name(wsasec_socket socket, const void *name, uint32_t name_len, void *overlapped,
                                     void *completion_routine, wsasec_status *status);
int32_t wsasec_backend_delete_peer_name(wsasec_socket socket, const void *peer, uint32_t peer_len, void *overlapped,
                                        void *completion_routine, wsasec_status *status);
int32_t wsasec_backend_impersonate(wsasec_socket socket, const void *peer, uint32_t peer_len,
                                   wsasec_status *status);
int32_t wsasec_backend_revert(wsasec_status *status);

/*
 * What only this library asks of them. peer: an address of the socket's family, or NULL for that which it is connected
 * to.
 */
int32_t wsasec_backend_negotiate(wsasec_socket socket, const wsasec_sockaddr_storage *peer, uint64_t nanoseconds,
                                 wsasec_status *status);
int32_t wsasec_backend_association(wsasec_socket socket, const wsasec_sockaddr_storage *peer,
                                   wsasec_socket_association *association, wsasec_status *status);

/* Closes a token that a query returned; never 0. */
int32_t wsasec_backend_close_token(uint64_t handle);

#endif
