# SPDX-License-Identifier: Apache-2.0
# Overlapped calls of event loops, which have the OVERLAPPED and wait for it.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

cdef extern from "wsasec.h" nogil:
    int32_t wsasec_overlapped_done(wsasec_socket, const void *, uint32_t, int32_t, wsasec_status *)
    int32_t wsasec_overlapped_error(wsasec_socket, void *)
    void wsasec_overlapped_cancel(wsasec_socket, void *)


def overlapped_begin(socket, settings, address):
    """Begin to secure a socket by an overlapped call.

    Args:
        socket: a socket, or its number.
        settings: a buffer with the structure, or None; its memory, and the OVERLAPPED, are to stay where they are
            until the call is completed.
        address: of the OVERLAPPED.

    Returns:
        Whether it is still to be completed; then `overlapped_end` is to be called.

    Raises:
        SecurityError: as `secure`.
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef void *overlapped = <void *><uintptr_t>address
    cdef Py_buffer view
    cdef wsasec_status status
    cdef int32_t code
    get_ready()
    if settings is None:
        with nogil:
            code = wsasec_set_socket_security(fd, NULL, 0, overlapped, NULL, &status)
    else:
        PyObject_GetBuffer(settings, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                code = wsasec_set_socket_security(fd, view.buf, <uint32_t>view.len, overlapped, NULL, &status)
        finally:
            PyBuffer_Release(&view)
    if code == -WSASEC_WSA_IO_PENDING:
        return True
    if code:
        raise failure(&status, fd)
    return False


def overlapped_end(socket, settings, address):
    """Tell what a call came to that was begun by `overlapped_begin` with the same arguments, and is completed.

    Raises:
        SecurityError: as `secure`.
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef void *overlapped = <void *><uintptr_t>address
    cdef Py_buffer view
    cdef wsasec_status status
    cdef int32_t code
    cdef int32_t error
    with nogil:
        error = wsasec_overlapped_error(fd, overlapped)
    if settings is None:
        code = wsasec_overlapped_done(fd, NULL, 0, error, &status)
    else:
        PyObject_GetBuffer(settings, &view, PyBUF_SIMPLE)
        code = wsasec_overlapped_done(fd, view.buf, <uint32_t>view.len, error, &status)
        PyBuffer_Release(&view)
    if code:
        raise failure(&status, fd)


def overlapped_cancel(socket, address):
    """Have a call completed soon, with an error; it is still to be waited for."""
    cdef wsasec_socket fd = descriptor(socket)
    cdef void *overlapped = <void *><uintptr_t>address
    with nogil:
        wsasec_overlapped_cancel(fd, overlapped)
