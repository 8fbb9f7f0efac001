/* SPDX-License-Identifier: Apache-2.0 */
/* The table by which other extension modules call this library. */
#include "wsasec_api.h"

/* The profiles are missing on purpose: the Python package keeps them, and would not know of a change. */
static const wsasec_api table = {
    .version = WSASEC_API_VERSION,
    .size = sizeof(wsasec_api),
    .set_socket_security = wsasec_set_socket_security,
    .query_socket_security = wsasec_query_socket_security,
    .set_socket_peer_target_name = wsasec_set_socket_peer_target_name,
    .delete_socket_peer_target_name = wsasec_delete_socket_peer_target_name,
    .impersonate_socket_peer = wsasec_impersonate_socket_peer,
    .revert_impersonation = wsasec_revert_impersonation,
    .secure_many = wsasec_secure_many,
    .profile_at = wsasec_profile_at,
    .profile_of = wsasec_profile_of,
    .socket_options = wsasec_socket_options,
    .guard_state = wsasec_guard_state,
    .capability = wsasec_capability,
    .reason_text = wsasec_reason_text,
    .reason_hint = wsasec_reason_hint,
    .step_text = wsasec_step_text,
    .job_secure = wsasec_job_secure,
    .job_create = wsasec_job_create,
    .job_run = wsasec_job_run,
    .job_done = wsasec_job_done,
    .job_end = wsasec_job_end,
    .close_many = wsasec_close_many,
    .job_made = wsasec_job_made,
    .method_status = wsasec_method_status,
    .method_cost = wsasec_method_cost,
    .method_best = wsasec_method_best,
    .close_token = wsasec_close_token,
    .wipe = wsasec_wipe,
    .overlapped_done = wsasec_overlapped_done,
    .overlapped_error = wsasec_overlapped_error,
    .overlapped_cancel = wsasec_overlapped_cancel,
    .job_time_out = wsasec_job_time_out,
    .negotiate = wsasec_negotiate,
    .association_of = wsasec_association_of,
    .detail = wsasec_detail,
    .carrier_auto = wsasec_carrier_auto,
};

const wsasec_api *wsasec_api_table(void)
{
    return &table;
}
