# SPDX-License-Identifier: Apache-2.0
# Many connects: run in slices, as jobs are.

cdef extern from "wsasec_connect.h" nogil:
    ctypedef struct wsasec_connector:
        pass

    ctypedef struct wsasec_connect_spec:
        const void *addresses
        size_t address_count
        uint32_t address_size
        uint32_t concurrency
        uint64_t timeout
        wsasec_histogram *latency
        wsasec_histogram *wait

    ctypedef struct wsasec_connect_counts:
        size_t done
        size_t connected
        size_t in_progress
        size_t waited
        uint64_t nanoseconds

    wsasec_connector *wsasec_connect_begin(const int32_t *, size_t, const wsasec_connect_spec *, int32_t *,
                                           wsasec_status *)
    int wsasec_connect_run(wsasec_connector *, uint64_t)
    void wsasec_connect_look(const wsasec_connector *, wsasec_connect_counts *)
    const wsasec_status *wsasec_connect_verdict(const wsasec_connector *, size_t, const char **)
    void wsasec_connect_end(wsasec_connector *)


# Longer than any run, and far from the end of 64 bits.
cdef double MOST_SECONDS = 1e9


cdef int run_connector(wsasec_connector *connector, size_t count, object progress, Descriptors batch) except -1:
    """Run it to its end; an exception (a signal's, or the callback's) leaves it where it is."""
    cdef wsasec_connect_counts counts
    cdef int finished = 0
    cdef double told = monotonic()
    while True:
        with nogil:
            finished = wsasec_connect_run(connector, SLICE)
        PyErr_CheckSignals()
        check_use(batch)
        if finished:
            return 0
        if progress is not None and monotonic() - told >= BETWEEN_REPORTS:
            wsasec_connect_look(connector, &counts)
            progress(counts.done, count)
            told = monotonic()


cdef object verdict_of(const wsasec_connector *connector, size_t address):
    cdef const char *detail = NULL
    cdef const wsasec_status *status = wsasec_connect_verdict(connector, address, &detail)
    return None if status is NULL else failure_with(status, None, detail.decode("utf-8", "replace"))


def connect_many(sockets, bytes addresses not None, size_t address_count, double timeout, uint32_t concurrency,
                 progress):
    """Connect the sockets of a buffer of C ints; `wsasec.connections` has the comfort.

    Args:
        sockets: a buffer of C ints, shape (n,), contiguous.
        addresses: address_count sockaddrs of one size, one behind the other.
        address_count: one or more.
        timeout: seconds for all of it.
        concurrency: at most so many in progress; 0 for the default.
        progress: None, or called as progress(done, n).

    Returns:
        (errnos, connected, waited, seconds, latency, wait, verdicts): an array('i') of n, two ints, a float, two
        Histograms, and a dict of the exceptions that the key daemon's verdicts are, by number of address.

    Raises:
        SecurityError: no descriptor left (WSAEMFILE), no memory, or wrong addresses (WSAEINVAL).
        ValueError: the batch that has the sockets was closed meanwhile.
    """
    cdef const int32_t[::1] fds = sockets
    cdef Py_ssize_t count = fds.shape[0]
    cdef int32_t[::1] errnos_view
    cdef wsasec_connect_spec spec
    cdef wsasec_connect_counts counts
    cdef wsasec_status status
    cdef wsasec_connector *connector
    cdef Descriptors batch
    cdef Histogram latency = Histogram()
    cdef Histogram wait = Histogram()
    cdef char *text
    cdef Py_ssize_t size
    cdef size_t i
    verdicts = {}
    errnos = array.array("i", bytes(4 * count))
    if not count:
        return errnos, 0, 0, 0.0, latency, wait, verdicts
    errnos_view = errnos
    PyBytes_AsStringAndSize(addresses, &text, &size)
    memset(&spec, 0, sizeof(spec))
    spec.addresses = text
    spec.address_count = address_count
    spec.address_size = <uint32_t>(<size_t>size // address_count) if address_count else 0
    spec.concurrency = concurrency
    spec.timeout = <uint64_t>(min(timeout, MOST_SECONDS) * 1e9)
    spec.latency = &latency.data
    spec.wait = &wait.data
    connector = wsasec_connect_begin(&fds[0], <size_t>count, &spec, &errnos_view[0], &status)
    if connector is NULL:
        raise failure(&status, None)
    batch = begin_use(sockets)
    try:
        run_connector(connector, <size_t>count, progress, batch)
        wsasec_connect_look(connector, &counts)
        if counts.connected < <size_t>count:
            for i in range(min(address_count, <size_t>count)):
                error = verdict_of(connector, i)
                if error is not None:
                    verdicts[i] = error
    finally:
        wsasec_connect_end(connector)
        end_use(batch)
    return errnos, counts.connected, counts.waited, counts.nanoseconds / 1e9, latency, wait, verdicts


# Its folder must not be searched for headers: src/linux has names of the system's.
cdef extern from * nogil:
    """
    #include "../src/load/question.h"
    """
    struct wsasec_question:
        pass

    enum:
        WSASEC_DETAIL_MAX

    wsasec_question *wsasec_question_begin(int32_t, const void *, size_t, uint64_t, wsasec_status *)
    int32_t wsasec_question_descriptor(const wsasec_question *)
    int wsasec_question_answer(wsasec_question *, wsasec_status *, char *)
    void wsasec_question_end(wsasec_question *)
    bint wsasec_question_is_open(const wsasec_status *)
    bint wsasec_question_has_daemon()
    bint wsasec_question_is_for(int32_t, int)
    bint wsasec_question_is_optional(int32_t)
    int wsasec_question_hold(int32_t, const void *, size_t)


@cython.final
cdef class Question:
    """The key daemon is asked to make keys for a socket and a peer, and to hold the socket's names against it."""

    cdef wsasec_question *question

    def __cinit__(self):
        self.question = NULL

    def __dealloc__(self):
        wsasec_question_end(self.question)

    def fileno(self):
        """What becomes readable when there is an answer; -1 when the question has ended."""
        return wsasec_question_descriptor(self.question) if self.question is not NULL else -1

    def close(self):
        """End it, answered or not; twice is no error."""
        wsasec_question_end(self.question)
        self.question = NULL

    def answer(self):
        """Hear the answer.

        Returns:
            None while there is none; then (error, is_final), and the question has ended. error: None for success, or a
            SecurityError; is_final: it is about the peer, and no other answer is to be expected.
        """
        cdef wsasec_status status
        cdef char detail[WSASEC_DETAIL_MAX]
        if self.question is NULL:
            raise ValueError("the question has ended")
        if not wsasec_question_answer(self.question, &status, detail):
            return None
        self.close()
        if not status.code:
            return None, True
        return failure_with(&status, None, (<const char *>detail).decode("utf-8", "replace")), not wsasec_question_is_open(&status)

    def __reduce__(self):
        raise TypeError("a question cannot be pickled: it is its process's own")


def question(socket, bytes peer not None, double seconds):
    """Ask the key daemon without waiting; None where there is nobody to ask.

    Args:
        socket: a secured socket.
        peer: a sockaddr.
        seconds: how long the answer may take.
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef Question made = Question.__new__(Question)
    made.question = wsasec_question_begin(<int32_t>fd, <const char *>peer, <size_t>len(peer),
                                          <uint64_t>(min(max(seconds, 0.0), MOST_SECONDS) * 1e9), &status)
    return made if made.question is not NULL else None


def has_key_daemon():
    """Tell whether a key daemon runs in the calling thread's network namespace."""
    return wsasec_question_has_daemon()


def is_gated(socket, int error):
    """Tell whether an error of connect() may be that of a secured socket whose names were not held against its peer."""
    cdef wsasec_socket fd = descriptor(socket)
    return wsasec_question_is_for(<int32_t>fd, error)


def may_be_clear(socket):
    """Tell whether the socket was secured so that it may go on in clear."""
    cdef wsasec_socket fd = descriptor(socket)
    return wsasec_question_is_optional(<int32_t>fd)


def hold(socket, bytes peer not None):
    """Have the names of a socket held against its next peer, too, after a connection that failed."""
    cdef wsasec_socket fd = descriptor(socket)
    cdef const char *data = peer
    cdef size_t size = <size_t>len(peer)
    with nogil:
        wsasec_question_hold(<int32_t>fd, data, size)
