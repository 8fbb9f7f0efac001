# SPDX-License-Identifier: Apache-2.0
# Sockets that other programs handed over, with settings as they came.

cdef extern from "wsasec.h" nogil:
    size_t wsasec_secure_received(wsasec_socket, const int32_t *, size_t, const void *, uint32_t, int32_t *,
                                  wsasec_status *)
    const wsasec_profile *wsasec_settings_profile(const void *, uint32_t)
    int32_t wsasec_reason_code(unsigned)


def secure_raw(const int32_t[::1] sockets, const uint8_t[::1] settings, here):
    """Secure sockets of other programs with settings of theirs, for the key daemon.

    Args:
        sockets: their descriptors in this process, C ints.
        settings: the bytes of the settings; none for the default policy.
        here: a socket of the only network namespace that sockets may be of.

    Returns:
        (codes, first): ``array('i')`` of a code for each, 0 or a Winsock code made negative, and the bytes of
        the wsasec_status of the first failure.
    """
    cdef wsasec_socket own = descriptor(here)
    cdef wsasec_status first
    cdef size_t count = <size_t>sockets.shape[0]
    cdef size_t length = <size_t>settings.shape[0]
    cdef int32_t[::1] view
    memset(&first, 0, sizeof(first))
    codes = array.array("i", bytes(4 * count))
    if length > 0xFFFFFFFF:
        raise ValueError("the settings are too long")
    get_ready()
    if count:
        view = codes
        with nogil:
            wsasec_secure_received(own, &sockets[0], count, &settings[0] if length else NULL, <uint32_t>length, &view[0],
                                   &first)
    return codes, (<const char *>&first)[:sizeof(first)]


def settings_profile(const uint8_t[::1] settings):
    """Tell the profile that sockets get by the bytes of settings, by name; None if there is something wrong with them."""
    cdef size_t length = <size_t>settings.shape[0]
    cdef const wsasec_profile *profile
    if length > 0xFFFFFFFF:
        return None
    get_ready()
    with nogil:
        profile = wsasec_settings_profile(&settings[0] if length else NULL, <uint32_t>length)
    return (<const char *>profile.name).decode() if profile is not NULL else None


def reason_code(unsigned reason):
    """The Winsock code of a reason (enum wsasec_reason), made negative; 0 for none."""
    return wsasec_reason_code(reason)
