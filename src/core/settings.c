/* SPDX-License-Identifier: Apache-2.0 */
/* The settings buffer of WSASetSocketSecurity: any length, any bytes, at any address. */
#include "settings.h"

#include <string.h>

#include "profiles.h"
#include "sockets.h"

enum {
    KNOWN_SECURITY_FLAGS = WSASEC_SOCKET_SETTINGS_GUARANTEE_ENCRYPTION | WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE,
    KNOWN_IPSEC_FLAGS = WSASEC_SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION |
                        WSASEC_SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION |
                        WSASEC_SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED |
                        WSASEC_SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT
};

static const wsasec_guid no_guid;

static int guid_equal(const wsasec_guid *a, const wsasec_guid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* The members up to AllStrings are copied: the caller's buffer need not be aligned. */
static uint16_t read_buffer(const void *settings, uint32_t len, wsasec_socket_security_settings_ipsec *out)
{
    memset(out, 0, sizeof *out);
    if (!settings)
        return len ? WSASEC_REASON_NULL_WITH_LENGTH : WSASEC_REASON_NONE;
    if (len < sizeof(wsasec_socket_security_settings))
        return WSASEC_REASON_SETTINGS_TOO_SHORT;
    memcpy(out, settings, sizeof(wsasec_socket_security_settings));
    if (out->SecurityProtocol != WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC)
        return WSASEC_REASON_NONE;
    if (len < sizeof *out)
        return WSASEC_REASON_SETTINGS_TOO_SHORT;
    memcpy(out, settings, offsetof(wsasec_socket_security_settings_ipsec, AllStrings));
    if ((uint64_t)out->UserNameStringLen + out->DomainNameStringLen + out->PasswordStringLen >
        len - offsetof(wsasec_socket_security_settings_ipsec, AllStrings))
        return WSASEC_REASON_STRINGS_TOO_LONG;
    return WSASEC_REASON_NONE;
}

static uint16_t check_members(const wsasec_socket_security_settings_ipsec *in, uint32_t len)
{
    if (in->SecurityProtocol == WSASEC_SOCKET_SECURITY_PROTOCOL_DEFAULT) {
        if (len > sizeof(wsasec_socket_security_settings))
            return WSASEC_REASON_LENGTH_OF_DEFAULT;
    } else if (in->SecurityProtocol != WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC) {
        return WSASEC_REASON_PROTOCOL;
    }
    if (in->SecurityFlags & ~(uint32_t)KNOWN_SECURITY_FLAGS)
        return WSASEC_REASON_SECURITY_FLAGS;
    if (in->IpsecFlags & ~(uint32_t)KNOWN_IPSEC_FLAGS)
        return WSASEC_REASON_IPSEC_FLAGS;
    if (!guid_equal(&in->Reserved, &no_guid) || in->Reserved2)
        return WSASEC_REASON_RESERVED;
    if ((in->UserNameStringLen | in->DomainNameStringLen | in->PasswordStringLen) & 1)
        return WSASEC_REASON_STRING_LENGTH;
    return WSASEC_REASON_NONE;
}

static uint16_t choose_profile(const wsasec_socket_security_settings_ipsec *in, struct wsasec_request *request)
{
    const wsasec_guid *key = guid_equal(&in->AuthipQMPolicyKey, &no_guid) ? NULL : &in->AuthipQMPolicyKey;

    if (!wsasec_backend_has_profiles()) {
        request->profile = wsasec_profile_find(NULL, &request->profile_number);
        return WSASEC_REASON_NONE;
    }
    request->profile = wsasec_profile_find(key, &request->profile_number);
    if (!request->profile)
        return WSASEC_REASON_QM_POLICY;
    if (!guid_equal(&in->AuthipMMPolicyKey, &no_guid) &&
        !guid_equal(&in->AuthipMMPolicyKey, &request->profile->guid))
        return WSASEC_REASON_MM_POLICY;
    if (in->SecurityFlags & WSASEC_SOCKET_SETTINGS_GUARANTEE_ENCRYPTION && !request->profile->encrypting)
        return WSASEC_REASON_NOT_ENCRYPTING;
    return WSASEC_REASON_NONE;
}

void wsasec_settings_read(const void *settings, uint32_t settings_len, struct wsasec_request *request)
{
    wsasec_socket_security_settings_ipsec in;

    memset(request, 0, sizeof *request);
    request->settings = settings;
    request->settings_len = settings_len;
    request->required = 1;
    request->buffer_reason = read_buffer(settings, settings_len, &in);
    if (request->buffer_reason)
        return;
    request->member_reason = check_members(&in, settings_len);
    if (request->member_reason)
        return;
    request->member_reason = choose_profile(&in, request);
    if (request->member_reason)
        return;
    /* GUARANTEE_ENCRYPTION promises that nothing is sent otherwise: beside it ALLOW_INSECURE allows nothing. */
    if ((in.SecurityFlags & KNOWN_SECURITY_FLAGS) == WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE &&
        wsasec_backend_falls_back(request->profile))
        request->required = 0;
    request->skip = (in.IpsecFlags & WSASEC_SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION) != 0;
    if (in.IpsecFlags & WSASEC_SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT)
        request->notes |= WSASEC_NOTE_NAMES_RAW;
    if (in.IpsecFlags & WSASEC_SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION)
        request->notes |= WSASEC_NOTE_NAMES_OPTIONAL;
    request->unasked = wsasec_backend_checks_sockets() != 0;
}

const wsasec_profile *wsasec_settings_profile(const void *settings, uint32_t settings_len)
{
    struct wsasec_request request;

    wsasec_settings_read(settings, settings_len, &request);
    return request.buffer_reason || request.member_reason ? NULL : request.profile;
}
