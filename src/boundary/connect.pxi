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
        (errnos, connected, waited, seconds, latency, wait): an array('i') of n, two ints, a float, and two
        Histograms.

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
    errnos = array.array("i", bytes(4 * count))
    if not count:
        return errnos, 0, 0, 0.0, latency, wait
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
    finally:
        wsasec_connect_end(connector)
        end_use(batch)
    return errnos, counts.connected, counts.waited, counts.nanoseconds / 1e9, latency, wait
