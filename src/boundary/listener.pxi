# SPDX-License-Identifier: Apache-2.0
# accept() for secured listeners, and listeners that serve by themselves.

cdef extern from "wsasec_accept.h" nogil:
    enum:
        WSASEC_ACCEPT_NONBLOCKING

    int32_t wsasec_accept(wsasec_socket, uint32_t, wsasec_socket *, void *, uint32_t *, wsasec_status *)


def accept_descriptor(socket):
    """Take a connection from a listener.

    Returns:
        (descriptor, sockaddr as bytes), or the errno of accept() as an int.

    Raises:
        SecurityError: the connection could not be protected, and was closed; or no socket.
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_socket accepted = -1
    cdef wsasec_status status
    cdef char address[128]
    cdef uint32_t length = sizeof(address)
    cdef int32_t code
    get_ready()
    with nogil:
        code = wsasec_accept(fd, 0, &accepted, address, &length, &status)
    if not code:
        return accepted, address[:length]
    if status.step == WSASEC_STEP_ACCEPT and status.os_error:
        PyErr_CheckSignals()
        return status.os_error
    raise failure(&status, fd)
