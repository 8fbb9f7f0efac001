# SPDX-License-Identifier: Apache-2.0
# The C interface for other extension modules: include/wsasec_capi.h has the other end.

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "wsasec_api.h" nogil:
    ctypedef struct wsasec_api:
        pass

    enum:
        WSASEC_API_VERSION

    const char *WSASEC_API_CAPSULE
    const wsasec_api *wsasec_api_table()


def c_api(unsigned version, size_t size):
    """The table of C functions for a module that was compiled for this version and size of it, as a capsule.

    The profiles are read first, as before the first `secure`. C and Cython call it by import_wsasec().

    Raises:
        ImportError: the module is not to be served by this wsasec.
        ValueError: a profile file with an error (`ConfigError`).
    """
    if version != WSASEC_API_VERSION:
        raise ImportError(
            f"the module was compiled for version {version} of wsasec's C interface, and this wsasec has "
            f"version {WSASEC_API_VERSION}: compile it with the headers in {_headers()}"
        )
    if size > sizeof(wsasec_api):
        raise ImportError(
            "the module was compiled for a newer wsasec, whose C interface has more functions: upgrade wsasec, "
            f"or compile the module with the headers in {_headers()}"
        )
    get_ready()
    return PyCapsule_New(<void *>wsasec_api_table(), WSASEC_API_CAPSULE, NULL)


cdef object _headers():
    from wsasec import get_include

    return get_include()
