# SPDX-License-Identifier: Apache-2.0
# Traffic: threads in C make it; Python waits in slices, so that signals are heard and progress is told.

cdef extern from "wsasec_traffic.h" nogil:
    ctypedef struct wsasec_traffic:
        pass

    ctypedef struct wsasec_traffic_spec:
        uint32_t kind
        uint32_t threads
        uint32_t message_bytes
        uint32_t reserved
        uint64_t warm_up
        uint64_t run
        uint64_t drain
        double rate

    ctypedef struct wsasec_traffic_counts:
        uint64_t elapsed
        uint64_t sent_bytes
        uint64_t received_bytes
        uint64_t sent_messages
        uint64_t received_messages
        uint64_t without_sa
        uint64_t stale
        uint32_t open
        uint32_t failed
        uint32_t phase

    ctypedef struct wsasec_traffic_result:
        uint64_t measured
        uint64_t bytes
        uint64_t messages
        uint64_t unanswered
        uint64_t unsent

    ctypedef struct wsasec_traffic_socket:
        uint64_t bytes
        uint64_t messages
        int32_t error
        uint32_t unclean

    wsasec_traffic *wsasec_traffic_start(const int32_t *, size_t, const wsasec_traffic_spec *, wsasec_status *)
    int wsasec_traffic_wait(wsasec_traffic *, uint64_t)
    void wsasec_traffic_look(const wsasec_traffic *, wsasec_traffic_counts *)
    void wsasec_traffic_results(const wsasec_traffic *, wsasec_traffic_result *, wsasec_traffic_socket *,
                                wsasec_histogram *)
    void wsasec_traffic_end(wsasec_traffic *)


cdef dict counts_of(const wsasec_traffic *traffic):
    cdef wsasec_traffic_counts counts
    wsasec_traffic_look(traffic, &counts)
    return {
        "phase": counts.phase,
        "seconds": counts.elapsed / 1e9,
        "sent_bytes": counts.sent_bytes,
        "received_bytes": counts.received_bytes,
        "sent_messages": counts.sent_messages,
        "received_messages": counts.received_messages,
        "without_sa": counts.without_sa,
        "stale": counts.stale,
        "open": counts.open,
        "failed": counts.failed,
    }


cdef int await_traffic(wsasec_traffic *traffic, object progress, Descriptors batch) except -1:
    cdef int over = 0
    cdef double told = monotonic()
    while True:
        with nogil:
            over = wsasec_traffic_wait(traffic, SLICE)
        PyErr_CheckSignals()
        check_use(batch)
        if over < 0:
            raise RuntimeError("the process was forked while traffic ran: its threads are the parent's")
        if over:
            return 0
        if progress is not None and monotonic() - told >= BETWEEN_REPORTS:
            progress(counts_of(traffic))
            told = monotonic()


cdef dict traffic_results(const wsasec_traffic *traffic, Py_ssize_t count):
    cdef wsasec_traffic_result result
    cdef Histogram latency = Histogram()
    cdef uint64_t[::1] bytes_view
    cdef uint64_t[::1] messages_view
    cdef int32_t[::1] errors_view
    cdef Py_ssize_t i
    cdef wsasec_traffic_socket *sockets = <wsasec_traffic_socket *>malloc(
        <size_t>count * sizeof(wsasec_traffic_socket))
    if sockets is NULL:
        raise MemoryError()
    try:
        wsasec_traffic_results(traffic, &result, sockets, &latency.data)
        moved = array.array("Q", bytes(8 * count))
        messages = array.array("Q", bytes(8 * count))
        errors = array.array("i", bytes(4 * count))
        bytes_view = moved
        messages_view = messages
        errors_view = errors
        for i in range(count):
            bytes_view[i] = sockets[i].bytes
            messages_view[i] = sockets[i].messages
            errors_view[i] = sockets[i].error
        unclean = tuple([i for i in range(count) if sockets[i].unclean])
    finally:
        free(sockets)
    return {
        "seconds": result.measured / 1e9,
        "bytes": result.bytes,
        "messages": result.messages,
        "unanswered": result.unanswered,
        "unsent": result.unsent,
        "bytes_by_socket": moved,
        "messages_by_socket": messages,
        "errors": errors,
        "unclean": unclean,
        "latency": latency,
    }


def run_traffic(sockets, unsigned kind, *, unsigned threads, unsigned message_bytes, uint64_t warm_up, uint64_t run,
                uint64_t drain, double rate, progress):
    """Make traffic over connected sockets; see `wsasec.traffic`, which has the comfort.

    Args:
        sockets: a buffer of C ints, or an iterable of what `secure` takes.
        kind: 1 streams, 2 requests, 3 datagrams.
        threads: in C; never more than there are sockets.
        message_bytes: of a call of send(), a request, a datagram.
        warm_up: nanoseconds, as are run and drain.
        run: what is measured.
        drain: what is waited at most for responses or echoes.
        rate: a second, of all together; 0 for no limit.
        progress: None, or called with a dict of counts at most 10 times a second.

    Returns:
        Two dicts: the counts at the end, and the results.

    Raises:
        SecurityError: a value is out of range, or the system has no room for threads.
        ValueError: no sockets; the batch that has them was closed meanwhile.
    """
    cdef const int32_t[::1] fds
    cdef wsasec_traffic_spec spec
    cdef wsasec_status status
    cdef wsasec_traffic *traffic
    cdef Descriptors batch
    fds, kept = numbers_of(sockets)
    if fds.shape[0] == 0:
        raise ValueError("no sockets")
    memset(&spec, 0, sizeof(spec))
    spec.kind = kind
    spec.threads = threads
    spec.message_bytes = message_bytes
    spec.warm_up = warm_up
    spec.run = run
    spec.drain = drain
    spec.rate = rate
    batch = begin_use(kept)
    try:
        with nogil:
            traffic = wsasec_traffic_start(&fds[0], <size_t>fds.shape[0], &spec, &status)
        if traffic is NULL:
            raise failure(&status, None)
        try:
            await_traffic(traffic, progress, batch)
            return counts_of(traffic), traffic_results(traffic, fds.shape[0])
        finally:
            with nogil:
                wsasec_traffic_end(traffic)
    finally:
        end_use(batch)
