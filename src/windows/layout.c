/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds the structures of wsasec_types.h against those that the compiler's own headers declare: no code. The two of
 * IPSEC2 are not among them, as MinGW's mstcpip.h has none.
 */
#include <stddef.h>

#include <winsock2.h>
#include <ws2tcpip.h>
#include <mstcpip.h>

#include "wsasec_types.h"

#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), "size of " #theirs)
#define SAME_PLACE(ours, theirs, member)                                                                               \
    _Static_assert(offsetof(ours, member) == offsetof(theirs, member) &&                                               \
                       sizeof(((ours *)0)->member) == sizeof(((theirs *)0)->member),                                   \
                   #theirs "." #member)
/* What goes on past the structure has no size there. */
#define SAME_BEGIN(ours, theirs, member)                                                                               \
    _Static_assert(offsetof(ours, member) == offsetof(theirs, member), #theirs "." #member)

_Static_assert(sizeof(void *) == 8, "Windows for 64 bits");
_Static_assert(sizeof(wchar_t) == sizeof(uint16_t), "UTF-16");

SAME_SIZE(wsasec_guid, GUID);
_Static_assert(offsetof(wsasec_guid, data4) == offsetof(GUID, Data4), "GUID.Data4");
SAME_SIZE(wsasec_sockaddr_storage, SOCKADDR_STORAGE);
_Static_assert(_Alignof(wsasec_sockaddr_storage) == _Alignof(SOCKADDR_STORAGE), "alignment of SOCKADDR_STORAGE");

SAME_SIZE(wsasec_socket_security_settings, SOCKET_SECURITY_SETTINGS);
SAME_PLACE(wsasec_socket_security_settings, SOCKET_SECURITY_SETTINGS, SecurityProtocol);
SAME_PLACE(wsasec_socket_security_settings, SOCKET_SECURITY_SETTINGS, SecurityFlags);

SAME_SIZE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, SecurityProtocol);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, SecurityFlags);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, IpsecFlags);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, AuthipMMPolicyKey);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, AuthipQMPolicyKey);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, Reserved);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, Reserved2);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, UserNameStringLen);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, DomainNameStringLen);
SAME_PLACE(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, PasswordStringLen);
SAME_BEGIN(wsasec_socket_security_settings_ipsec, SOCKET_SECURITY_SETTINGS_IPSEC, AllStrings);

SAME_SIZE(wsasec_socket_peer_target_name, SOCKET_PEER_TARGET_NAME);
SAME_PLACE(wsasec_socket_peer_target_name, SOCKET_PEER_TARGET_NAME, SecurityProtocol);
SAME_PLACE(wsasec_socket_peer_target_name, SOCKET_PEER_TARGET_NAME, PeerAddress);
SAME_PLACE(wsasec_socket_peer_target_name, SOCKET_PEER_TARGET_NAME, PeerTargetNameStringLen);
SAME_BEGIN(wsasec_socket_peer_target_name, SOCKET_PEER_TARGET_NAME, AllStrings);

SAME_SIZE(wsasec_socket_security_query_template, SOCKET_SECURITY_QUERY_TEMPLATE);
SAME_PLACE(wsasec_socket_security_query_template, SOCKET_SECURITY_QUERY_TEMPLATE, SecurityProtocol);
SAME_PLACE(wsasec_socket_security_query_template, SOCKET_SECURITY_QUERY_TEMPLATE, PeerAddress);
SAME_PLACE(wsasec_socket_security_query_template, SOCKET_SECURITY_QUERY_TEMPLATE, PeerTokenAccessMask);

SAME_SIZE(wsasec_socket_security_query_info, SOCKET_SECURITY_QUERY_INFO);
SAME_PLACE(wsasec_socket_security_query_info, SOCKET_SECURITY_QUERY_INFO, SecurityProtocol);
SAME_PLACE(wsasec_socket_security_query_info, SOCKET_SECURITY_QUERY_INFO, Flags);
SAME_PLACE(wsasec_socket_security_query_info, SOCKET_SECURITY_QUERY_INFO, PeerApplicationAccessTokenHandle);
SAME_PLACE(wsasec_socket_security_query_info, SOCKET_SECURITY_QUERY_INFO, PeerMachineAccessTokenHandle);

/* The header's numbers, which have the system's own names. */
_Static_assert((int)WSASEC_SOCKET_SECURITY_PROTOCOL_DEFAULT == (int)SOCKET_SECURITY_PROTOCOL_DEFAULT, "DEFAULT");
_Static_assert((int)WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC == (int)SOCKET_SECURITY_PROTOCOL_IPSEC, "IPSEC");
_Static_assert((int)WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2 == (int)SOCKET_SECURITY_PROTOCOL_IPSEC2, "IPSEC2");
_Static_assert(WSASEC_SOCKET_SETTINGS_GUARANTEE_ENCRYPTION == SOCKET_SETTINGS_GUARANTEE_ENCRYPTION, "flag");
_Static_assert(WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE == SOCKET_SETTINGS_ALLOW_INSECURE, "flag");
