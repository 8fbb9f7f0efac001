/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about the Windows Filtering Platform share. */
#ifndef WSASEC_WINDOWS_WFP_H
#define WSASEC_WINDOWS_WFP_H

#include <winsock2.h>

#include <fwpmu.h>

#include "wsasec_policy.h"

/* Found once, then called by pointer. Those that end in 1 came with Windows 7, and know IKEv2. */
struct wsasec_wfp {
    DWORD(WINAPI *engine_open)(const wchar_t *, UINT32, SEC_WINNT_AUTH_IDENTITY_W *, const FWPM_SESSION0 *, HANDLE *);
    DWORD(WINAPI *engine_close)(HANDLE);
    void(WINAPI *free_memory)(void **);
    DWORD(WINAPI *context_add)(HANDLE, const FWPM_PROVIDER_CONTEXT1 *, PSECURITY_DESCRIPTOR, UINT64 *);
    DWORD(WINAPI *context_delete)(HANDLE, const GUID *);
    DWORD(WINAPI *context_create_enum)(HANDLE, const FWPM_PROVIDER_CONTEXT_ENUM_TEMPLATE0 *, HANDLE *);
    DWORD(WINAPI *context_enum)(HANDLE, HANDLE, UINT32, FWPM_PROVIDER_CONTEXT1 ***, UINT32 *);
    DWORD(WINAPI *context_destroy_enum)(HANDLE, HANDLE);
    DWORD(WINAPI *association_create_enum)(HANDLE, const IPSEC_SA_CONTEXT_ENUM_TEMPLATE0 *, HANDLE *);
    DWORD(WINAPI *association_enum)(HANDLE, HANDLE, UINT32, IPSEC_SA_CONTEXT1 ***, UINT32 *);
    DWORD(WINAPI *association_destroy_enum)(HANDLE, HANDLE);
    DWORD(WINAPI *ike_get)(HANDLE, UINT64, GUID *, IKEEXT_SA_DETAILS1 **);
};

/* NULL, with the status filled in, where one of them cannot be had. */
const struct wsasec_wfp *wsasec_wfp_get(wsasec_status *status);

struct wsasec_policy_session {
    const struct wsasec_wfp *wfp;
    HANDLE engine;
};

/* So many are fetched at a time. */
enum { WSASEC_WFP_PAGE = 64 };

/* As wsasec_fail(), with the reason that a code of WFP stands for, which goes into the status unchanged. */
int32_t wsasec_wfp_fail(wsasec_status *status, unsigned step, DWORD error);

/* Between this library's numbers and the system's. */
IPSEC_PFS_GROUP wsasec_wfp_pfs(uint32_t group);
uint32_t wsasec_wfp_group_of_pfs(IPSEC_PFS_GROUP group);

void wsasec_wfp_ike_proposal(const wsasec_proposal *from, IKEEXT_PROPOSAL0 *to);
void wsasec_wfp_ike_proposal_of(const IKEEXT_PROPOSAL0 *from, wsasec_proposal *to);

/* details: what the transform is to point to, as long as it lives. Returns 0 where there is no such transform. */
int wsasec_wfp_transform(const wsasec_transform *from, IPSEC_SA_TRANSFORM0 *to,
                         IPSEC_AUTH_AND_CIPHER_TRANSFORM0 *details);
/* auth, cipher: NULL where the type has none. */
void wsasec_wfp_transform_of(IPSEC_TRANSFORM_TYPE type, const IPSEC_AUTH_TRANSFORM0 *auth,
                             const IPSEC_CIPHER_TRANSFORM0 *cipher, wsasec_transform *to);

void wsasec_wfp_authentication(const wsasec_authentication *from, IKEEXT_AUTHENTICATION_METHOD1 *to);
void wsasec_wfp_authentication_of(const IKEEXT_AUTHENTICATION_METHOD1 *from, wsasec_authentication *to);

/* Whether a policy of this kind is of a main mode: all those are IKEEXT_POLICY1. */
static inline int wsasec_wfp_is_main(uint32_t kind)
{
    return kind == WSASEC_POLICY_IKE_MAIN || kind == WSASEC_POLICY_AUTHIP_MAIN || kind == WSASEC_POLICY_IKEV2_MAIN;
}

/* WFP has IPv4 addresses as numbers, IPv6 addresses as bytes. Returns 4 or 6, or 0 for neither. */
uint8_t wsasec_wfp_address_of(FWP_IP_VERSION version, UINT32 v4, const UINT8 *v6, uint8_t address[16]);

/* Both are the same bytes. */
static inline GUID wsasec_wfp_guid(const wsasec_guid *from)
{
    GUID to;

    memcpy(&to, from, sizeof to);
    return to;
}

static inline wsasec_guid wsasec_wfp_guid_of(const GUID *from)
{
    wsasec_guid to;

    memcpy(&to, from, sizeof to);
    return to;
}

_Static_assert(sizeof(GUID) == sizeof(wsasec_guid), "a GUID is a GUID");
_Static_assert(sizeof(wchar_t) == sizeof(uint16_t), "UTF-16");

#endif
