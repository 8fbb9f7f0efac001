/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the peer is: knowledge of whoever negotiated the SAs. Until a key daemon is asked, no name can be held
 * against it and no identity taken, so these calls are refused, never answered by guessing.
 */
#include "../backend.h"
#include "../core/errors.h"

static int32_t refuse(wsasec_status *status)
{
    return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
}

int32_t wsasec_backend_query(wsasec_socket socket, const void *template_, uint32_t template_len, void *info,
                             uint32_t *info_len, void *overlapped, void *completion_routine, wsasec_status *status)
{
    (void)socket;
    (void)template_;
    (void)template_len;
    (void)info;
    (void)info_len;
    (void)overlapped;
    (void)completion_routine;
    return refuse(status);
}

int32_t wsasec_backend_set_peer_name(wsasec_socket socket, const void *name, uint32_t name_len, void *overlapped,
                                     void *completion_routine, wsasec_status *status)
{
    (void)socket;
    (void)name;
    (void)name_len;
    (void)overlapped;
    (void)completion_routine;
    return refuse(status);
}

int32_t wsasec_backend_delete_peer_name(wsasec_socket socket, const void *peer, uint32_t peer_len, void *overlapped,
                                        void *completion_routine, wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)peer_len;
    (void)overlapped;
    (void)completion_routine;
    return refuse(status);
}

int32_t wsasec_backend_impersonate(wsasec_socket socket, const void *peer, uint32_t peer_len,
                                   wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)peer_len;
    return refuse(status);
}

int32_t wsasec_backend_revert(wsasec_status *status)
{
    return refuse(status);
}

int32_t wsasec_backend_close_token(uint64_t handle)
{
    (void)handle;
    return refuse(NULL);
}
