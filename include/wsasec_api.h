/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of a loaded library as one table: how C and Cython extension modules call the library that the
 * Python package has loaded, and so share its profiles and what it knows of sockets. They get it with
 * import_wsasec() of wsasec_capi.h; nobody else needs this file.
 */
#ifndef WSASEC_API_H
#define WSASEC_API_H

#include "wsasec.h"
#include "wsasec_batch.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Changes where a member, or a structure that members take, is not what it was. */
#define WSASEC_API_VERSION 1
/* The name of the capsule that holds the table. */
#define WSASEC_API_CAPSULE "wsasec.api"

/* New members come at the end: who knows fewer of them can use the table all the same. */
typedef struct wsasec_api {
    uint32_t version; /* WSASEC_API_VERSION */
    uint32_t size;    /* of the table, in bytes */
    int32_t (*set_socket_security)(wsasec_socket, const void *, uint32_t, void *, void *, wsasec_status *);
    int32_t (*query_socket_security)(wsasec_socket, const void *, uint32_t, void *, uint32_t *, void *, void *,
                                     wsasec_status *);
    int32_t (*set_socket_peer_target_name)(wsasec_socket, const void *, uint32_t, void *, void *,
                                           wsasec_status *);
    int32_t (*delete_socket_peer_target_name)(wsasec_socket, const void *, uint32_t, void *, void *,
                                              wsasec_status *);
    int32_t (*impersonate_socket_peer)(wsasec_socket, const void *, uint32_t, wsasec_status *);
    int32_t (*revert_impersonation)(wsasec_status *);
    size_t (*secure_many)(const int32_t *, size_t, const void *, uint32_t, int32_t *, wsasec_status *);
    const wsasec_profile *(*profile_at)(uint16_t);
    const wsasec_profile *(*profile_of)(wsasec_socket);
    int32_t (*socket_options)(int, const void *, uint32_t, wsasec_option *, size_t *, wsasec_status *);
    int32_t (*guard_state)(int, const wsasec_guid *, wsasec_status *);
    int32_t (*capability)(unsigned, wsasec_status *);
    const char *(*reason_text)(unsigned);
    const char *(*reason_hint)(unsigned);
    const char *(*step_text)(unsigned);
    wsasec_job *(*job_secure)(const int32_t *, size_t, const void *, uint32_t, int32_t *, unsigned, unsigned,
                              wsasec_status *);
    wsasec_job *(*job_create)(int32_t *, size_t, const wsasec_batch_spec *, int32_t *, int, unsigned, unsigned,
                              wsasec_status *);
    int (*job_run)(wsasec_job *, uint64_t);
    size_t (*job_done)(const wsasec_job *);
    size_t (*job_end)(wsasec_job *, wsasec_status *);
    void (*close_many)(int32_t *, size_t);
    size_t (*job_made)(const wsasec_job *);
    int32_t (*method_status)(unsigned, wsasec_status *);
    uint32_t (*method_cost)(unsigned, unsigned);
    unsigned (*method_best)(unsigned);
    int32_t (*close_token)(uint64_t);
    void (*wipe)(void *, size_t);
    int32_t (*overlapped_done)(wsasec_socket, const void *, uint32_t, int32_t, wsasec_status *);
    int32_t (*overlapped_error)(wsasec_socket, void *);
    void (*overlapped_cancel)(wsasec_socket, void *);
    void (*job_time_out)(wsasec_job *);
    int32_t (*negotiate)(wsasec_socket, const void *, uint32_t, uint64_t, wsasec_status *);
    int32_t (*association_of)(wsasec_socket, const void *, uint32_t, wsasec_socket_association *, wsasec_status *);
    const char *(*detail)(void);
    int32_t (*carrier_auto)(wsasec_status *);
} wsasec_api;

/* The table of the library that this is linked into. */
const wsasec_api *wsasec_api_table(void);

#ifdef __cplusplus
}
#endif
#endif
