# SPDX-License-Identifier: Apache-2.0
# accept() for secured listeners, and listeners that serve by themselves.

cdef extern from "wsasec_accept.h" nogil:
    ctypedef struct wsasec_acceptor:
        pass

    int32_t wsasec_accept(wsasec_socket, uint32_t, wsasec_socket *, void *, uint32_t *, wsasec_status *)
    wsasec_acceptor *wsasec_acceptor_new(wsasec_socket, wsasec_status *)
    int32_t wsasec_acceptor_protect(wsasec_acceptor *, wsasec_socket, wsasec_status *)
    void wsasec_acceptor_free(wsasec_acceptor *)


cdef extern from "wsasec_listener.h" nogil:
    ctypedef struct wsasec_listener:
        pass

    ctypedef struct wsasec_listener_spec:
        wsasec_socket socket
        uint32_t mode
        uint32_t flags
        uint32_t threads
        uint32_t read_size
        uint64_t discard_after

    ctypedef struct wsasec_listener_counts:
        uint64_t accepted
        uint64_t closed
        uint64_t resets
        uint64_t refused
        uint64_t accept_errors
        uint64_t received_bytes
        uint64_t sent_bytes
        uint64_t received_datagrams
        uint64_t sent_datagrams
        uint64_t unsent_datagrams
        uint64_t dropped_datagrams
        uint64_t receive_errors

    enum:
        WSASEC_LISTENER_SECURED
        WSASEC_LISTENER_NODELAY

    wsasec_listener *wsasec_listener_start(const wsasec_listener_spec *, wsasec_status *)
    void wsasec_listener_look(wsasec_listener *, wsasec_listener_counts *)
    int wsasec_listener_wait_accepted(wsasec_listener *, uint64_t, uint64_t)
    void wsasec_listener_stop(wsasec_listener *)
    void wsasec_listener_free(wsasec_listener *)


def accept_descriptor(socket):
    """Take a connection from a listener.

    Returns:
        (descriptor, sockaddr as bytes), or the errno of accept() as an int.

    Raises:
        SecurityError: the connection could not be protected, and was closed; or no socket, or one whose own
            securing has failed.
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
    if status.step == WSASEC_STEP_ACCEPT and status.os_error and status.reason != WSASEC_REASON_NOT_A_SOCKET:
        PyErr_CheckSignals()
        return status.os_error
    raise failure(&status, fd)


cdef class Acceptor:
    """What protects the connections of a listener that an event loop accepts; it does not keep the listener.

    Raises:
        SecurityError: no socket, or one whose own securing has failed.
    """

    cdef wsasec_acceptor *acceptor

    def __cinit__(self, listener):
        cdef wsasec_socket fd = descriptor(listener)
        cdef wsasec_status status
        get_ready()
        self.acceptor = wsasec_acceptor_new(fd, &status)
        if self.acceptor is NULL:
            raise failure(&status, fd)

    def __dealloc__(self):
        wsasec_acceptor_free(self.acceptor)

    def protect(self, socket):
        """Do for an accepted socket what `wsasec.accept` does; before anything is sent.

        Raises:
            SecurityError: it cannot be protected, and can send nothing any more: close it.
        """
        cdef wsasec_socket fd = descriptor(socket)
        cdef wsasec_status status
        if wsasec_acceptor_protect(self.acceptor, fd, &status):
            raise failure(&status, fd)

    def __reduce__(self):
        raise TypeError("an acceptor cannot be pickled: it is its process's own")


cdef class ListenerEngine:
    """The threads and connections of a listener; the base of `wsasec.Listener`, which has the comfort."""

    cdef wsasec_listener *listener

    def __dealloc__(self):
        with nogil:  # it waits for its threads
            wsasec_listener_free(self.listener)

    def _start(self, socket, unsigned mode, bint secured, bint nodelay, unsigned threads, unsigned read_size,
               uint64_t discard_after):
        """Start it on a socket, whose descriptor is its own then: the object is detached."""
        cdef wsasec_listener_spec spec
        cdef wsasec_status status
        if self.listener is not NULL:
            raise RuntimeError("it was started already")
        memset(&spec, 0, sizeof(spec))
        spec.socket = descriptor(socket)
        spec.mode = mode
        if secured:
            spec.flags |= <uint32_t>WSASEC_LISTENER_SECURED
        if nodelay:
            spec.flags |= <uint32_t>WSASEC_LISTENER_NODELAY
        spec.threads = threads
        spec.read_size = read_size
        spec.discard_after = discard_after
        if secured:
            get_ready()
        with nogil:
            self.listener = wsasec_listener_start(&spec, &status)
        if self.listener is NULL:
            raise failure(&status, spec.socket)
        socket.detach()  # here, where no signal's exception can come between the two

    def _counts(self):
        """Return the members of wsasec_listener_counts by name."""
        cdef wsasec_listener_counts counts
        if self.listener is NULL:
            raise RuntimeError("it was not started")
        with nogil:
            wsasec_listener_look(self.listener, &counts)
        return counts

    def _wait_accepted(self, uint64_t connections, double deadline):
        """Wait for connections until the deadline (of time.monotonic()); return whether there were as many."""
        cdef int enough
        cdef double left
        cdef uint64_t slice
        if self.listener is NULL:
            raise RuntimeError("it was not started")
        while True:
            left = deadline - monotonic()
            slice = SLICE if left * 1e9 > <double>SLICE else <uint64_t>(left * 1e9 if left > 0 else 0)
            with nogil:
                enough = wsasec_listener_wait_accepted(self.listener, connections, slice)
            PyErr_CheckSignals()
            if enough or left <= 0 or self._stopped():
                return bool(enough)

    def _stopped(self):
        return False

    def _stop(self):
        """End the threads and close all sockets."""
        if self.listener is not NULL:
            with nogil:
                wsasec_listener_stop(self.listener)

    def __reduce__(self):
        raise TypeError("a listener cannot be pickled: it is its process's own")
