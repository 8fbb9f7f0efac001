/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many sockets in one job: secured, or made and secured. A job is run in slices of time by one thread, so that
 * its owner can look at signals in between, tell how far it is, and give it up.
 */
#ifndef WSASEC_BATCH_H
#define WSASEC_BATCH_H

#include "wsasec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the calls for many sockets are made. */
enum wsasec_method {
    WSASEC_METHOD_AUTO = 0, /* what was measured to be fastest in this process; see wsasec_method_best() */
    WSASEC_METHOD_PLAIN,    /* one system call after the other */
    WSASEC_METHOD_IO_URING, /* many in one system call; a failed step ends those of its socket */
    WSASEC_METHOD_THREADS,  /* several threads share the sockets */
    WSASEC_METHOD_OVERLAPPED, /* Windows: many calls under way at a time; for sockets that are there already */
    WSASEC_METHOD_COUNT
};

/* What is measured apart. */
enum wsasec_kind { WSASEC_KIND_SECURE = 0, WSASEC_KIND_CREATE, WSASEC_KIND_COUNT };

/* More threads than that are not started. */
#define WSASEC_THREADS_MAX 64

/* Returns 0 where the method is to be had; else why not: WSAEOPNOTSUPP, WSAENOBUFS, WSAEMFILE. */
int32_t wsasec_method_status(unsigned method, wsasec_status *status);

/*
 * What a method costs in this process: nanoseconds a socket, as measured by the last job of the kind that left the
 * method open and measured: the first large one, and then each that is much larger; 0 where it was not measured.
 */
uint32_t wsasec_method_cost(unsigned kind, unsigned method);

/* The method that costs least; WSASEC_METHOD_PLAIN until something was measured. */
unsigned wsasec_method_best(unsigned kind);

/* Sockets that are to be made. What is pointed to must live as long as the job. */
typedef struct wsasec_batch_spec {
    int32_t address_family;  /* the system's AF_INET or AF_INET6 */
    int32_t type;            /* the system's SOCK_STREAM or SOCK_DGRAM */
    uint32_t flags;          /* WSASEC_BATCH_* */
    int32_t send_buffer;     /* SO_SNDBUF in bytes; 0: the system's default */
    int32_t receive_buffer;  /* SO_RCVBUF in bytes; 0: the system's default */
    uint32_t settings_len;
    const void *settings;    /* as for wsasec_set_socket_security() */
    const void *sources;     /* sockaddrs, one behind the other, taken in turn by bind(); NULL: no bind() */
    size_t source_count;
    uint32_t source_size;    /* of each, in bytes */
    uint32_t reserved;
} wsasec_batch_spec;

/* Not secured: for baselines to compare with. */
#define WSASEC_BATCH_PLAIN UINT32_C(0x1)
/* TCP_NODELAY; stream sockets only. */
#define WSASEC_BATCH_NODELAY UINT32_C(0x2)

/* In place of a code, none of which is above 0. */
#define WSASEC_NOT_TRIED INT32_C(1)

typedef struct wsasec_job wsasec_job;

/*
 * A job that secures sockets as wsasec_secure_many() does; the arrays and the settings must live as long as it.
 * method: enum wsasec_method; threads: for WSASEC_METHOD_THREADS and _AUTO, 0 for one a processor. Where a socket is
 * there twice, either may be the one that is found secured already if several threads are at it, else the second.
 * codes: as there; of a socket that was not tried yet WSASEC_NOT_TRIED.
 * Returns NULL, with the status filled in: WSAENOBUFS (no memory), or as wsasec_method_status().
 */
wsasec_job *wsasec_job_secure(const int32_t *sockets, size_t count, const void *settings, uint32_t settings_len,
                              int32_t *codes, unsigned method, unsigned threads, wsasec_status *status);

/*
 * A job that makes sockets, secures and binds them; non-blocking, and closed when another program is started.
 * sockets: room for count descriptors; those that could not be made are -1. codes: NULL, or count results, each
 * 0 or a Winsock code made negative. stop: whether the first failure ends the job (the rest is then -1, with
 * code 0). Returns NULL as above, or with WSAEINVAL, WSAEFAULT or WSAEMSGSIZE (specification, settings).
 */
wsasec_job *wsasec_job_create(int32_t *sockets, size_t count, const wsasec_batch_spec *spec, int32_t *codes,
                              int stop, unsigned method, unsigned threads, wsasec_status *status);

/* Goes on for about so many nanoseconds. Returns 1 when all is done, else 0. */
int wsasec_job_run(wsasec_job *job, uint64_t nanoseconds);

/*
 * Gives up what is under way, and what was not tried yet: with WSAETIMEDOUT as their codes the job is done. For jobs of
 * wsasec_job_secure().
 */
void wsasec_job_time_out(wsasec_job *job);

/* How many sockets have been tried. */
size_t wsasec_job_done(const wsasec_job *job);

/*
 * How many sockets a job of wsasec_job_create() has made; with several threads that is more than the index of the
 * failure that stopped it, as those behind it are closed again.
 */
size_t wsasec_job_made(const wsasec_job *job);

/*
 * Ends a job, also one that is not done; what was made or secured stays so. first: NULL, or the status of the
 * first failure by index. Returns the number of failures. A NULL job is none, with 0 failures.
 */
size_t wsasec_job_end(wsasec_job *job, wsasec_status *first);

/* Closes descriptors, all others than -1, with few system calls where they are in a row; sets them to -1. */
void wsasec_close_many(int32_t *sockets, size_t count);

#ifdef __cplusplus
}
#endif
#endif
