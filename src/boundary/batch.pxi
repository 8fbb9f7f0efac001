# SPDX-License-Identifier: Apache-2.0
# Many sockets: jobs run in slices, so that signals are looked at and progress is told.

cdef extern from "wsasec_batch.h" nogil:
    ctypedef struct wsasec_job:
        pass

    ctypedef struct wsasec_batch_spec:
        int32_t address_family
        int32_t type
        uint32_t flags
        int32_t send_buffer
        int32_t receive_buffer
        uint32_t settings_len
        const void *settings
        const void *sources
        size_t source_count
        uint32_t source_size
        uint32_t reserved

    enum:
        WSASEC_BATCH_PLAIN
        WSASEC_BATCH_NODELAY
        WSASEC_THREADS_MAX

    int32_t wsasec_method_status(unsigned, wsasec_status *)
    uint32_t wsasec_method_cost(unsigned, unsigned)
    wsasec_job *wsasec_job_secure(const int32_t *, size_t, const void *, uint32_t, int32_t *, unsigned, unsigned,
                                  wsasec_status *)
    wsasec_job *wsasec_job_create(int32_t *, size_t, const wsasec_batch_spec *, int32_t *, int, unsigned, unsigned,
                                  wsasec_status *)
    int wsasec_job_run(wsasec_job *, uint64_t)
    void wsasec_job_time_out(wsasec_job *)
    size_t wsasec_job_done(const wsasec_job *)
    size_t wsasec_job_made(const wsasec_job *)
    size_t wsasec_job_end(wsasec_job *, wsasec_status *)
    void wsasec_close_many(int32_t *, size_t)


METHODS = {"auto": 0, "plain": 1, "io_uring": 2, "threads": 3, "overlapped": 4}
"""How the system calls for many sockets are made; see `secure_many`."""

cdef dict KINDS = {"secure": 0, "create": 1}


def method_costs():
    """What the methods were measured to cost in this process; "auto" takes the cheapest.

    The first large call (1,000 sockets or more) with the method "auto" measures them on its own sockets; a
    much larger one does it again.

    Returns:
        Microseconds a socket by kind of call and method: {"secure": {"plain": 5.2, "io_uring": 4.4, ...},
        "create": {...}}. "secure" is `secure_many`, "create" is `SocketBatch`. What was not measured is not
        there.
    """
    return {
        kind: {
            name: wsasec_method_cost(number, method) / 1000
            for name, method in METHODS.items()
            if wsasec_method_cost(number, method)
        }
        for kind, number in KINDS.items()
    }


def method_failure(method):
    """Tell why a method is not to be had here: the SecurityError that its use would raise, or None.

    Raises:
        ValueError: no key of METHODS.
    """
    cdef wsasec_status status
    cdef unsigned number = method_number(method)
    cdef int32_t code
    with nogil:
        code = wsasec_method_status(number, &status)
    return failure(&status, None) if code else None


# Ctrl-C is heard within 100 ms, and progress told at most so often.
cdef uint64_t SLICE = 50_000_000
cdef double BETWEEN_REPORTS = 0.1


cdef unsigned method_number(object method) except? 0:
    try:
        return METHODS[method]
    except (KeyError, TypeError):
        raise ValueError(f"method is one of {', '.join(METHODS)}, not {method!r}") from None


cdef unsigned thread_number(object threads) except? 0:
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"threads is an int, not {type(threads).__name__}")
    if not 0 <= threads <= WSASEC_THREADS_MAX:
        raise ValueError(f"threads is from 0 to {WSASEC_THREADS_MAX}, not {threads}")
    return threads


cdef int run_job(wsasec_job *job, size_t count, object progress, Descriptors batch, double deadline) except -1:
    """Run a job to its end; an exception (a signal's, or the callback's) leaves it where it is.

    batch: what begin_use() returned for the sockets; deadline: of monotonic(), or infinite.
    """
    cdef int finished = 0
    cdef double told = monotonic()
    while True:
        with nogil:
            finished = wsasec_job_run(job, SLICE)
        PyErr_CheckSignals()
        check_use(batch)
        if finished:
            return 0
        if deadline <= monotonic():
            with nogil:
                wsasec_job_time_out(job)
            return 0
        if progress is not None and monotonic() - told >= BETWEEN_REPORTS:
            progress(wsasec_job_done(job), count)
            told = monotonic()


cdef const char *INT_FORMAT = b"i"


# Its reference to the owner is part of no cycle that cannot be broken elsewhere; and a view that the garbage collector
# had cleared would look like an owner.
@cython.no_gc_clear
cdef class Descriptors:
    """Sockets made in one C call; a read-only buffer of C ints, shape (n,), -1 where there is none.

    The base of `wsasec.SocketBatch`, which has the comfort.
    """

    cdef int32_t *numbers
    cdef Py_ssize_t count
    cdef Py_ssize_t shape
    cdef bint given_away
    cdef Py_ssize_t users
    """Calls that use the sockets without the GIL."""
    cdef bint to_be_closed
    """When the last of them has ended."""
    cdef readonly Descriptors owner
    """The batch of which this is a view; None for the owner of the sockets."""

    def __dealloc__(self):
        if self.owner is None and self.numbers is not NULL:
            wsasec_close_many(self.numbers, <size_t>self.count)
            free(self.numbers)

    def _create(self, Py_ssize_t count, int family, int kind, settings, sources, unsigned flags,
                int send_buffer, int receive_buffer, bint stop, method, threads, progress):
        """Make the sockets. sources: None, or (sockaddrs as bytes, their number).

        Returns:
            (codes, error, made): array('i') of Winsock codes, the exception of the first failure or None, and
            how many sockets were made, also if they were closed again because of it.
        """
        cdef wsasec_batch_spec spec
        cdef wsasec_status first
        cdef wsasec_job *job
        cdef const int32_t[::1] view
        cdef int32_t[::1] codes_view
        cdef int32_t *codes_data = NULL
        cdef Given given
        cdef size_t failed
        cdef Py_ssize_t i
        cdef char *text
        cdef Py_ssize_t size
        cdef unsigned number = method_number(method)
        cdef unsigned lanes = thread_number(threads)
        if self.numbers is not NULL:
            raise RuntimeError("the sockets are made already")
        if count < 0 or count > 0x7FFFFFFF:
            raise ValueError(f"{count} sockets: not from 0 to 2**31-1")
        memset(&spec, 0, sizeof(spec))
        spec.address_family = family
        spec.type = kind
        spec.flags = flags
        spec.send_buffer = send_buffer
        spec.receive_buffer = receive_buffer
        if sources is not None:
            packed = sources[0]
            PyBytes_AsStringAndSize(packed, &text, &size)
            spec.sources = text
            spec.source_count = sources[1]
            spec.source_size = <uint32_t>(size // <Py_ssize_t>spec.source_count)
        self.numbers = <int32_t *>malloc(<size_t>(count if count else 1) * sizeof(int32_t))
        if self.numbers is NULL:
            raise MemoryError()
        memset(self.numbers, 0xFF, <size_t>count * sizeof(int32_t))
        self.count = self.shape = count
        codes = array.array("i", bytes(4 * count))
        if count:
            codes_view = codes
            codes_data = &codes_view[0]
        if not flags & WSASEC_BATCH_PLAIN:
            get_ready()
        memset(&first, 0, sizeof(first))
        begin_settings(settings, &given)
        try:
            spec.settings = given.data
            spec.settings_len = given.length
            job = wsasec_job_create(self.numbers, <size_t>count, &spec, codes_data, stop, number, lanes, &first)
            if job is NULL:
                raise failure(&first, None)
            try:
                run_job(job, <size_t>count, progress, None, INFINITY)
            except BaseException:
                wsasec_job_end(job, NULL)
                self._close()
                raise
            made = wsasec_job_made(job)
            failed = wsasec_job_end(job, &first)
        finally:
            end_settings(&given)
        if not failed:
            return codes, None, made
        for i in range(count):
            codes_data[i] = -codes_data[i]
        return codes, failure(&first, None), made

    def _view(self, Py_ssize_t start, Py_ssize_t stop, Descriptors owner not None):
        """Become a view of a part of another."""
        if self.numbers is not NULL or not 0 <= start <= stop <= owner.count:
            raise ValueError("not a part")
        self.owner = owner if owner.owner is None else owner.owner
        self.numbers = owner.numbers + start
        self.count = self.shape = stop - start

    def _take(self):
        """Give all descriptors away, as an array('i'); they are -1 here from now on.

        Raises:
            ValueError: they are closed, or given away already, or in use by a call.
        """
        cdef Py_ssize_t i
        if self.given_away:
            raise ValueError("the batch is closed")
        if self.users:
            raise ValueError("the sockets are in use by a call that has not ended")
        taken = array.array("i", (<char *>self.numbers)[:4 * self.count] if self.count else b"")
        self.given_away = True
        for i in range(self.count):
            self.numbers[i] = -1
        return taken

    def _close(self):
        """Close the sockets; descriptors in a row by one system call.

        A call that uses them is ended first, within about 50 ms: their numbers may be those of other sockets
        as soon as they are closed.
        """
        if self.numbers is NULL or self.given_away:
            return
        self.given_away = True  # another thread, which may run now, must not close them again
        if self.users:
            self.to_be_closed = True
            return
        with nogil:
            wsasec_close_many(self.numbers, <size_t>self.count)

    def __len__(self):
        return self.count

    def __reduce__(self):
        raise TypeError("sockets cannot be pickled: send their descriptors with socket.send_fds()")

    def _number(self, Py_ssize_t index):
        if index < 0:
            index += self.count
        if not 0 <= index < self.count:
            raise IndexError("index out of range")
        return self.numbers[index]

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("the descriptors cannot be written to")
        if self.numbers is NULL:
            raise BufferError("there are no sockets yet")
        buffer.buf = self.numbers
        buffer.obj = self
        buffer.len = self.count * <Py_ssize_t>sizeof(int32_t)
        buffer.itemsize = sizeof(int32_t)
        buffer.readonly = 1
        buffer.ndim = 1
        buffer.format = <char *>INT_FORMAT if flags & PyBUF_FORMAT else NULL
        buffer.shape = &self.shape
        buffer.strides = &buffer.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL

    def __releasebuffer__(self, Py_buffer *buffer):
        pass


cdef Descriptors begin_use(object sockets):
    """Keep the sockets of a batch, or of a view of one, open during a call; return the batch, None for what is none."""
    cdef Descriptors batch
    if isinstance(sockets, memoryview):
        sockets = sockets.obj
    if not isinstance(sockets, Descriptors):
        return None
    batch = sockets
    if batch.owner is not None:
        batch = batch.owner
    batch.users += 1
    return batch


cdef int check_use(Descriptors batch) except -1:
    """Find out that the batch was closed meanwhile, by another thread or a callback."""
    if batch is not None and batch.to_be_closed:
        raise ValueError("the batch was closed")
    return 0


cdef int end_use(Descriptors batch) except -1:
    """Take back begin_use(), and close what was to be closed meanwhile."""
    if batch is None:
        return 0
    batch.users -= 1
    if batch.to_be_closed and not batch.users:
        batch.to_be_closed = False
        with nogil:
            wsasec_close_many(batch.numbers, <size_t>batch.count)
    return 0


cdef object codes_of(const int32_t[::1] fds, const Given *given, unsigned method, unsigned threads, object progress,
                     Descriptors batch, double deadline, wsasec_status *first, size_t *failed):
    """Secure them all; the codes are Winsock's, positive."""
    cdef Py_ssize_t count = fds.shape[0]
    cdef Py_ssize_t i
    cdef int32_t[::1] view
    cdef wsasec_job *job
    codes = array.array("i", bytes(4 * count))
    memset(first, 0, sizeof(wsasec_status))
    failed[0] = 0
    if count == 0:
        return codes
    view = codes
    job = wsasec_job_secure(&fds[0], <size_t>count, given.data, given.length, &view[0], method, threads, first)
    if job is NULL:
        raise failure(first, None)
    try:
        run_job(job, <size_t>count, progress, batch, deadline)
    finally:
        failed[0] = wsasec_job_end(job, first)
    if failed[0]:
        for i in range(count):
            view[i] = -view[i]
    return codes


cdef tuple numbers_of(object sockets):
    """Return a buffer of C ints, the one that was given or one made of sockets, and what keeps those open."""
    if isinstance(sockets, (str, bytes, bytearray)):
        raise TypeError(f"sockets, or a buffer of C ints, are wanted, not {type(sockets).__name__}")
    try:
        view = memoryview(sockets)
    except TypeError:
        sockets = list(sockets)
        return descriptors(sockets), sockets
    if view.format != "i" or view.ndim != 1 or not view.c_contiguous:
        raise TypeError("a buffer of sockets is one contiguous row of C ints (format 'i')")
    return view, sockets


def secure_many(sockets, settings=None, *, errors="raise", method="auto", threads=0, progress=None, timeout=None):
    """Secure many sockets in one C loop without the GIL; every one is tried.

    Args:
        sockets: a buffer of C ints (``array('i')``, a memoryview of it, ...), shape (n,), contiguous; or
            an iterable of what `secure` takes.
        settings: as for `secure`, the same for all.
        errors: "raise" or "return".
        method: how the system calls are made: "plain" (one after the other), "io_uring" (many at a time;
            Linux 6.7), "threads" (several threads share the sockets), "overlapped" (Windows: up to 256 calls
            under way at a time, through a completion port), or "auto": what was measured to be fastest in
            this process (`method_costs`), plain until something was and for less than 512 sockets. The
            result is the same.
        threads: how many, for the methods "threads" and "auto"; 0 for one a processor.
        progress: called as progress(done, total) while the call lasts, at most 10 times a second. What it
            raises ends the call, as Ctrl-C does (within 100 ms); the sockets that were done stay secured.
            Overlapped calls are cancelled then.
        timeout: seconds, or None for no end. What is not done by then fails with WSAETIMEDOUT; a call that
            has begun is cancelled where it is overlapped, and else is waited for.

    Returns:
        None; with ``errors="return"`` an ``array('i')`` of n Winsock codes by index, 0 for success.

    Raises:
        BatchError: some failed, and errors is "raise"; its ``codes`` is that array.
        SecurityError: the method is not to be had here, and why; ``winsock`` is WSAEOPNOTSUPP, or WSAENOBUFS or
            WSAEMFILE where it lacks memory or a descriptor.
        TypeError, ValueError: as `secure`, before any socket is touched.
        ValueError: the batch that has the sockets was closed meanwhile.
    """
    cdef const int32_t[::1] fds
    cdef Descriptors batch
    cdef wsasec_status first
    cdef Given given
    cdef size_t failed
    cdef unsigned number = method_number(method)
    cdef unsigned lanes = thread_number(threads)
    cdef double deadline = INFINITY
    if timeout is not None:
        from wsasec.sockets import check_timeout

        deadline = check_timeout(timeout)
    if errors not in ("raise", "return"):
        raise ValueError(f"errors is 'raise' or 'return', not {errors!r}")
    begin_settings(settings, &given)
    try:
        fds, kept = numbers_of(sockets)
        get_ready()
        batch = begin_use(kept)
        try:
            codes = codes_of(fds, &given, number, lanes, progress, batch, deadline, &first, &failed)
        finally:
            end_use(batch)
    finally:
        end_settings(&given)
    if errors == "return":
        return codes
    if failed:
        first_index = next(i for i, code in enumerate(codes) if code)
        raise BatchError(failure(&first, fds[<Py_ssize_t>first_index]), codes, first_index)
    return None
