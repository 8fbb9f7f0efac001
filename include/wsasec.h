/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wsasec: the six functions of the Winsock Secure Socket Extensions, and the same for many sockets in one
 * call. Plain C11, thread-safe.
 *
 * Every function returns 0, or a Winsock code made negative (-WSASEC_WSAE...), and fills in a
 * wsasec_status where one is given. They never close a descriptor that is not theirs.
 */
#ifndef WSASEC_H
#define WSASEC_H

#include "wsasec_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A file descriptor on Linux, a SOCKET on Windows. */
typedef intptr_t wsasec_socket;

/* The step that failed. */
enum wsasec_step {
    WSASEC_STEP_NONE = 0,
    WSASEC_STEP_DESCRIPTOR,    /* is it a socket? */
    WSASEC_STEP_BUFFER,        /* pointer and length of the settings */
    WSASEC_STEP_KIND,          /* family and type */
    WSASEC_STEP_STATE,         /* bound, connected, secured before */
    WSASEC_STEP_SETTINGS,      /* members of the settings */
    WSASEC_STEP_EXCLUSIVE,     /* making the port exclusive */
    WSASEC_STEP_V6ONLY,        /* restricting an IPv6 socket to IPv6 */
    WSASEC_STEP_GUARD,         /* the guard of the profile in the socket's network namespace */
    WSASEC_STEP_POLICY_OUT,    /* the outbound socket policy */
    WSASEC_STEP_POLICY_IN,     /* the inbound socket policy */
    WSASEC_STEP_MARK,          /* the guard's mark on the socket */
    WSASEC_STEP_CREATE,        /* making the socket */
    WSASEC_STEP_OPTIONS,       /* options that have nothing to do with security: TCP_NODELAY, buffers */
    WSASEC_STEP_BIND,          /* binding it to its source address */
    WSASEC_STEP_CONNECT,       /* connecting it */
    WSASEC_STEP_ACCEPT,        /* accepting a connection */
    WSASEC_STEP_LISTENER,      /* starting a listener */
    WSASEC_STEP_LIBRARY,       /* Windows: finding the functions in fwpuclnt.dll */
    WSASEC_STEP_SECURE,        /* Windows: WSASetSocketSecurity */
    WSASEC_STEP_QUERY,         /* WSAQuerySocketSecurity */
    WSASEC_STEP_SET_NAME,      /* WSASetSocketPeerTargetName */
    WSASEC_STEP_DELETE_NAME,   /* WSADeleteSocketPeerTargetName */
    WSASEC_STEP_IMPERSONATE,   /* WSAImpersonateSocketPeer */
    WSASEC_STEP_REVERT,        /* WSARevertImpersonation */
    WSASEC_STEP_ENGINE,        /* Windows: a session with the base filtering engine */
    WSASEC_STEP_POLICY_ADD,    /* adding a policy */
    WSASEC_STEP_POLICY_DELETE, /* deleting one */
    WSASEC_STEP_POLICY_LIST,   /* listing them */
    WSASEC_STEP_ASSOCIATIONS,  /* listing security associations */
    WSASEC_STEP_IKE_ASSOCIATION, /* finding the association of a main mode */
    WSASEC_STEP_DAEMON,        /* Linux: asking the key daemon */
    WSASEC_STEP_NEGOTIATE,     /* Linux: negotiating keys with the peer */
    WSASEC_STEP_DEVICE,        /* Linux: the profile's secure device, and binding the socket to it */
    WSASEC_STEP_COUNT
};

/* Which rule was broken, or what was missing: wsasec_reason_text() and wsasec_reason_hint() put it in words. */
enum wsasec_reason {
    WSASEC_REASON_NONE = 0,
    WSASEC_REASON_NOT_A_SOCKET,
    WSASEC_REASON_NULL_WITH_LENGTH,
    WSASEC_REASON_NULL_POINTER,
    WSASEC_REASON_SETTINGS_TOO_SHORT,
    WSASEC_REASON_STRINGS_TOO_LONG,
    WSASEC_REASON_BUFFER_TOO_SHORT,
    WSASEC_REASON_FAMILY,
    WSASEC_REASON_TYPE,
    WSASEC_REASON_FAMILY_UNSUPPORTED,
    WSASEC_REASON_CONNECTED,
    WSASEC_REASON_LISTENING,
    WSASEC_REASON_BOUND,
    WSASEC_REASON_ALREADY_SECURED,
    WSASEC_REASON_FAILED_BEFORE,
    WSASEC_REASON_PROTOCOL,
    WSASEC_REASON_LENGTH_OF_DEFAULT,
    WSASEC_REASON_SECURITY_FLAGS,
    WSASEC_REASON_IPSEC_FLAGS,
    WSASEC_REASON_RESERVED,
    WSASEC_REASON_STRING_LENGTH,
    WSASEC_REASON_QM_POLICY,
    WSASEC_REASON_MM_POLICY,
    WSASEC_REASON_NOT_ENCRYPTING,
    WSASEC_REASON_PEER_ADDRESS,
    WSASEC_REASON_NOT_IMPLEMENTED,
    WSASEC_REASON_PRIVILEGE,
    WSASEC_REASON_NO_XFRM,
    WSASEC_REASON_NO_MEMORY,
    WSASEC_REASON_NO_DESCRIPTORS,
    WSASEC_REASON_NAMESPACE,
    WSASEC_REASON_GUARD_POLICY_FOREIGN,
    WSASEC_REASON_GUARD_POLICY_RIVAL,
    WSASEC_REASON_GUARD_SYSCTL4,
    WSASEC_REASON_GUARD_SYSCTL6,
    WSASEC_REASON_GUARD_SA_UNMARKED,
    WSASEC_REASON_SYSTEM,
    WSASEC_REASON_SPECIFICATION,
    WSASEC_REASON_METHOD,
    WSASEC_REASON_ADDRESS_IN_USE,
    WSASEC_REASON_ADDRESS_NOT_HERE,
    WSASEC_REASON_FORBIDDEN,
    WSASEC_REASON_PRIVILEGED_PORT,
    WSASEC_REASON_URING_NOT_BUILT,
    WSASEC_REASON_URING_DISABLED,
    WSASEC_REASON_URING_FORBIDDEN,
    WSASEC_REASON_URING_TOO_OLD,
    WSASEC_REASON_URING_MEMORY,
    WSASEC_REASON_NO_FILES,
    WSASEC_REASON_WOULD_BLOCK,
    WSASEC_REASON_NOT_LISTENING,
    WSASEC_REASON_CONNECTION_GONE,
    WSASEC_REASON_NOT_SECURED,
    WSASEC_REASON_PORT_SHARED,
    WSASEC_REASON_NO_THREADS,
    WSASEC_REASON_NO_WINSOCK,
    WSASEC_REASON_NO_LIBRARY,
    WSASEC_REASON_NO_FUNCTION,
    WSASEC_REASON_WINE,
    WSASEC_REASON_PENDING,
    WSASEC_REASON_REFUSED,
    WSASEC_REASON_SERVICES,
    WSASEC_REASON_TIMED_OUT,
    WSASEC_REASON_ADMINISTRATOR,
    WSASEC_REASON_ENGINE_DOWN,
    WSASEC_REASON_ENGINE_BUSY,
    WSASEC_REASON_NO_SUCH_POLICY,
    WSASEC_REASON_POLICY_EXISTS,
    WSASEC_REASON_POLICY_IN_USE,
    WSASEC_REASON_POLICY_OF_OTHERS,
    WSASEC_REASON_POLICY_VALUE,
    WSASEC_REASON_NO_DAEMON,
    WSASEC_REASON_DAEMON_SILENT,
    WSASEC_REASON_DAEMON_ANSWER,
    WSASEC_REASON_DAEMON_BUSY,
    WSASEC_REASON_DAEMON_NAMESPACE,
    WSASEC_REASON_NOT_ALLOWED,
    WSASEC_REASON_NO_CHARON,
    WSASEC_REASON_PEER_SILENT,
    WSASEC_REASON_NO_PROPOSAL,
    WSASEC_REASON_AUTHENTICATION,
    WSASEC_REASON_OTHER_IDENTITY,
    WSASEC_REASON_NOT_TRANSPORT,
    WSASEC_REASON_NEGOTIATION,
    WSASEC_REASON_UNREACHABLE,
    WSASEC_REASON_NO_ASSOCIATION,
    WSASEC_REASON_NOT_CONNECTED,
    WSASEC_REASON_NO_IDENTITY,
    WSASEC_REASON_NO_ACCOUNT,
    WSASEC_REASON_NON_BLOCKING,
    WSASEC_REASON_NAME_FORM,
    WSASEC_REASON_NO_NAME,
    WSASEC_REASON_TOKENS,
    WSASEC_REASON_IMPERSONATING,
    WSASEC_REASON_IDENTITY_PRIVILEGE,
    WSASEC_REASON_NO_ABORT,
    WSASEC_REASON_NO_DEVICE,
    WSASEC_REASON_DEVICE_DOWN,
    WSASEC_REASON_DEVICE_UNVOUCHED,
    WSASEC_REASON_DEVICE_OTHER,
    WSASEC_REASON_DEVICE_RULES,
    WSASEC_REASON_DEVICE_REFLECT,
    WSASEC_REASON_NO_NFTABLES,
    WSASEC_REASON_COUNT
};

typedef struct wsasec_status {
    int32_t code;        /* 0, or a Winsock code made negative */
    int32_t os_error;    /* errno (Linux) or WSAGetLastError() (Windows) behind it; 0 where there is none */
    uint16_t step;       /* enum wsasec_step */
    uint16_t reason;     /* enum wsasec_reason */
    uint16_t profile;    /* number of the profile that was to be used, see wsasec_profile_at() */
    uint16_t flags;      /* WSASEC_STATUS_* */
} wsasec_status;

/* The call failed after the socket was found good; the socket can no longer send or receive anything. */
#define WSASEC_STATUS_BLOCKED UINT16_C(0x1)
/* The call failed and the socket could not be kept from sending in clear either: close it. */
#define WSASEC_STATUS_STILL_OPEN UINT16_C(0x2)
/* There is more to say of this failure: wsasec_detail(), in the thread that it happened in, until the next failure. */
#define WSASEC_STATUS_DETAIL UINT16_C(0x4)

/*
 * WSASetSocketSecurity: turns security on for one socket, before it is bound or connected.
 *
 * settings: NULL (with settings_len 0: the default policy), a wsasec_socket_security_settings, or a
 * wsasec_socket_security_settings_ipsec with its strings; settings_len in bytes. overlapped and
 * completion_routine are ignored for sockets that are not overlapped, and so always on Linux.
 *
 * Errors, in the order in which they are looked for: WSAENOTSOCK; WSAEFAULT (NULL with a length),
 * WSAEMSGSIZE (buffer shorter than its structure or its strings); WSAEINVAL (family not AF_INET or AF_INET6,
 * type not SOCK_STREAM or SOCK_DGRAM), WSAEAFNOSUPPORT; WSAEISCONN (connected), WSAEINVAL (bound, listening,
 * secured before); WSAEINVAL (a member has a wrong value). Up to here the socket is as it was. Then, with
 * the socket unable to send anything from now on: WSAEACCES (no CAP_NET_ADMIN), WSAENOBUFS,
 * WSAEPROTONOSUPPORT (kernel without XFRM, or for a device without nftables), WSAENETDOWN (the guard cannot be complete;
 * or nobody vouches for the profile's secure device, which is waited for up to half a second where that is new).
 */
int32_t wsasec_set_socket_security(wsasec_socket socket, const void *settings, uint32_t settings_len,
                                   void *overlapped, void *completion_routine, wsasec_status *status);

/*
 * Windows: tells of the end of a call above that was answered with WSA_IO_PENDING; settings: as they were given.
 * error: what it was completed with, 0 or a code of WSAGetLastError(). Returns what the call would have returned.
 */
int32_t wsasec_overlapped_done(wsasec_socket socket, const void *settings, uint32_t settings_len, int32_t error,
                               wsasec_status *status);

/*
 * Windows: what the call that was given this OVERLAPPED has been completed with: 0 or a code of WSAGetLastError();
 * WSA_IO_INCOMPLETE (996) while it is not. Elsewhere WSAEOPNOTSUPP. The socket must be open.
 */
int32_t wsasec_overlapped_error(wsasec_socket socket, void *overlapped);

/* Windows: has it completed soon, with an error; it is still to be waited for. Elsewhere it does nothing. */
void wsasec_overlapped_cancel(wsasec_socket socket, void *overlapped);

/*
 * WSAQuerySocketSecurity: what protects a connection. template_ may be NULL for stream sockets; info NULL
 * asks for the size in *info_len (answered with WSAEMSGSIZE). Errors: WSAENOTSOCK, WSAEFAULT, WSAEMSGSIZE,
 * WSAEINVAL; Linux: WSAENOTCONN (not connected, or protected by nothing now), WSAECONNRESET (the connection is gone),
 * WSAEOPNOTSUPP (tokens), WSAENETDOWN (neither a key daemon nor the privilege to ask the kernel), WSAETIMEDOUT. With
 * ABORT_CONNECTION_ON_FIELD_CHANGE also WSAEOPNOTSUPP (no TCP, or a kernel without CONFIG_INET_DIAG_DESTROY), WSAEINVAL
 * (the socket is not secured), WSAENETDOWN (no key daemon, or one without charon), WSAEACCES (keys that were not
 * negotiated).
 */
int32_t wsasec_query_socket_security(wsasec_socket socket, const void *template_, uint32_t template_len,
                                     void *info, uint32_t *info_len, void *overlapped,
                                     void *completion_routine, wsasec_status *status);

/*
 * WSASetSocketPeerTargetName: the principal that must be found at the peer. Errors: WSAENOTSOCK, WSAEFAULT
 * (NULL), WSAEMSGSIZE, WSAEINVAL (also a socket that may send in clear, or a name of no form), WSAEISCONN; Linux:
 * WSAENETDOWN (no key daemon), and for datagram sockets what wsasec_negotiate() has. A name is never taken without being
 * enforced.
 */
int32_t wsasec_set_socket_peer_target_name(wsasec_socket socket, const void *name, uint32_t name_len,
                                           void *overlapped, void *completion_routine, wsasec_status *status);

/* WSADeleteSocketPeerTargetName. peer: a sockaddr of peer_len bytes. Errors as above. */
int32_t wsasec_delete_socket_peer_target_name(wsasec_socket socket, const void *peer, uint32_t peer_len,
                                              void *overlapped, void *completion_routine,
                                              wsasec_status *status);

/*
 * WSAImpersonateSocketPeer: the calling thread takes the peer's identity. peer is ignored for stream sockets,
 * required for datagram sockets. Errors: WSAENOTSOCK, WSAEFAULT, WSAEINVAL (also a non-blocking socket, or a thread that
 * acts as a peer already); Linux: WSAENOTCONN, WSAECONNRESET, WSAENETDOWN (no key daemon), WSAEACCES (the peer's
 * identity stands for no account, or no CAP_SETUID and CAP_SETGID). Where the step is WSASEC_STEP_REVERT, the
 * thread could be made neither the peer nor itself: call wsasec_revert_impersonation() again, or end the process.
 *
 * Linux: effective user and group, supplementary groups, and no effective capabilities; files are opened as the
 * account could. As a process's own identity stays what it was, programs that it starts meanwhile may take that back;
 * threads that it starts begin as the peer.
 */
int32_t wsasec_impersonate_socket_peer(wsasec_socket socket, const void *peer, uint32_t peer_len,
                                       wsasec_status *status);

/* WSARevertImpersonation: the calling thread is itself again. */
int32_t wsasec_revert_impersonation(wsasec_status *status);

/*
 * Has keys made for a peer now, so that the socket can be connected, or send its first datagram, without waiting for them;
 * and the names of the socket held against it (WSASetSocketPeerTargetName).
 *
 * socket: secured. peer: a sockaddr of peer_len bytes; NULL, or zeros for a stream socket: that which the socket is
 * connected to. Errors: WSAENOTSOCK, WSAEFAULT (a datagram socket without its peer), WSAEINVAL (family, type, not secured,
 * an address of another family), WSAENOTCONN, WSAENETDOWN (no key daemon), WSAETIMEDOUT (not done in so many nanoseconds,
 * or the peer does not answer), WSAEACCES (authentication failed, another identity, not allowed); WSAEOPNOTSUPP (Windows,
 * which does it by itself).
 */
int32_t wsasec_negotiate(wsasec_socket socket, const void *peer, uint32_t peer_len, uint64_t nanoseconds,
                         wsasec_status *status);

/* What protects a connection. All names are UTF-8, with a zero at the end; empty where they are not known. */
typedef struct wsasec_socket_association {
    uint32_t flags;            /* WSASEC_SOCKET_INFO_CONNECTION_...; without SECURED the rest is empty */
    uint32_t protocol;         /* 50: ESP, 51: AH */
    uint64_t mm_sa_id;         /* ids of charon; 0: keys that it did not negotiate */
    uint64_t qm_sa_id;
    uint64_t bytes_in, bytes_out, packets_in, packets_out;
    uint64_t age;              /* seconds since it was installed */
    uint64_t rekey_in;         /* seconds; 0: not known */
    uint32_t spi_in, spi_out;
    uint32_t encryption_bits;  /* of the key; 0: no encryption */
    uint32_t integrity_bits;   /* of the tag */
    uint32_t esn;
    uint32_t reqid;
    char encryption[64];       /* algorithms, as the kernel names them */
    char integrity[64];        /* empty for those that do both */
    char identity[1024];       /* whom the peer has proved to be */
    char own[1024];            /* whom this host has */
    char profile[64];
    uint32_t certificate_len;  /* bytes; 0: none is known */
    uint8_t certificate[8188]; /* of the peer, DER */
} wsasec_socket_association;

/*
 * What protects a connection, more than WSAQuerySocketSecurity tells: peer as for wsasec_negotiate(). Without a key
 * daemon, and with CAP_NET_ADMIN, it is what the kernel knows: no identities. Errors: WSAENOTSOCK, WSAEFAULT, WSAEINVAL
 * (family, type, a datagram socket without its peer), WSAENOTCONN (not connected, or protected by nothing now),
 * WSAECONNRESET (the connection is gone), WSAENETDOWN; WSAEOPNOTSUPP (Windows).
 */
int32_t wsasec_association_of(wsasec_socket socket, const void *peer, uint32_t peer_len,
                              wsasec_socket_association *association, wsasec_status *status);

/*
 * Closes a token of wsasec_query_socket_security(); 0 is none. Errors: the system's; WSAEOPNOTSUPP where there are no
 * tokens (Linux).
 */
int32_t wsasec_close_token(uint64_t handle);

/*
 * WSASetSocketSecurity for many sockets: every one is tried.
 *
 * sockets: count descriptors (Windows' SOCKETs have 32 significant bits). codes: NULL, or count results by
 * index, each 0 or a Winsock code made negative. first: NULL, or the status of the first failure.
 * Returns the number of sockets that could not be secured.
 */
size_t wsasec_secure_many(const int32_t *sockets, size_t count, const void *settings, uint32_t settings_len,
                          int32_t *codes, wsasec_status *first);

/*
 * The same for sockets that other programs handed over, as the key daemon has them: those of another network namespace
 * than the socket `here` are left as they are, with WSAEACCES. codes and first may not be NULL.
 */
size_t wsasec_secure_received(wsasec_socket here, const int32_t *sockets, size_t count, const void *settings,
                              uint32_t settings_len, int32_t *codes, wsasec_status *first);

/* Linux: what carries the packets of a profile's sockets. */
enum wsasec_carrier {
    WSASEC_CARRIER_POLICY = 0, /* the kernel's own IPsec, by a policy of each socket */
    WSASEC_CARRIER_DEVICE = 1, /* the secure device ws<reqid>, which each socket is bound to */
    WSASEC_CARRIER_AUTO = 2    /* the kernel's own where it has ESP, else the device: see wsasec_carrier_auto() */
};

/* What a policy key, or the default policy, stands for. */
typedef struct wsasec_profile {
    char name[64];       /* UTF-8, ends in a zero */
    wsasec_guid guid;    /* named by AuthipQMPolicyKey */
    uint32_t reqid;      /* of the templates; only SAs with it protect the profile's sockets */
    uint32_t mark;       /* of the guard, within mask */
    uint32_t mask;
    uint32_t encrypting; /* 0: SAs of this profile may be integrity-only */
    uint32_t protocol;   /* of its SAs: 50 (ESP; so is 0), or 51 (AH), which does not encrypt */
    uint32_t carrier;    /* enum wsasec_carrier; on a device all is encrypted, by ESP */
} wsasec_profile;

#define WSASEC_PROFILES_MAX 256

/*
 * Replaces the profiles for sockets secured from now on; until the first call there is one, the built-in
 * default. Returns 0, or -WSAEINVAL: no profile or too many, a default out of range, an unterminated name, a
 * zero GUID, reqid, mark or mask, a mark outside its mask, another protocol, or AH that is to encrypt, another carrier,
 * or one but WSASEC_CARRIER_POLICY for a profile that is AH's or may be integrity-only, two profiles that could not be
 * told apart; or
 * -WSAENOBUFS: no memory, or more than 65,000 different profiles in the life of the process.
 */
int32_t wsasec_profiles_set(const wsasec_profile *profiles, size_t count, size_t default_index);

/* The profile of a number (wsasec_status.profile); NULL if there is none. Valid for the life of the process. */
const wsasec_profile *wsasec_profile_at(uint16_t number);

/* The built-in default. */
const wsasec_profile *wsasec_profile_builtin(void);

/*
 * Which carrier WSASEC_CARRIER_AUTO is here: WSASEC_CARRIER_POLICY or _DEVICE, found out once in the life of the process,
 * or an error: -WSAEACCES without CAP_NET_ADMIN. Windows: WSASEC_CARRIER_POLICY, the system's own IPsec.
 */
int32_t wsasec_carrier_auto(wsasec_status *status);

/* The profile that sockets get by these settings; NULL if there is something wrong with them. */
const wsasec_profile *wsasec_settings_profile(const void *settings, uint32_t settings_len);

/* The profile this process secured the socket with, or NULL. */
const wsasec_profile *wsasec_profile_of(wsasec_socket socket);

/*
 * The system calls of wsasec_set_socket_security() as data, for libraries that take socket options instead of
 * sockets. Valid for new sockets of one family only; the guard is put up in the calling thread's network
 * namespace. Linux; elsewhere WSAEOPNOTSUPP.
 */
typedef struct wsasec_option {
    int32_t level;
    int32_t name;
    uint32_t length; /* of value, in bytes */
    uint32_t step;   /* enum wsasec_step */
    uint8_t value[240];
} wsasec_option;

#define WSASEC_OPTIONS_MAX 8

/* address_family: the system's AF_INET or AF_INET6. Returns 0 with *count options, or an error as above. */
int32_t wsasec_socket_options(int address_family, const void *settings, uint32_t settings_len,
                              wsasec_option options[WSASEC_OPTIONS_MAX], size_t *count, wsasec_status *status);

/*
 * Linux: a program without CAP_NET_ADMIN has its sockets secured by the key daemon of its network namespace, where there
 * is one. The process that calls this is that daemon, and asks nobody.
 */
void wsasec_be_broker(void);

/* State of one profile's guard for one family in the calling thread's network namespace; changes nothing. */
enum wsasec_guard_state {
    WSASEC_GUARD_UP = 0,
    WSASEC_GUARD_POLICY_MISSING = 1,
    WSASEC_GUARD_POLICY_FOREIGN = 2, /* another has its mark, or comes before it */
    WSASEC_GUARD_REFLECT_OFF = 4,
    WSASEC_GUARD_SA_UNMARKED = 8,
    /* Of profiles that a device carries; then of the others WSASEC_GUARD_REFLECT_OFF only. */
    WSASEC_GUARD_DEVICE_MISSING = 16,
    WSASEC_GUARD_DEVICE_DOWN = 32,
    WSASEC_GUARD_DEVICE_UNVOUCHED = 64, /* nobody says of it that all around it is in force */
    WSASEC_GUARD_DEVICE_OTHER = 128,    /* it is another profile's, or no secure device */
    WSASEC_GUARD_DEVICE_RULES = 256     /* the rules of nftables have changed since */
};

/* guid: of a profile in use; NULL for the default. Returns a sum of enum wsasec_guard_state, or an error. */
int32_t wsasec_guard_state(int address_family, const wsasec_guid *guid, wsasec_status *status);

/*
 * Closes the descriptors that are kept for each network namespace sockets were secured in (at most four
 * namespaces, which they keep alive), and the connections to key daemons. They are opened anew when they are
 * needed; nothing in force changes.
 */
void wsasec_release_namespaces(void);

/* What the kernel can do, asked of the kernel itself in the calling thread's network namespace. */
enum wsasec_capability {
    WSASEC_CAPABILITY_SOCKET_POLICY = 1,
    WSASEC_CAPABILITY_ESP4,
    WSASEC_CAPABILITY_ESP6,
    WSASEC_CAPABILITY_AH4,
    WSASEC_CAPABILITY_AH6,
    WSASEC_CAPABILITY_AES_GCM /* as an algorithm; ESP4 and ESP6 say whether it can be used */
};

/* Returns 1 (yes), 0 (no), or an error. */
int32_t wsasec_capability(unsigned capability, wsasec_status *status);

/* Overwrites memory that had secrets, such as settings with a password; no compiler leaves that out. */
void wsasec_wipe(void *memory, size_t length);

/*
 * What there is to say of the calling thread's last failure besides its reason, in UTF-8; or empty. It is of use after
 * a failure with WSASEC_STATUS_DETAIL, until the thread calls another function of this library.
 */
const char *wsasec_detail(void);

/* What a call returns for a reason: a Winsock code made negative; 0 for none. */
int32_t wsasec_reason_code(unsigned reason);

/* English, without a final full stop; never NULL. */
const char *wsasec_reason_text(unsigned reason);
const char *wsasec_reason_hint(unsigned reason);
const char *wsasec_step_text(unsigned step);

#ifdef __cplusplus
}
#endif
#endif
