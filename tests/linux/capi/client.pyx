# cython: language_level=3
"""A module as users write it: sockets are made and secured without the GIL."""

from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from wsasec cimport (
    WSASEC_METHOD_AUTO,
    import_wsasec,
    wsasec_batch_spec,
    wsasec_close_many,
    wsasec_delete_socket_peer_target_name,
    wsasec_impersonate_socket_peer,
    wsasec_job,
    wsasec_job_create,
    wsasec_job_done,
    wsasec_job_end,
    wsasec_job_run,
    wsasec_job_secure,
    wsasec_profile,
    wsasec_profile_of,
    wsasec_query_socket_security,
    wsasec_reason_text,
    wsasec_revert_impersonation,
    wsasec_secure_many,
    wsasec_set_socket_peer_target_name,
    wsasec_set_socket_security,
    wsasec_socket_security_settings,
    wsasec_status,
)

import_wsasec()


cdef size_t make(int32_t *fds, size_t count, int family, int kind, wsasec_status *status) noexcept nogil:
    cdef wsasec_batch_spec spec
    cdef wsasec_job *job
    memset(&spec, 0, sizeof(spec))
    spec.address_family = family
    spec.type = kind
    job = wsasec_job_create(fds, count, &spec, NULL, 1, WSASEC_METHOD_AUTO, 0, status)
    if job is NULL:
        return count
    while not wsasec_job_run(job, 50000000):
        pass
    return wsasec_job_end(job, status)


def batch(size_t count, int family, int kind, size_t looked_at):
    """Make, secure and close sockets; return (failures, profile of one, failures when secured again)."""
    cdef int32_t *fds = <int32_t *>malloc(count * sizeof(int32_t))
    cdef wsasec_status status
    cdef size_t failed, again
    cdef const wsasec_profile *profile
    with nogil:
        failed = make(fds, count, family, kind, &status)
        profile = wsasec_profile_of(fds[looked_at])
        again = wsasec_secure_many(fds, count, NULL, 0, NULL, &status)
        wsasec_close_many(fds, count)
    free(fds)
    return failed, None if profile is NULL else (<const char *>profile.name).decode(), again


def secure(int fd, unsigned flags=0):
    """Return (code, text of the reason) of WSASetSocketSecurity."""
    cdef wsasec_socket_security_settings settings
    cdef wsasec_status status
    cdef int32_t code
    settings.SecurityProtocol = 0
    settings.SecurityFlags = flags
    with nogil:
        code = wsasec_set_socket_security(fd, &settings, sizeof(settings), NULL, NULL, &status)
    return code, wsasec_reason_text(status.reason).decode()


def secure_by_job(int32_t[::1] fds):
    """Return (how many were tried, how many failed)."""
    cdef wsasec_status status
    cdef wsasec_job *job
    cdef size_t done
    with nogil:
        job = wsasec_job_secure(&fds[0], <size_t>fds.shape[0], NULL, 0, NULL, WSASEC_METHOD_AUTO, 0, &status)
        while not wsasec_job_run(job, 50000000):
            pass
        done = wsasec_job_done(job)
    return done, wsasec_job_end(job, &status)


def the_other_five(int fd):
    """Return the codes of the other five functions, called with NULL pointers."""
    with nogil:
        query = wsasec_query_socket_security(fd, NULL, 0, NULL, NULL, NULL, NULL, NULL)
        set_name = wsasec_set_socket_peer_target_name(fd, NULL, 0, NULL, NULL, NULL)
        delete_name = wsasec_delete_socket_peer_target_name(fd, NULL, 0, NULL, NULL, NULL)
        impersonate = wsasec_impersonate_socket_peer(fd, NULL, 0, NULL)
        revert = wsasec_revert_impersonation(NULL)
    return query, set_name, delete_name, impersonate, revert
