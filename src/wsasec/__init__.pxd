# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# For `from wsasec cimport ...`. Call import_wsasec() once, at the top of the module; wsasec.h and wsasec_batch.h, in
# the folder that wsasec.get_include() names, say what the functions do.

from libc.stdint cimport int32_t, intptr_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "wsasec_capi.h":
    int import_wsasec() except -1


cdef extern from "wsasec_capi.h" nogil:
    ctypedef intptr_t wsasec_socket

    ctypedef struct wsasec_guid:
        uint32_t data1
        uint16_t data2
        uint16_t data3
        uint8_t data4[8]

    ctypedef struct wsasec_sockaddr_storage:
        uint16_t family
        uint8_t data[126]

    ctypedef struct wsasec_socket_security_settings:
        uint32_t SecurityProtocol
        uint32_t SecurityFlags

    ctypedef struct wsasec_socket_security_settings_ipsec:
        uint32_t SecurityProtocol
        uint32_t SecurityFlags
        uint32_t IpsecFlags
        wsasec_guid AuthipMMPolicyKey
        wsasec_guid AuthipQMPolicyKey
        wsasec_guid Reserved
        uint64_t Reserved2
        uint32_t UserNameStringLen
        uint32_t DomainNameStringLen
        uint32_t PasswordStringLen
        uint16_t AllStrings[2]

    ctypedef struct wsasec_socket_peer_target_name:
        uint32_t SecurityProtocol
        wsasec_sockaddr_storage PeerAddress
        uint32_t PeerTargetNameStringLen
        uint16_t AllStrings[2]

    ctypedef struct wsasec_socket_security_query_template:
        uint32_t SecurityProtocol
        wsasec_sockaddr_storage PeerAddress
        uint32_t PeerTokenAccessMask

    ctypedef struct wsasec_socket_security_query_info:
        uint32_t SecurityProtocol
        uint32_t Flags
        uint64_t PeerApplicationAccessTokenHandle
        uint64_t PeerMachineAccessTokenHandle

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
        uint32_t reqid
        char encryption[64]
        char integrity[64]
        char identity[1024]
        char own[1024]
        char profile[64]
        uint32_t certificate_len
        uint8_t certificate[8188]

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

    ctypedef struct wsasec_job:
        pass

    enum:
        WSASEC_SOCKET_SECURITY_PROTOCOL_DEFAULT
        WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC
        WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2
        WSASEC_SOCKET_SECURITY_PROTOCOL_INVALID
        WSASEC_SOCKET_SETTINGS_GUARANTEE_ENCRYPTION
        WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE
        WSASEC_SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION
        WSASEC_SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION
        WSASEC_SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED
        WSASEC_SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT
        WSASEC_SOCKET_INFO_CONNECTION_SECURED
        WSASEC_SOCKET_INFO_CONNECTION_ENCRYPTED
        WSASEC_SOCKET_INFO_CONNECTION_IMPERSONATED
        WSASEC_SOCKET_QUERY_IPSEC2_ABORT_CONNECTION_ON_FIELD_CHANGE
        WSASEC_SOCKET_QUERY_IPSEC2_FIELD_MASK_MM_SA_ID
        WSASEC_SOCKET_QUERY_IPSEC2_FIELD_MASK_QM_SA_ID
        WSASEC_WSA_IO_PENDING
        WSASEC_WSAEACCES
        WSASEC_WSAEFAULT
        WSASEC_WSAEINVAL
        WSASEC_WSAEMFILE
        WSASEC_WSAEWOULDBLOCK
        WSASEC_WSAENOTSOCK
        WSASEC_WSAEMSGSIZE
        WSASEC_WSAEPROTONOSUPPORT
        WSASEC_WSAEOPNOTSUPP
        WSASEC_WSAEAFNOSUPPORT
        WSASEC_WSAEADDRINUSE
        WSASEC_WSAEADDRNOTAVAIL
        WSASEC_WSAENETDOWN
        WSASEC_WSAENETUNREACH
        WSASEC_WSAECONNRESET
        WSASEC_WSAENOBUFS
        WSASEC_WSAEISCONN
        WSASEC_WSAENOTCONN
        WSASEC_WSAETIMEDOUT
        WSASEC_WSAECONNREFUSED
        WSASEC_WSAEHOSTUNREACH
        WSASEC_WSANOTINITIALISED
        WSASEC_STEP_NONE
        WSASEC_STEP_DESCRIPTOR
        WSASEC_STEP_BUFFER
        WSASEC_STEP_KIND
        WSASEC_STEP_STATE
        WSASEC_STEP_SETTINGS
        WSASEC_STEP_EXCLUSIVE
        WSASEC_STEP_V6ONLY
        WSASEC_STEP_GUARD
        WSASEC_STEP_POLICY_OUT
        WSASEC_STEP_POLICY_IN
        WSASEC_STEP_MARK
        WSASEC_STEP_CREATE
        WSASEC_STEP_OPTIONS
        WSASEC_STEP_BIND
        WSASEC_STEP_CONNECT
        WSASEC_STEP_ACCEPT
        WSASEC_STEP_LISTENER
        WSASEC_STEP_LIBRARY
        WSASEC_STEP_SECURE
        WSASEC_STEP_QUERY
        WSASEC_STEP_SET_NAME
        WSASEC_STEP_DELETE_NAME
        WSASEC_STEP_IMPERSONATE
        WSASEC_STEP_REVERT
        WSASEC_STEP_ENGINE
        WSASEC_STEP_POLICY_ADD
        WSASEC_STEP_POLICY_DELETE
        WSASEC_STEP_POLICY_LIST
        WSASEC_STEP_ASSOCIATIONS
        WSASEC_STEP_IKE_ASSOCIATION
        WSASEC_STEP_DAEMON
        WSASEC_STEP_NEGOTIATE
        WSASEC_STEP_DEVICE
        WSASEC_REASON_NONE
        WSASEC_REASON_NOT_A_SOCKET
        WSASEC_REASON_NULL_WITH_LENGTH
        WSASEC_REASON_NULL_POINTER
        WSASEC_REASON_SETTINGS_TOO_SHORT
        WSASEC_REASON_STRINGS_TOO_LONG
        WSASEC_REASON_BUFFER_TOO_SHORT
        WSASEC_REASON_FAMILY
        WSASEC_REASON_TYPE
        WSASEC_REASON_FAMILY_UNSUPPORTED
        WSASEC_REASON_CONNECTED
        WSASEC_REASON_LISTENING
        WSASEC_REASON_BOUND
        WSASEC_REASON_ALREADY_SECURED
        WSASEC_REASON_FAILED_BEFORE
        WSASEC_REASON_PROTOCOL
        WSASEC_REASON_LENGTH_OF_DEFAULT
        WSASEC_REASON_SECURITY_FLAGS
        WSASEC_REASON_IPSEC_FLAGS
        WSASEC_REASON_RESERVED
        WSASEC_REASON_STRING_LENGTH
        WSASEC_REASON_QM_POLICY
        WSASEC_REASON_MM_POLICY
        WSASEC_REASON_NOT_ENCRYPTING
        WSASEC_REASON_PEER_ADDRESS
        WSASEC_REASON_NOT_IMPLEMENTED
        WSASEC_REASON_PRIVILEGE
        WSASEC_REASON_NO_XFRM
        WSASEC_REASON_NO_MEMORY
        WSASEC_REASON_NO_DESCRIPTORS
        WSASEC_REASON_NAMESPACE
        WSASEC_REASON_GUARD_POLICY_FOREIGN
        WSASEC_REASON_GUARD_POLICY_RIVAL
        WSASEC_REASON_GUARD_SYSCTL4
        WSASEC_REASON_GUARD_SYSCTL6
        WSASEC_REASON_GUARD_SA_UNMARKED
        WSASEC_REASON_SYSTEM
        WSASEC_REASON_SPECIFICATION
        WSASEC_REASON_METHOD
        WSASEC_REASON_ADDRESS_IN_USE
        WSASEC_REASON_ADDRESS_NOT_HERE
        WSASEC_REASON_FORBIDDEN
        WSASEC_REASON_PRIVILEGED_PORT
        WSASEC_REASON_URING_NOT_BUILT
        WSASEC_REASON_URING_DISABLED
        WSASEC_REASON_URING_FORBIDDEN
        WSASEC_REASON_URING_TOO_OLD
        WSASEC_REASON_URING_MEMORY
        WSASEC_REASON_NO_FILES
        WSASEC_REASON_WOULD_BLOCK
        WSASEC_REASON_NOT_LISTENING
        WSASEC_REASON_CONNECTION_GONE
        WSASEC_REASON_NOT_SECURED
        WSASEC_REASON_PORT_SHARED
        WSASEC_REASON_NO_THREADS
        WSASEC_REASON_NO_WINSOCK
        WSASEC_REASON_NO_LIBRARY
        WSASEC_REASON_NO_FUNCTION
        WSASEC_REASON_WINE
        WSASEC_REASON_PENDING
        WSASEC_REASON_REFUSED
        WSASEC_REASON_SERVICES
        WSASEC_REASON_TIMED_OUT
        WSASEC_REASON_ADMINISTRATOR
        WSASEC_REASON_ENGINE_DOWN
        WSASEC_REASON_ENGINE_BUSY
        WSASEC_REASON_NO_SUCH_POLICY
        WSASEC_REASON_POLICY_EXISTS
        WSASEC_REASON_POLICY_IN_USE
        WSASEC_REASON_POLICY_OF_OTHERS
        WSASEC_REASON_POLICY_VALUE
        WSASEC_REASON_NO_DAEMON
        WSASEC_REASON_DAEMON_SILENT
        WSASEC_REASON_DAEMON_ANSWER
        WSASEC_REASON_DAEMON_BUSY
        WSASEC_REASON_DAEMON_NAMESPACE
        WSASEC_REASON_NOT_ALLOWED
        WSASEC_REASON_NO_CHARON
        WSASEC_REASON_PEER_SILENT
        WSASEC_REASON_NO_PROPOSAL
        WSASEC_REASON_AUTHENTICATION
        WSASEC_REASON_OTHER_IDENTITY
        WSASEC_REASON_NOT_TRANSPORT
        WSASEC_REASON_NEGOTIATION
        WSASEC_REASON_UNREACHABLE
        WSASEC_REASON_NO_ASSOCIATION
        WSASEC_REASON_NOT_CONNECTED
        WSASEC_REASON_NO_IDENTITY
        WSASEC_REASON_NO_ACCOUNT
        WSASEC_REASON_NON_BLOCKING
        WSASEC_REASON_NAME_FORM
        WSASEC_REASON_NO_NAME
        WSASEC_REASON_TOKENS
        WSASEC_REASON_IMPERSONATING
        WSASEC_REASON_IDENTITY_PRIVILEGE
        WSASEC_REASON_NO_ABORT
        WSASEC_REASON_NO_DEVICE
        WSASEC_REASON_DEVICE_DOWN
        WSASEC_REASON_DEVICE_UNVOUCHED
        WSASEC_REASON_DEVICE_OTHER
        WSASEC_REASON_DEVICE_RULES
        WSASEC_REASON_DEVICE_REFLECT
        WSASEC_REASON_NO_NFTABLES
        WSASEC_STATUS_BLOCKED
        WSASEC_STATUS_STILL_OPEN
        WSASEC_STATUS_DETAIL
        WSASEC_PROFILES_MAX
        WSASEC_OPTIONS_MAX
        WSASEC_GUARD_UP
        WSASEC_GUARD_POLICY_MISSING
        WSASEC_GUARD_POLICY_FOREIGN
        WSASEC_GUARD_REFLECT_OFF
        WSASEC_GUARD_SA_UNMARKED
        WSASEC_GUARD_DEVICE_MISSING
        WSASEC_GUARD_DEVICE_DOWN
        WSASEC_GUARD_DEVICE_UNVOUCHED
        WSASEC_GUARD_DEVICE_OTHER
        WSASEC_GUARD_DEVICE_RULES
        WSASEC_CARRIER_POLICY
        WSASEC_CARRIER_DEVICE
        WSASEC_CARRIER_AUTO
        WSASEC_CAPABILITY_SOCKET_POLICY
        WSASEC_CAPABILITY_ESP4
        WSASEC_CAPABILITY_ESP6
        WSASEC_CAPABILITY_AH4
        WSASEC_CAPABILITY_AH6
        WSASEC_CAPABILITY_AES_GCM
        WSASEC_METHOD_AUTO
        WSASEC_METHOD_PLAIN
        WSASEC_METHOD_IO_URING
        WSASEC_METHOD_THREADS
        WSASEC_METHOD_OVERLAPPED
        WSASEC_THREADS_MAX
        WSASEC_NOT_TRIED
        WSASEC_BATCH_PLAIN
        WSASEC_BATCH_NODELAY
        WSASEC_KIND_SECURE
        WSASEC_KIND_CREATE

    int32_t wsasec_set_socket_security(wsasec_socket, const void *, uint32_t, void *, void *, wsasec_status *)
    int32_t wsasec_query_socket_security(wsasec_socket, const void *, uint32_t, void *, uint32_t *, void *, void *,
                                         wsasec_status *)
    int32_t wsasec_set_socket_peer_target_name(wsasec_socket, const void *, uint32_t, void *, void *, wsasec_status *)
    int32_t wsasec_delete_socket_peer_target_name(wsasec_socket, const void *, uint32_t, void *, void *,
                                                  wsasec_status *)
    int32_t wsasec_impersonate_socket_peer(wsasec_socket, const void *, uint32_t, wsasec_status *)
    int32_t wsasec_revert_impersonation(wsasec_status *)
    size_t wsasec_secure_many(const int32_t *, size_t, const void *, uint32_t, int32_t *, wsasec_status *)
    const wsasec_profile *wsasec_profile_at(uint16_t)
    const wsasec_profile *wsasec_profile_of(wsasec_socket)
    int32_t wsasec_socket_options(int, const void *, uint32_t, wsasec_option *, size_t *, wsasec_status *)
    int32_t wsasec_guard_state(int, const wsasec_guid *, wsasec_status *)
    int32_t wsasec_capability(unsigned, wsasec_status *)
    const char *wsasec_reason_text(unsigned)
    const char *wsasec_reason_hint(unsigned)
    const char *wsasec_step_text(unsigned)
    wsasec_job *wsasec_job_secure(const int32_t *, size_t, const void *, uint32_t, int32_t *, unsigned, unsigned,
                                  wsasec_status *)
    wsasec_job *wsasec_job_create(int32_t *, size_t, const wsasec_batch_spec *, int32_t *, int, unsigned, unsigned,
                                  wsasec_status *)
    int wsasec_job_run(wsasec_job *, uint64_t)
    size_t wsasec_job_done(const wsasec_job *)
    size_t wsasec_job_made(const wsasec_job *)
    size_t wsasec_job_end(wsasec_job *, wsasec_status *)
    void wsasec_close_many(int32_t *, size_t)
    int32_t wsasec_method_status(unsigned, wsasec_status *)
    uint32_t wsasec_method_cost(unsigned, unsigned)
    unsigned wsasec_method_best(unsigned)
    int32_t wsasec_close_token(uint64_t)
    void wsasec_wipe(void *, size_t)
    int32_t wsasec_overlapped_done(wsasec_socket, const void *, uint32_t, int32_t, wsasec_status *)
    int32_t wsasec_overlapped_error(wsasec_socket, void *)
    void wsasec_overlapped_cancel(wsasec_socket, void *)
    void wsasec_job_time_out(wsasec_job *)
    int32_t wsasec_negotiate(wsasec_socket, const void *, uint32_t, uint64_t, wsasec_status *)
    int32_t wsasec_association_of(wsasec_socket, const void *, uint32_t, wsasec_socket_association *, wsasec_status *)
    const char *wsasec_detail()
    int32_t wsasec_carrier_auto(wsasec_status *)
