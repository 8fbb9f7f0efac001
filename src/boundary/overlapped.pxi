# SPDX-License-Identifier: Apache-2.0
# Overlapped calls of event loops, which have the OVERLAPPED and wait for it.

cdef extern from "wsasec.h" nogil:
    int32_t wsasec_overlapped_done(wsasec_socket, const void *, uint32_t, int32_t, wsasec_status *)
    int32_t wsasec_overlapped_error(wsasec_socket, void *)
    void wsasec_overlapped_cancel(wsasec_socket, void *)


@cython.final
cdef class OverlappedSettings:
    """Settings in memory that stays where it is as long as the object; overwritten then, where there are strings."""

    cdef object settings
    cdef Given given

    def __cinit__(self, settings):
        begin_settings(settings, &self.given)
        self.settings = settings

    def __dealloc__(self):
        end_settings(&self.given)

    def __reduce__(self):
        raise TypeError("they stay where they are: make them again from the settings")


def overlapped_begin(socket, OverlappedSettings settings not None, address, dict kept not None, entry):
    """Begin to secure a socket by an overlapped call.

    Args:
        socket: a socket, or its number.
        settings: they, and the OVERLAPPED, are to stay until the call is completed.
        address: of the OVERLAPPED.
        kept: where the entry is put, by the address, for the caller to take out when the call is completed; unless
            this raises. Here, as no Ctrl-C comes between that and the call.
        entry: has the settings and the OVERLAPPED.

    Returns:
        Whether it is still to be completed; then `overlapped_end` is to be called.

    Raises:
        SecurityError: as `secure`.
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef void *overlapped
    cdef wsasec_status status
    cdef int32_t code
    address_of("address", address, &overlapped)
    get_ready()
    kept[address] = entry
    with nogil:
        code = wsasec_set_socket_security(fd, settings.given.data, settings.given.length, overlapped, NULL, &status)
    if code == -WSASEC_WSA_IO_PENDING:
        return True
    if code:
        del kept[address]
        raise failure(&status, fd)
    return False


def overlapped_end(socket, OverlappedSettings settings not None, address):
    """Tell what a call came to that was begun by `overlapped_begin` with the same arguments, and is completed.

    Raises:
        SecurityError: as `secure`.
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef void *overlapped
    cdef wsasec_status status
    address_of("address", address, &overlapped)
    if wsasec_overlapped_done(fd, settings.given.data, settings.given.length, wsasec_overlapped_error(fd, overlapped),
                              &status):
        raise failure(&status, fd)


def overlapped_cancel(socket, address):
    """Have a call completed soon, with an error; it is still to be waited for."""
    cdef wsasec_socket fd = descriptor(socket)
    cdef void *overlapped
    address_of("address", address, &overlapped)
    wsasec_overlapped_cancel(fd, overlapped)
