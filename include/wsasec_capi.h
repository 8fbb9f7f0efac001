/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C interface for extension modules of Python, in C, C++ or Cython (`from wsasec cimport ...`): the functions of
 * wsasec.h and wsasec_batch.h by their names, carried out by the library that the Python package has loaded.
 * Nothing is linked. Works with and without Py_LIMITED_API.
 *
 * import_wsasec() comes first, once in each C file that includes this, usually in the module's init function. The
 * other functions need no GIL; a call before import_wsasec() ends the process with a message.
 *
 * The profiles are those of Python's wsasec.profiles, so wsasec_profiles_set() and wsasec_profile_builtin() are not
 * here; wsasec_release_namespaces() is Python's wsasec.release_namespaces().
 */
#ifndef WSASEC_CAPI_H
#define WSASEC_CAPI_H

#include <Python.h>

#include "wsasec_api.h"

#ifdef __cplusplus
extern "C" {
#endif

static const wsasec_api *wsasec_api_used;

/*
 * Imports wsasec, with its profiles (/etc/wsasec, WSASEC_CONFIG). With the GIL. Returns 0, or -1 with an exception
 * set: ImportError (no wsasec, or one that this module was not compiled for), wsasec.ConfigError (a profile file).
 */
static inline int import_wsasec(void)
{
    PyObject *module = PyImport_ImportModule("wsasec._wsasec");
    PyObject *capsule;
    void *table;

    if (!module)
        return -1;
    capsule = PyObject_CallMethod(module, "c_api", "II", (unsigned)WSASEC_API_VERSION, (unsigned)sizeof(wsasec_api));
    Py_DECREF(module);
    if (!capsule)
        return -1;
    table = PyCapsule_GetPointer(capsule, WSASEC_API_CAPSULE);
    Py_DECREF(capsule);
    if (!table)
        return -1;
    wsasec_api_used = (const wsasec_api *)table;
    return 0;
}

static inline const wsasec_api *wsasec_api_checked(void)
{
    if (!wsasec_api_used)
        Py_FatalError("import_wsasec() was not called in this file, or failed");
    return wsasec_api_used;
}

#define wsasec_set_socket_security (wsasec_api_checked()->set_socket_security)
#define wsasec_query_socket_security (wsasec_api_checked()->query_socket_security)
#define wsasec_set_socket_peer_target_name (wsasec_api_checked()->set_socket_peer_target_name)
#define wsasec_delete_socket_peer_target_name (wsasec_api_checked()->delete_socket_peer_target_name)
#define wsasec_impersonate_socket_peer (wsasec_api_checked()->impersonate_socket_peer)
#define wsasec_revert_impersonation (wsasec_api_checked()->revert_impersonation)
#define wsasec_secure_many (wsasec_api_checked()->secure_many)
#define wsasec_profile_at (wsasec_api_checked()->profile_at)
#define wsasec_profile_of (wsasec_api_checked()->profile_of)
#define wsasec_socket_options (wsasec_api_checked()->socket_options)
#define wsasec_guard_state (wsasec_api_checked()->guard_state)
#define wsasec_capability (wsasec_api_checked()->capability)
#define wsasec_reason_text (wsasec_api_checked()->reason_text)
#define wsasec_reason_hint (wsasec_api_checked()->reason_hint)
#define wsasec_step_text (wsasec_api_checked()->step_text)
#define wsasec_job_secure (wsasec_api_checked()->job_secure)
#define wsasec_job_create (wsasec_api_checked()->job_create)
#define wsasec_job_run (wsasec_api_checked()->job_run)
#define wsasec_job_done (wsasec_api_checked()->job_done)
#define wsasec_job_end (wsasec_api_checked()->job_end)
#define wsasec_close_many (wsasec_api_checked()->close_many)
#define wsasec_job_made (wsasec_api_checked()->job_made)
#define wsasec_method_status (wsasec_api_checked()->method_status)
#define wsasec_method_cost (wsasec_api_checked()->method_cost)
#define wsasec_method_best (wsasec_api_checked()->method_best)
#define wsasec_close_token (wsasec_api_checked()->close_token)
#define wsasec_wipe (wsasec_api_checked()->wipe)
#define wsasec_overlapped_done (wsasec_api_checked()->overlapped_done)
#define wsasec_overlapped_error (wsasec_api_checked()->overlapped_error)
#define wsasec_overlapped_cancel (wsasec_api_checked()->overlapped_cancel)
#define wsasec_job_time_out (wsasec_api_checked()->job_time_out)
#define wsasec_negotiate (wsasec_api_checked()->negotiate)
#define wsasec_association_of (wsasec_api_checked()->association_of)
#define wsasec_detail (wsasec_api_checked()->detail)
#define wsasec_carrier_auto (wsasec_api_checked()->carrier_auto)

#ifdef __cplusplus
}
#endif
#endif
