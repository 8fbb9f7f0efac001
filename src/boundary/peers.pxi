# SPDX-License-Identifier: Apache-2.0
# Who the peer is: the other five functions, tokens, and the thread that acts as the peer.

cdef extern from "wsasec.h" nogil:
    enum:
        WSASEC_STEP_REVERT
        WSASEC_WSAEFAULT
        WSASEC_WSAEMSGSIZE

    int32_t wsasec_query_socket_security(wsasec_socket, const void *, uint32_t, void *, uint32_t *, void *, void *,
                                         wsasec_status *)
    int32_t wsasec_set_socket_peer_target_name(wsasec_socket, const void *, uint32_t, void *, void *, wsasec_status *)
    int32_t wsasec_delete_socket_peer_target_name(wsasec_socket, const void *, uint32_t, void *, void *,
                                                  wsasec_status *)
    int32_t wsasec_impersonate_socket_peer(wsasec_socket, const void *, uint32_t, wsasec_status *)
    int32_t wsasec_revert_impersonation(wsasec_status *)
    int32_t wsasec_close_token(uint64_t)

    ctypedef struct wsasec_socket_association:
        uint32_t flags
        uint32_t protocol
        uint64_t mm_sa_id, qm_sa_id
        uint64_t bytes_in, bytes_out, packets_in, packets_out
        uint64_t age
        uint64_t rekey_in
        uint32_t spi_in, spi_out
        uint32_t encryption_bits
        uint32_t integrity_bits
        uint32_t esn
        char encryption[64]
        char integrity[64]
        char identity[1024]
        char own[1024]
        char profile[64]
        uint32_t certificate_len
        uint8_t certificate[8188]

    int32_t wsasec_negotiate(wsasec_socket, const void *, uint32_t, uint64_t, wsasec_status *)
    int32_t wsasec_association_of(wsasec_socket, const void *, uint32_t, wsasec_socket_association *, wsasec_status *)


cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil


@cython.final
cdef class Token:
    """A token of Windows: who the peer is, for access checks. It owns the handle, and closes it exactly once.

    Use it in a `with` block, or close it; one that is forgotten is closed when it is collected. It can be neither
    copied nor pickled.

    Args:
        handle: a HANDLE, which the object owns from now on.

    Raises:
        TypeError: the handle is no int.
        ValueError: it is 0, negative, or has more than 64 bits.
    """

    cdef uint64_t number

    def __init__(self, handle):
        if isinstance(handle, bool) or not isinstance(handle, int):
            raise TypeError(f"a handle is an int, not {type(handle).__name__}")
        if not 0 < handle <= 0xFFFFFFFFFFFFFFFF:
            raise ValueError(f"{handle} is no handle")
        if self.number:
            raise RuntimeError("it has a handle already")
        self.number = handle

    def __dealloc__(self):
        if self.number:
            wsasec_close_token(self.number)

    @property
    def handle(self):
        """The HANDLE, an int; it stays the object's own.

        Raises:
            ValueError: the token is closed, or was detached.
        """
        if not self.number:
            raise ValueError("the token is closed")
        return self.number

    @property
    def closed(self):
        """Whether it was closed, or detached."""
        return not self.number

    def detach(self):
        """Give the handle to the caller, who closes it (CloseHandle); the token is closed then.

        Raises:
            ValueError: the token is closed, or was detached.
        """
        handle = self.handle
        self.number = 0
        return handle

    def close(self):
        """Close the handle; twice is no error.

        Raises:
            SecurityError: the system refuses, as somebody else has closed the handle; ``winsock`` is its code.
        """
        cdef uint64_t number = self.number
        cdef int32_t code
        self.number = 0  # another thread, which may run now, must not close it again
        with nogil:
            code = wsasec_close_token(number)
        if code:
            raise SecurityError("the token cannot be closed", winsock=-code, step="CloseHandle",
                                hint="its handle was closed elsewhere; leave that to the token, or detach() it")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __reduce__(self):
        raise TypeError("a token can be neither copied nor pickled: it owns its handle")

    def __repr__(self):
        return f"<Token {self.number:#x}>" if self.number else "<Token, closed>"


# An answer larger than that is none.
cdef uint32_t LARGEST_ANSWER = 1 << 16


def query_security(socket, bytes template not None, uint32_t room):
    """WSAQuerySocketSecurity with room for so many bytes first (at least 24), and for more where the system says so.

    Returns:
        (answer, length, application token, machine token): the bytes, zeros behind what was written, and how many
        of them were; the tokens are None where there are none.
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef const char *data = template
    cdef uint32_t size = <uint32_t>len(template)
    cdef uint32_t length
    cdef uint8_t *info
    cdef int32_t code
    # Made first: what the system has answered must not get lost.
    cdef Token application = Token.__new__(Token)
    cdef Token machine = Token.__new__(Token)
    while True:
        info = <uint8_t *>malloc(room)
        if info is NULL:
            raise MemoryError()
        memset(info, 0, room)
        length = room
        with nogil:
            code = wsasec_query_socket_security(fd, data, size, info, &length, NULL, NULL, &status)
        if not code:
            break
        free(info)
        # The documentation has the one, its example the other.
        if -code not in (WSASEC_WSAEMSGSIZE, WSASEC_WSAEFAULT) or not room < length <= LARGEST_ANSWER:
            raise failure(&status, fd)
        room = length
    memcpy(&application.number, info + 8, 8)
    memcpy(&machine.number, info + 16, 8)
    try:
        answer = (<char *>info)[:room]
    finally:
        free(info)
    return answer, length, application if application.number else None, machine if machine.number else None


cdef object text_or_none(const char *text):
    return text.decode("utf-8", "replace") if text[0] else None


def association_of(socket, bytes peer):
    """What protects a connection, as the key daemon or the kernel knows it.

    Args:
        peer: a sockaddr, or None or zeros for that which the socket is connected to.

    Returns:
        (flags, main-mode id, quick-mode id, own identity, peer's identity, profile, certificate, what
        `wsasec.peers.Association` is made of).
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef wsasec_socket_association found
    cdef const char *data = NULL
    cdef uint32_t size = 0
    cdef int32_t code
    if peer is not None:
        data = peer
        size = <uint32_t>len(peer)
    with nogil:
        code = wsasec_association_of(fd, data, size, &found, &status)
    if code:
        raise failure(&status, fd)
    return (
        found.flags,
        found.mm_sa_id,
        found.qm_sa_id,
        text_or_none(found.own),
        text_or_none(found.identity),
        text_or_none(found.profile),
        (<const char *>found.certificate)[:found.certificate_len] if found.certificate_len else None,
        (
            found.protocol, found.spi_in, found.spi_out, text_or_none(found.encryption), found.encryption_bits,
            text_or_none(found.integrity), found.integrity_bits, bool(found.esn), found.bytes_in, found.bytes_out,
            found.packets_in, found.packets_out, found.age, found.rekey_in or None,
        ),
    )


def negotiate(socket, bytes peer, uint64_t nanoseconds):
    """Have keys made for a peer; see association_of()."""
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef const char *data = NULL
    cdef uint32_t size = 0
    cdef int32_t code
    if peer is not None:
        data = peer
        size = <uint32_t>len(peer)
    with nogil:
        code = wsasec_negotiate(fd, data, size, nanoseconds, &status)
    if code:
        raise failure(&status, fd)


def set_peer_name(socket, bytes name not None):
    """WSASetSocketPeerTargetName, with the structure."""
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef const char *data = name
    cdef uint32_t size = <uint32_t>len(name)
    cdef int32_t code
    with nogil:
        code = wsasec_set_socket_peer_target_name(fd, data, size, NULL, NULL, &status)
    if code:
        raise failure(&status, fd)


def delete_peer_name(socket, bytes peer not None):
    """WSADeleteSocketPeerTargetName, with a sockaddr."""
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef const char *data = peer
    cdef uint32_t size = <uint32_t>len(peer)
    cdef int32_t code
    with nogil:
        code = wsasec_delete_socket_peer_target_name(fd, data, size, NULL, NULL, &status)
    if code:
        raise failure(&status, fd)


# Which entry it is by which the thread acts as a peer, or may do so still; 0 for none.
cdef object thread_state = threading.local()
cdef uint64_t entries = 0


cdef object still_the_peer(wsasec_status *status):
    error = failure(status, None)
    return ImpersonationError(
        f"the thread could not go back to its own identity, and still acts as the peer: {error.strerror}",
        winsock=error.winsock,
        errno=error.errno,
        hint="let this thread do nothing more: end the process",
        step=error.step,
    )


cdef class Impersonation:
    """What `wsasec.impersonate` returns.

    It has no Python code between the system's call and the end of entering or leaving: so there is no point at which
    Ctrl-C could leave the thread with an identity that nobody takes back.
    """

    cdef object socket
    cdef object peer
    cdef unsigned long thread
    cdef uint64_t entry  # 0: not entered

    def __cinit__(self, socket, peer):
        """peer: a sockaddr as bytes, or None."""
        if peer is not None and not isinstance(peer, bytes):
            raise TypeError(f"peer is bytes or None, not {type(peer).__name__}")
        self.socket = socket
        self.peer = peer

    def __dealloc__(self):
        cdef wsasec_status status
        if not self.entry:
            return
        if self.thread != PyThread_get_thread_ident():
            raise RuntimeError("a thread acts as the peer, and nothing is left that could end that")
        if getattr(thread_state, "entry", 0) != self.entry:
            return  # it was ended by hand; by now the thread may act as another peer, for another block
        if wsasec_revert_impersonation(&status):
            raise still_the_peer(&status)
        thread_state.entry = 0

    def __enter__(self):
        cdef wsasec_socket fd
        cdef wsasec_status status
        cdef char *data = NULL
        cdef Py_ssize_t size = 0
        cdef int32_t code
        global entries
        from wsasec.peers import check_caller

        check_caller(sys._getframe())
        fd = descriptor(self.socket)
        if self.peer is not None:
            PyBytes_AsStringAndSize(self.peer, &data, &size)
        if self.entry or getattr(thread_state, "entry", 0):
            raise RuntimeError("this thread acts as a peer already: leave that `with` block first")
        # Before other threads may run: one that enters the same object must be refused, or one of both is never left.
        entries += 1
        self.entry = entries
        self.thread = PyThread_get_thread_ident()
        thread_state.entry = self.entry
        with nogil:
            code = wsasec_impersonate_socket_peer(fd, data, <uint32_t>size, &status)
        if code and status.step == WSASEC_STEP_REVERT:
            raise still_the_peer(&status)  # neither the peer nor itself; no other can be entered
        if code:
            self.entry = 0
            thread_state.entry = 0
            raise failure(&status, fd)
        return self

    def __exit__(self, *_):
        cdef wsasec_status status
        cdef int32_t code
        if not self.entry:
            raise RuntimeError("it was not entered")
        if self.thread != PyThread_get_thread_ident():
            raise RuntimeError(
                "an impersonation is left in the thread that entered it, which this is not: that one still acts as the peer"
            )
        with nogil:
            code = wsasec_revert_impersonation(&status)
        if code:
            raise still_the_peer(&status)
        self.entry = 0
        thread_state.entry = 0

    def __reduce__(self):
        raise TypeError("an impersonation can be neither copied nor pickled: it is its thread's own")


def revert_impersonation():
    """Give the calling thread its own identity back: WSARevertImpersonation (ws2tcpip.h).

    `wsasec.impersonate` does it by itself; this is for threads that `WSAImpersonateSocketPeer` was called in.

    Raises:
        ImpersonationError: the system refuses, and the thread still acts as the peer.
        SecurityError: ``winsock`` is WSAEOPNOTSUPP: no thread can act as a peer here (no fwpuclnt.dll).
    """
    cdef wsasec_status status
    cdef int32_t code
    with nogil:
        code = wsasec_revert_impersonation(&status)
    if code:
        raise still_the_peer(&status) if status.step == WSASEC_STEP_REVERT else failure(&status, None)
    thread_state.entry = 0


# As in C: buffers in, 0 or a Winsock code out.

cdef int borrow(object source, object length, int flags, Py_buffer *view, void **data) except -1:
    """Point to a caller's memory; the view is to be released (also where it is NULL's), unless this raises."""
    if isinstance(length, bool) or not isinstance(length, int):
        raise TypeError(f"a length is an int, not {type(length).__name__}")
    if not 0 <= length <= 0xFFFFFFFF:
        raise ValueError(f"length {length} is not from 0 to 2**32-1")
    memset(view, 0, sizeof(Py_buffer))
    data[0] = NULL
    if source is None:
        return 0
    PyObject_GetBuffer(source, view, flags)
    if length > view.len:
        size = view.len
        PyBuffer_Release(view)
        raise ValueError(f"length {length} is beyond the end of the buffer ({size} bytes)")
    data[0] = view.buf if view.buf is not NULL else <void *>&LARGEST_ANSWER
    return 0


cdef int address_of(str name, object value, void **address) except -1:
    """Take an address as an int; None is 0."""
    address[0] = NULL
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an address as an int, or None, not {type(value).__name__}")
    try:
        address[0] = <void *><size_t>value
    except OverflowError:
        raise ValueError(f"{name} is no address: {value}") from None
    return 0


ctypedef int32_t (*overlapped_function)(wsasec_socket, const void *, uint32_t, void *, void *, wsasec_status *) noexcept nogil


cdef int32_t call_overlapped(overlapped_function function, object socket, object buffer, object length,
                             object overlapped, object routine) except -1:
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef Py_buffer view
    cdef void *data
    cdef void *overlapped_address
    cdef void *routine_address
    cdef uint32_t size
    cdef int32_t code
    address_of("overlapped", overlapped, &overlapped_address)
    address_of("completion_routine", routine, &routine_address)
    borrow(buffer, length, PyBUF_SIMPLE, &view, &data)
    try:
        size = length
        with nogil:
            code = function(fd, data, size, overlapped_address, routine_address, &status)
    finally:
        PyBuffer_Release(&view)
    return -code


def set_socket_security(socket, settings, length, overlapped=None, completion_routine=None):
    """WSASetSocketSecurity as bytes in, code out: 0, or the Winsock code of the failure.

    This function and the next four:

    Args:
        socket: as for `secure`.
        settings: (template, name, peer) a readable buffer of bytes, or None for NULL.
        length: bytes of it that are meant; at most its size, as there is nothing behind it to read.
        overlapped: address of an OVERLAPPED, or None. Its memory and all buffers are kept by the caller until
            the call is completed.
        completion_routine: address of a function, or None.

    Raises:
        TypeError: not such arguments.
        ValueError: length is negative, over 2**32-1, or larger than the buffer; no address.
        BufferError: a buffer that is not in one piece.
    """
    get_ready()
    return call_overlapped(wsasec_set_socket_security, socket, settings, length, overlapped, completion_routine)


def set_socket_peer_target_name(socket, name, length, overlapped=None, completion_routine=None):
    """WSASetSocketPeerTargetName; see set_socket_security."""
    return call_overlapped(wsasec_set_socket_peer_target_name, socket, name, length, overlapped, completion_routine)


def delete_socket_peer_target_name(socket, peer, length, overlapped=None, completion_routine=None):
    """WSADeleteSocketPeerTargetName; see set_socket_security."""
    return call_overlapped(wsasec_delete_socket_peer_target_name, socket, peer, length, overlapped, completion_routine)


def query_socket_security(socket, template, length, info, info_length, overlapped=None, completion_routine=None):
    """WSAQuerySocketSecurity; see set_socket_security.

    Args:
        info: a writable buffer, or None for NULL.
        info_length: a writable buffer of the 4 bytes of a ULONG, or None for NULL.

    Raises:
        ValueError: info_length has not 4 bytes, or says more than info has.
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef Py_buffer template_view
    cdef Py_buffer info_view
    cdef Py_buffer length_view
    cdef void *template_data
    cdef void *info_data
    cdef void *length_data
    cdef void *overlapped_address
    cdef void *routine_address
    cdef uint32_t *length_used = NULL
    cdef uint32_t size
    cdef uint32_t room = 0
    cdef int32_t code
    address_of("overlapped", overlapped, &overlapped_address)
    address_of("completion_routine", completion_routine, &routine_address)
    borrow(template, length, PyBUF_SIMPLE, &template_view, &template_data)
    size = length
    memset(&info_view, 0, sizeof(info_view))
    memset(&length_view, 0, sizeof(length_view))
    try:
        borrow(info_length, 0, PyBUF_WRITABLE, &length_view, &length_data)
        if length_data is not NULL:
            if length_view.len != sizeof(uint32_t):
                raise ValueError(f"info_len has the 4 bytes of a ULONG (ctypes.c_uint32), not {length_view.len}")
            memcpy(&room, length_data, sizeof(room))
            length_used = &room
        borrow(info, room, PyBUF_WRITABLE, &info_view, &info_data)
        if length_data is not NULL and overlapped_address is not NULL:
            if <size_t>length_data % sizeof(uint32_t):
                raise ValueError("info_len of an overlapped call is aligned as a ULONG")
            length_used = <uint32_t *>length_data  # which is written to when the call is completed
        with nogil:
            code = wsasec_query_socket_security(fd, template_data, size, info_data, length_used, overlapped_address,
                                                routine_address, &status)
        if length_used == &room:
            memcpy(length_data, &room, sizeof(room))
    finally:
        PyBuffer_Release(&template_view)
        PyBuffer_Release(&info_view)
        PyBuffer_Release(&length_view)
    return -code


def impersonate_socket_peer(socket, peer, length):
    """WSAImpersonateSocketPeer; see set_socket_security."""
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef Py_buffer view
    cdef void *data
    cdef uint32_t size
    cdef int32_t code
    borrow(peer, length, PyBUF_SIMPLE, &view, &data)
    try:
        size = length
        with nogil:
            code = wsasec_impersonate_socket_peer(fd, data, size, &status)
    finally:
        PyBuffer_Release(&view)
    return -code


def revert_socket_impersonation():
    """WSARevertImpersonation: 0, or the Winsock code of the failure."""
    cdef wsasec_status status
    cdef int32_t code
    with nogil:
        code = wsasec_revert_impersonation(&status)
    if not code:
        thread_state.entry = 0
    return -code
