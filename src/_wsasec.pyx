# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
# SPDX-License-Identifier: Apache-2.0
"""The boundary: Python's arguments to C, C's results to exceptions. It does not know the system."""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
)
from cpython.bytes cimport PyBytes_AsStringAndSize
from cpython.exc cimport PyErr_CheckSignals
cimport cython
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, intptr_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import array
import sys
import threading
from time import monotonic

from wsasec.errors import BatchError, ImpersonationError, SecurityError, errno_of
from wsasec.settings import SettingsBase


cdef extern from "wsasec.h" nogil:
    ctypedef intptr_t wsasec_socket

    ctypedef struct wsasec_guid:
        pass

    ctypedef struct wsasec_status:
        int32_t code
        int32_t os_error
        uint16_t step
        uint16_t reason
        uint16_t profile
        uint16_t flags

    ctypedef struct wsasec_profile:
        char name[64]
        wsasec_guid guid
        uint32_t reqid
        uint32_t mark
        uint32_t mask
        uint32_t encrypting
        uint32_t protocol
        uint32_t carrier

    ctypedef struct wsasec_option:
        int32_t level
        int32_t name
        uint32_t length
        uint32_t step
        uint8_t value[240]

    ctypedef struct wsasec_socket_security_settings_ipsec:
        uint32_t UserNameStringLen
        uint32_t DomainNameStringLen
        uint32_t PasswordStringLen

    enum:
        WSASEC_STATUS_BLOCKED
        WSASEC_STATUS_STILL_OPEN
        WSASEC_STATUS_DETAIL
        WSASEC_PROFILES_MAX
        WSASEC_OPTIONS_MAX
        WSASEC_STEP_ACCEPT
        WSASEC_REASON_NOT_A_SOCKET
        WSASEC_WSA_IO_PENDING

    int32_t wsasec_set_socket_security(wsasec_socket, const void *, uint32_t, void *, void *, wsasec_status *)
    int32_t wsasec_carrier_auto(wsasec_status *)
    int32_t wsasec_profiles_set(const wsasec_profile *, size_t, size_t)
    const wsasec_profile *wsasec_profile_at(uint16_t)
    const wsasec_profile *wsasec_profile_builtin()
    const wsasec_profile *wsasec_profile_of(wsasec_socket)
    int32_t wsasec_socket_options(int, const void *, uint32_t, wsasec_option *, size_t *, wsasec_status *)
    int32_t wsasec_guard_state(int, const wsasec_guid *, wsasec_status *)
    int32_t wsasec_capability(unsigned, wsasec_status *)
    void wsasec_release_namespaces()
    void wsasec_be_broker()
    const char *wsasec_detail()
    const char *wsasec_reason_text(unsigned)
    const char *wsasec_reason_hint(unsigned)
    const char *wsasec_step_text(unsigned)
    void wsasec_wipe(void *, size_t)


cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GetLength(object) except -1
    uint32_t PyUnicode_ReadChar(object, Py_ssize_t) except? 0xFFFFFFFF


# Where the strings begin in SOCKET_SECURITY_SETTINGS_IPSEC.
cdef enum:
    STRINGS_OFFSET = 84


# Whether all is done that comes before the first socket. Only ever goes from False to True.
cdef bint prepared = False


cdef int get_ready() except -1:
    global prepared
    if not prepared:
        from wsasec.first_use import prepare

        prepare()
        prepared = True
    return 0


cdef object failure(wsasec_status *status, object socket):
    """Turn a status into the exception that stands for it."""
    detail = ""
    if status.flags & WSASEC_STATUS_DETAIL:
        detail = wsasec_detail().decode("utf-8", "replace")
    return failure_with(status, socket, detail)


cdef object failure_with(const wsasec_status *status, object socket, str detail):
    """The same, with what else there is to say."""
    cdef const wsasec_profile *profile = wsasec_profile_at(status.profile)
    text = wsasec_reason_text(status.reason).decode()
    hint = wsasec_reason_hint(status.reason).decode()
    step = wsasec_step_text(status.step).decode()
    if detail:
        text = f"{text}: {detail}"
    if status.flags & WSASEC_STATUS_BLOCKED:
        hint += "; the socket can send nothing any more: close it"
    elif status.flags & WSASEC_STATUS_STILL_OPEN:
        hint += "; the socket may still send in clear: close it at once"
    return SecurityError(
        text,
        winsock=-status.code,
        errno=errno_of(status.os_error) if status.os_error else None,
        hint=hint,
        socket=socket,
        step=step,
        profile=(<const char *>profile.name).decode() if profile is not NULL else None,
    )


cdef wsasec_socket descriptor(object sock) except? -1:
    """Take the descriptor of a socket object, or a number."""
    if not isinstance(sock, int):
        try:
            fileno = sock.fileno
        except AttributeError:
            raise TypeError(f"a socket, an object with fileno(), or an int is wanted, not {type(sock).__name__}") from None
        sock = fileno()
        if not isinstance(sock, int):
            raise TypeError(f"fileno() returned {type(sock).__name__}, not int")
    elif isinstance(sock, bool):
        raise TypeError("a socket is wanted, not bool")
    try:
        return <intptr_t>sock
    except OverflowError:
        raise ValueError(f"{sock} is out of range for a descriptor") from None


cdef struct Given:
    # Settings for the time of a call; begin_settings() and end_settings() belong together.
    const void *data
    uint32_t length
    uint8_t *own  # the same bytes where they are overwritten in the end; else NULL


cdef int begin_settings(object settings, Given *given) except -1:
    """Point to the bytes of the settings; the object must outlive the use. After an exception there is nothing to end."""
    cdef char *text
    cdef Py_ssize_t size
    given.own = NULL
    if settings is None:
        given.data = NULL
        given.length = 0
        return 0
    if not isinstance(settings, SettingsBase):
        raise TypeError(f"settings is Settings, IpsecSettings or None, not {type(settings).__name__}")
    PyBytes_AsStringAndSize(settings._packed, &text, &size)
    if size == STRINGS_OFFSET:
        return add_strings(settings, text, given)
    given.data = text
    given.length = <uint32_t>size
    return 0


cdef void end_settings(Given *given) noexcept nogil:
    if given.own is not NULL:
        wsasec_wipe(given.own, given.length)
        free(given.own)
        given.own = NULL


cdef int add_strings(object settings, const char *head, Given *given) except -1:
    """Put the strings behind the members, in memory of the call's own."""
    cdef wsasec_socket_security_settings_ipsec members
    cdef uint64_t size
    cdef Py_ssize_t at = STRINGS_OFFSET
    memcpy(&members, head, STRINGS_OFFSET)
    size = <uint64_t>members.UserNameStringLen + members.DomainNameStringLen + members.PasswordStringLen
    size = max(size + STRINGS_OFFSET, <uint64_t>sizeof(members))
    if size > 0xFFFFFFFF:
        raise ValueError("the strings are too long")
    given.own = <uint8_t *>malloc(size)
    if given.own is NULL:
        raise MemoryError()
    given.data = given.own
    given.length = <uint32_t>size
    memset(given.own, 0, size)
    memcpy(given.own, head, STRINGS_OFFSET)
    try:
        for text in settings._texts():
            at = write_utf16(text, given, at)
    except BaseException:
        end_settings(given)
        raise
    return 0


cdef Py_ssize_t write_utf16(str text, Given *given, Py_ssize_t at) except -1:
    """Write a text at an offset, and return the offset behind it; no Python object has a copy of it."""
    cdef Py_ssize_t count = PyUnicode_GetLength(text)
    cdef Py_ssize_t i
    cdef uint32_t character
    for i in range(count):
        character = PyUnicode_ReadChar(text, i)
        if at + (2 if character < 0x10000 else 4) > <Py_ssize_t>given.length:
            raise ValueError("the settings were changed")
        if character >= 0x10000:
            character -= 0x10000
            write_unit(given.own + at, 0xD800 | character >> 10)
            character = 0xDC00 | (character & 0x3FF)
            at += 2
        write_unit(given.own + at, character)
        at += 2
    return at


def settings_bytes(settings):
    """The bytes of settings as the C functions get them; those of None are none."""
    cdef Given given
    begin_settings(settings, &given)
    try:
        return (<const char *>given.data)[:given.length]
    finally:
        end_settings(&given)


cdef void write_unit(uint8_t *to, uint32_t unit) noexcept nogil:
    to[0] = unit & 0xFF
    to[1] = unit >> 8


def secure(socket, settings=None):
    """Secure a socket: from now on it is protected by IPsec, or nothing is sent.

    Call it before ``bind()`` and ``connect()``; accepted sockets inherit from their listener. It is
    WSASetSocketSecurity (ws2tcpip.h).

    Args:
        socket: a stream or datagram socket of AF_INET or AF_INET6: a socket object, anything with
            ``fileno()``, or the descriptor (a SOCKET handle on Windows) as an int.
        settings: `Settings`, `IpsecSettings`, or None for the default policy.

    Raises:
        SecurityError: with ``winsock`` WSAENOTSOCK (no socket, or closed), WSAEINVAL (family, type,
            bound, listening, secured before, or a wrong setting), WSAEISCONN (connected), WSAEACCES
            (no CAP_NET_ADMIN), WSAEPROTONOSUPPORT (kernel without XFRM), WSAENETDOWN (the guard cannot
            be complete), WSAENOBUFS. From WSAEACCES on, the socket can send nothing any more. On Windows
            WSAEOPNOTSUPP (no fwpuclnt.dll, or Wine's) or what else Windows answers; there the socket may
            still send in clear: close it.
        TypeError: not a socket, or not settings.
        ValueError: a number that no descriptor can be; a profile file with an error (`ConfigError`).
    """
    cdef wsasec_socket fd = descriptor(socket)
    cdef wsasec_status status
    cdef Given given
    cdef int32_t code
    begin_settings(settings, &given)
    try:
        get_ready()
        with nogil:
            code = wsasec_set_socket_security(fd, given.data, given.length, NULL, NULL, &status)
    finally:
        end_settings(&given)
    if code:
        raise failure(&status, fd)


cdef object descriptors(object sockets):
    """Make an array('i') of an iterable of sockets."""
    cdef wsasec_socket fd
    numbers = array.array("i")
    append = numbers.append
    for sock in sockets:
        fd = descriptor(sock)
        try:
            append(fd)
        except OverflowError:
            raise ValueError(f"{fd} is out of range for a descriptor") from None
    return numbers


include "boundary/batch.pxi"


def socket_options(settings=None, *, int family):
    """The system calls of `secure` as data, for libraries that take socket options instead of sockets.

    The options are for new sockets of this one family; on a socket of the other family setting them fails.
    Nothing is checked, and nothing remembered: where a library lets you make the socket, use `secure`. The
    guard is put up in the calling thread's network namespace. Linux only.

    Args:
        settings: as for `secure`.
        family: socket.AF_INET or socket.AF_INET6.

    Returns:
        A list of (level, name, value) with value as bytes, to be set in this order.

    Raises:
        SecurityError: as `secure`, with no socket.
    """
    cdef wsasec_option options[WSASEC_OPTIONS_MAX]
    cdef wsasec_status status
    cdef Given given
    cdef size_t count = 0
    cdef size_t i
    cdef int32_t code
    begin_settings(settings, &given)
    try:
        get_ready()
        with nogil:
            code = wsasec_socket_options(family, given.data, given.length, options, &count, &status)
    finally:
        end_settings(&given)
    if code:
        raise failure(&status, None)
    return [(options[i].level, options[i].name, (<char *>options[i].value)[:options[i].length]) for i in range(count)]


def set_profiles(profiles, default):
    """Hand the profiles to the core: tuples (name, GUID as 16 bytes, reqid, mark, mask, encrypting, protocol,
    carrier).

    Raises:
        ValueError: the core finds them invalid, or not to be told apart.
        MemoryError: too many in the life of the process.
    """
    cdef wsasec_profile table[WSASEC_PROFILES_MAX]
    cdef size_t count = 0
    cdef size_t default_index = 0
    cdef int32_t code
    profiles = list(profiles)
    if len(profiles) > WSASEC_PROFILES_MAX:
        raise ValueError(f"{len(profiles)} profiles; at most {WSASEC_PROFILES_MAX}")
    memset(table, 0, sizeof(table))
    for name, guid, reqid, mark, mask, encrypting, protocol, carrier in profiles:
        encoded = name.encode()
        if len(encoded) > 63 or len(guid) != 16:
            raise ValueError(f"profile {name!r}: a name of up to 63 bytes and a GUID of 16 bytes are wanted")
        memcpy(table[count].name, <const char *>encoded, len(encoded))
        memcpy(&table[count].guid, <const char *>guid, 16)
        table[count].reqid = reqid
        table[count].mark = mark
        table[count].mask = mask
        table[count].encrypting = bool(encrypting)
        table[count].protocol = protocol
        table[count].carrier = carrier
        if name == default:
            default_index = count
        count += 1
    code = wsasec_profiles_set(table, count, default_index)
    if code:
        raise MemoryError("no room for more profiles") if -code == 10055 else ValueError("invalid profiles")


cdef object profile_tuple(const wsasec_profile *profile):
    return ((<const char *>profile.name).decode(), (<const char *>&profile.guid)[:16], profile.reqid, profile.mark, profile.mask,
            bool(profile.encrypting), profile.protocol, profile.carrier)


def carrier_auto():
    """The carrier that 'auto' is here: 0 (the kernel's own IPsec) or 1 (a device).

    Raises:
        SecurityError: no privilege to find out.
    """
    cdef wsasec_status status
    with nogil:
        found = wsasec_carrier_auto(&status)
    if found < 0:
        raise failure(&status, None)
    return found


def builtin_profile():
    """The built-in default, as set_profiles() takes it."""
    return profile_tuple(wsasec_profile_builtin())


def profile_of(socket):
    """The name of the profile that this process secured the socket with, or None."""
    cdef wsasec_socket fd = descriptor(socket)
    cdef const wsasec_profile *profile
    with nogil:
        profile = wsasec_profile_of(fd)
    return (<const char *>profile.name).decode() if profile is not NULL else None


def guard_state(str profile, int family):
    """State of a profile's guard here: a sum of 1 (policy missing), 2 (policy foreign), 4 (fwmark_reflect
    off), 8 (inbound SA without the mark); of one on a device 16 (missing), 32 (down), 64 (not vouched for),
    128 (another's), 256 (nftables changed), and 4; 0 if it is complete. Changes nothing.

    Raises:
        KeyError: no such profile is in use.
        SecurityError: no privilege, or no XFRM.
    """
    cdef int32_t state
    cdef wsasec_status status
    cdef wsasec_guid guid
    from wsasec.profiles import active

    key = active()[profile].guid.bytes_le
    memcpy(&guid, <const char *>key, sizeof(guid))
    with nogil:
        state = wsasec_guard_state(family, &guid, &status)
    if state < 0:
        raise failure(&status, None)
    return state


def release_namespaces():
    """Close the descriptors kept for each network namespace sockets were secured in, and connections to key daemons.

    They keep up to four namespaces alive, and are opened again when they are needed. What is in force for
    sockets stays so.
    """
    with nogil:
        wsasec_release_namespaces()


def be_broker():
    """Make this process the key daemon, which secures other programs' sockets, and asks nobody to secure its own."""
    wsasec_be_broker()


CAPABILITIES = {"socket-policy": 1, "esp4": 2, "esp6": 3, "ah4": 4, "ah6": 5, "aes-gcm": 6}


def capability(str name):
    """Ask the kernel for one of CAPABILITIES: True or False.

    Raises:
        KeyError: unknown name.
        SecurityError: the kernel cannot be asked (no CAP_NET_ADMIN).
    """
    cdef unsigned number = CAPABILITIES[name]
    cdef wsasec_status status
    cdef int32_t answer
    with nogil:
        answer = wsasec_capability(number, &status)
    if answer < 0:
        raise failure(&status, None)
    return bool(answer)


include "boundary/overlapped.pxi"
include "boundary/histogram.pxi"
include "boundary/connect.pxi"
include "boundary/capi.pxi"
include "boundary/peers.pxi"
include "boundary/listener.pxi"
include "boundary/traffic.pxi"
include "boundary/policy.pxi"
include "boundary/broker.pxi"
