/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structures, enumerations, flags and codes of the Winsock Secure Socket Extensions, with types of fixed
 * width: the same bytes on Windows (x64) and on Linux.
 *
 * Source: Microsoft's documentation of mstcpip.h and ws2tcpip.h. The names are Microsoft's in lower case
 * with the prefix wsasec_ (structures) or WSASEC_ (constants), so that this header and the Windows SDK's
 * can be included together.
 *
 * Strings are UTF-16 code units without a terminator; their lengths are in bytes. A string's bytes may
 * begin at any offset: read them with memcpy.
 */
#ifndef WSASEC_TYPES_H
#define WSASEC_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define WSASEC_ASSERT_(condition, text) static_assert(condition, text)
#define WSASEC_ALIGN8_ alignas(8)
extern "C" {
#else
#define WSASEC_ASSERT_(condition, text) _Static_assert(condition, text)
#define WSASEC_ALIGN8_ _Alignas(8)
#endif

#define WSASEC_SIZE_(type, size) WSASEC_ASSERT_(sizeof(type) == (size), "size of " #type)
#define WSASEC_OFFSET_(type, member, offset)                                                                 \
    WSASEC_ASSERT_(offsetof(type, member) == (offset), "offset of " #type "." #member)

/* GUID: the first three members are little-endian on both systems. */
typedef struct wsasec_guid {
    uint32_t data1;
    uint16_t data2;
    uint16_t data3;
    uint8_t data4[8];
} wsasec_guid;
WSASEC_SIZE_(wsasec_guid, 16);

/* SOCKADDR_STORAGE: as the system defines it, so with the system's own number for AF_INET6. */
typedef struct wsasec_sockaddr_storage {
    WSASEC_ALIGN8_ uint16_t family;
    uint8_t data[126];
} wsasec_sockaddr_storage;
WSASEC_SIZE_(wsasec_sockaddr_storage, 128);

/* enum SOCKET_SECURITY_PROTOCOL; held in 32-bit members. */
enum wsasec_socket_security_protocol {
    WSASEC_SOCKET_SECURITY_PROTOCOL_DEFAULT = 0,
    WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC = 1,
    WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2 = 2, /* queries only; Windows 7 and later */
    WSASEC_SOCKET_SECURITY_PROTOCOL_INVALID = 3
};

/* SecurityFlags */
#define WSASEC_SOCKET_SETTINGS_GUARANTEE_ENCRYPTION UINT32_C(0x1)
#define WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE UINT32_C(0x2)

/* IpsecFlags */
#define WSASEC_SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION UINT32_C(0x1)
#define WSASEC_SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION UINT32_C(0x2)
#define WSASEC_SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED UINT32_C(0x4)
#define WSASEC_SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT UINT32_C(0x8)

/* SOCKET_SECURITY_QUERY_INFO.Flags */
#define WSASEC_SOCKET_INFO_CONNECTION_SECURED UINT32_C(0x1)
#define WSASEC_SOCKET_INFO_CONNECTION_ENCRYPTED UINT32_C(0x2)
#define WSASEC_SOCKET_INFO_CONNECTION_IMPERSONATED UINT32_C(0x4)

/* SOCKET_SECURITY_QUERY_TEMPLATE_IPSEC2.Flags and .FieldMask */
#define WSASEC_SOCKET_QUERY_IPSEC2_ABORT_CONNECTION_ON_FIELD_CHANGE UINT32_C(0x1)
#define WSASEC_SOCKET_QUERY_IPSEC2_FIELD_MASK_MM_SA_ID UINT32_C(0x1)
#define WSASEC_SOCKET_QUERY_IPSEC2_FIELD_MASK_QM_SA_ID UINT32_C(0x2)

typedef struct wsasec_socket_security_settings {
    uint32_t SecurityProtocol;
    uint32_t SecurityFlags;
} wsasec_socket_security_settings;
WSASEC_SIZE_(wsasec_socket_security_settings, 8);
WSASEC_OFFSET_(wsasec_socket_security_settings, SecurityProtocol, 0);
WSASEC_OFFSET_(wsasec_socket_security_settings, SecurityFlags, 4);

typedef struct wsasec_socket_security_settings_ipsec {
    uint32_t SecurityProtocol;
    uint32_t SecurityFlags;
    uint32_t IpsecFlags;
    wsasec_guid AuthipMMPolicyKey;
    wsasec_guid AuthipQMPolicyKey;
    wsasec_guid Reserved;
    WSASEC_ALIGN8_ uint64_t Reserved2;
    uint32_t UserNameStringLen;
    uint32_t DomainNameStringLen;
    uint32_t PasswordStringLen;
    uint16_t AllStrings[2]; /* user name, domain name, password, one after the other; they may go on past the structure */
} wsasec_socket_security_settings_ipsec;
WSASEC_SIZE_(wsasec_socket_security_settings_ipsec, 88);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, SecurityProtocol, 0);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, SecurityFlags, 4);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, IpsecFlags, 8);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, AuthipMMPolicyKey, 12);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, AuthipQMPolicyKey, 28);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, Reserved, 44);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, Reserved2, 64);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, UserNameStringLen, 72);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, DomainNameStringLen, 76);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, PasswordStringLen, 80);
WSASEC_OFFSET_(wsasec_socket_security_settings_ipsec, AllStrings, 84);

typedef struct wsasec_socket_peer_target_name {
    uint32_t SecurityProtocol;
    wsasec_sockaddr_storage PeerAddress;
    uint32_t PeerTargetNameStringLen;
    uint16_t AllStrings[2]; /* the name; it may go on past the structure */
} wsasec_socket_peer_target_name;
WSASEC_SIZE_(wsasec_socket_peer_target_name, 144);
WSASEC_OFFSET_(wsasec_socket_peer_target_name, SecurityProtocol, 0);
WSASEC_OFFSET_(wsasec_socket_peer_target_name, PeerAddress, 8);
WSASEC_OFFSET_(wsasec_socket_peer_target_name, PeerTargetNameStringLen, 136);
WSASEC_OFFSET_(wsasec_socket_peer_target_name, AllStrings, 140);

typedef struct wsasec_socket_security_query_template {
    uint32_t SecurityProtocol;
    wsasec_sockaddr_storage PeerAddress;
    uint32_t PeerTokenAccessMask;
} wsasec_socket_security_query_template;
WSASEC_SIZE_(wsasec_socket_security_query_template, 144);
WSASEC_OFFSET_(wsasec_socket_security_query_template, SecurityProtocol, 0);
WSASEC_OFFSET_(wsasec_socket_security_query_template, PeerAddress, 8);
WSASEC_OFFSET_(wsasec_socket_security_query_template, PeerTokenAccessMask, 136);

typedef struct wsasec_socket_security_query_info {
    uint32_t SecurityProtocol;
    uint32_t Flags;
    uint64_t PeerApplicationAccessTokenHandle;
    uint64_t PeerMachineAccessTokenHandle;
} wsasec_socket_security_query_info;
WSASEC_SIZE_(wsasec_socket_security_query_info, 24);
WSASEC_OFFSET_(wsasec_socket_security_query_info, SecurityProtocol, 0);
WSASEC_OFFSET_(wsasec_socket_security_query_info, Flags, 4);
WSASEC_OFFSET_(wsasec_socket_security_query_info, PeerApplicationAccessTokenHandle, 8);
WSASEC_OFFSET_(wsasec_socket_security_query_info, PeerMachineAccessTokenHandle, 16);

typedef struct wsasec_socket_security_query_template_ipsec2 {
    uint32_t SecurityProtocol;
    wsasec_sockaddr_storage PeerAddress;
    uint32_t PeerTokenAccessMask;
    uint32_t Flags;
    uint32_t FieldMask;
} wsasec_socket_security_query_template_ipsec2;
WSASEC_SIZE_(wsasec_socket_security_query_template_ipsec2, 152);
WSASEC_OFFSET_(wsasec_socket_security_query_template_ipsec2, SecurityProtocol, 0);
WSASEC_OFFSET_(wsasec_socket_security_query_template_ipsec2, PeerAddress, 8);
WSASEC_OFFSET_(wsasec_socket_security_query_template_ipsec2, PeerTokenAccessMask, 136);
WSASEC_OFFSET_(wsasec_socket_security_query_template_ipsec2, Flags, 140);
WSASEC_OFFSET_(wsasec_socket_security_query_template_ipsec2, FieldMask, 144);

typedef struct wsasec_socket_security_query_info_ipsec2 {
    uint32_t SecurityProtocol;
    uint32_t Flags;
    uint64_t PeerApplicationAccessTokenHandle;
    uint64_t PeerMachineAccessTokenHandle;
    uint64_t MmSaId;
    uint64_t QmSaId;
    uint32_t NegotiationWinerr;
    wsasec_guid SaLookupContext;
} wsasec_socket_security_query_info_ipsec2;
WSASEC_SIZE_(wsasec_socket_security_query_info_ipsec2, 64);
WSASEC_OFFSET_(wsasec_socket_security_query_info_ipsec2, SecurityProtocol, 0);
WSASEC_OFFSET_(wsasec_socket_security_query_info_ipsec2, Flags, 4);
WSASEC_OFFSET_(wsasec_socket_security_query_info_ipsec2, PeerApplicationAccessTokenHandle, 8);
WSASEC_OFFSET_(wsasec_socket_security_query_info_ipsec2, PeerMachineAccessTokenHandle, 16);
WSASEC_OFFSET_(wsasec_socket_security_query_info_ipsec2, MmSaId, 24);
WSASEC_OFFSET_(wsasec_socket_security_query_info_ipsec2, QmSaId, 32);
WSASEC_OFFSET_(wsasec_socket_security_query_info_ipsec2, NegotiationWinerr, 40);
WSASEC_OFFSET_(wsasec_socket_security_query_info_ipsec2, SaLookupContext, 44);

/* Winsock's error codes (winsock2.h). Functions here return them negative. */
enum wsasec_winsock_code {
    WSASEC_WSA_IO_PENDING = 997,
    WSASEC_WSAEACCES = 10013,
    WSASEC_WSAEFAULT = 10014,
    WSASEC_WSAEINVAL = 10022,
    WSASEC_WSAEMFILE = 10024,
    WSASEC_WSAEWOULDBLOCK = 10035,
    WSASEC_WSAENOTSOCK = 10038,
    WSASEC_WSAEMSGSIZE = 10040,
    WSASEC_WSAEPROTONOSUPPORT = 10043,
    WSASEC_WSAEOPNOTSUPP = 10045,
    WSASEC_WSAEAFNOSUPPORT = 10047,
    WSASEC_WSAEADDRINUSE = 10048,
    WSASEC_WSAEADDRNOTAVAIL = 10049,
    WSASEC_WSAENETDOWN = 10050,
    WSASEC_WSAENETUNREACH = 10051,
    WSASEC_WSAECONNRESET = 10054,
    WSASEC_WSAENOBUFS = 10055,
    WSASEC_WSAEISCONN = 10056,
    WSASEC_WSAENOTCONN = 10057,
    WSASEC_WSAETIMEDOUT = 10060,
    WSASEC_WSAECONNREFUSED = 10061,
    WSASEC_WSAEHOSTUNREACH = 10065,
    WSASEC_WSANOTINITIALISED = 10093
};

#ifdef __cplusplus
}
#endif
#endif
