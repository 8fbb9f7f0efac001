/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPsec policies for AuthipMMPolicyKey and AuthipQMPolicyKey, and the security associations that came of them. Windows:
 * provider contexts of the Windows Filtering Platform. On Linux all answer WSAEOPNOTSUPP: there
 * `wsasec.policy.Session` of Python asks the key daemon.
 *
 * Errors of all: WSAEACCES (not an administrator), WSAENETDOWN (the base filtering engine, BFE, does not run), WSAENOBUFS,
 * WSAETIMEDOUT, WSAEINVAL (the system does not take a value), WSAEOPNOTSUPP. status->os_error has the system's own code: a
 * Win32 error, or FWP_E_... of winerror.h with its upper bits.
 *
 * A session is not for two threads at once.
 */
#ifndef WSASEC_POLICY_H
#define WSASEC_POLICY_H

#include "wsasec.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The numbers below are this library's. A value of the system's that is none of them is reported as
 * WSASEC_POLICY_UNKNOWN plus the system's number, and taken back as such: for algorithms of quick modes that is
 * type * 256 + configuration (ipsectypes.h).
 */
#define WSASEC_POLICY_UNKNOWN UINT32_C(0x10000)

enum wsasec_encryption {
    WSASEC_ENCRYPTION_NONE = 0,
    WSASEC_ENCRYPTION_DES = 1,
    WSASEC_ENCRYPTION_TRIPLE_DES = 2,
    WSASEC_ENCRYPTION_AES_128 = 3, /* CBC */
    WSASEC_ENCRYPTION_AES_192 = 4,
    WSASEC_ENCRYPTION_AES_256 = 5,
    WSASEC_ENCRYPTION_AES_GCM_128 = 6, /* with its integrity */
    WSASEC_ENCRYPTION_AES_GCM_192 = 7,
    WSASEC_ENCRYPTION_AES_GCM_256 = 8,
    WSASEC_ENCRYPTION_COUNT
};

enum wsasec_integrity {
    WSASEC_INTEGRITY_NONE = 0, /* or that of AES-GCM */
    WSASEC_INTEGRITY_MD5 = 1,
    WSASEC_INTEGRITY_SHA1 = 2,
    WSASEC_INTEGRITY_SHA256 = 3,
    WSASEC_INTEGRITY_SHA384 = 4,
    WSASEC_INTEGRITY_AES_GMAC_128 = 5,
    WSASEC_INTEGRITY_AES_GMAC_192 = 6,
    WSASEC_INTEGRITY_AES_GMAC_256 = 7,
    WSASEC_INTEGRITY_COUNT
};

enum wsasec_group {
    WSASEC_GROUP_NONE = 0,
    WSASEC_GROUP_MODP_768 = 1,      /* group 1 of IANA's registry of key exchanges */
    WSASEC_GROUP_MODP_1024 = 2,     /* 2 */
    WSASEC_GROUP_MODP_2048 = 3,     /* 14 */
    WSASEC_GROUP_ECP_256 = 4,       /* 19 */
    WSASEC_GROUP_ECP_384 = 5,       /* 20 */
    WSASEC_GROUP_MODP_2048_256 = 6, /* 24 */
    WSASEC_GROUP_MAIN_MODE = 7,     /* quick mode only: a new main mode each time, with its group */
    WSASEC_GROUP_COUNT
};

enum wsasec_ipsec_protocol {
    WSASEC_PROTOCOL_IKE = 0, /* main mode */
    WSASEC_PROTOCOL_ESP = 1,
    WSASEC_PROTOCOL_AH = 2,
    WSASEC_PROTOCOL_ESP_FIRST_PACKET = 3, /* IPSEC_TRANSFORM_ESP_AUTH_FW: only the first packet is protected */
    WSASEC_PROTOCOL_COUNT
};

/* What a policy is for. The numbers are those of FWPM_PROVIDER_CONTEXT_TYPE (fwpmtypes.h). */
enum wsasec_policy_kind {
    WSASEC_POLICY_IKE_QUICK = 1,
    WSASEC_POLICY_AUTHIP_QUICK = 3,
    WSASEC_POLICY_IKE_MAIN = 5,
    WSASEC_POLICY_AUTHIP_MAIN = 6,
    WSASEC_POLICY_IKEV2_MAIN = 10
};

#define WSASEC_TRANSFORMS_MAX 4
#define WSASEC_PROPOSALS_MAX 255
#define WSASEC_AUTHENTICATIONS_MAX 16

typedef struct wsasec_transform {
    uint32_t protocol;   /* enum wsasec_ipsec_protocol */
    uint32_t encryption; /* enum wsasec_encryption */
    uint32_t integrity;  /* enum wsasec_integrity */
} wsasec_transform;

/* What is not of a proposal's mode is 0. */
typedef struct wsasec_proposal {
    uint32_t transform_count; /* main mode: 1 */
    wsasec_transform transforms[WSASEC_TRANSFORMS_MAX];
    uint32_t group; /* enum wsasec_group; quick mode: for perfect forward secrecy */
    uint32_t lifetime_seconds;
    uint32_t lifetime_kilobytes; /* quick mode; of 1,024 bytes */
    uint32_t lifetime_packets;   /* quick mode */
    uint32_t quick_mode_limit;   /* main mode: quick modes with its keys; 0: no limit */
} wsasec_proposal;

/* How a host or user proves who it is. */
typedef struct wsasec_authentication {
    uint32_t method;          /* IKEEXT_AUTHENTICATION_METHOD_TYPE (iketypes.h) */
    uint32_t flags;           /* of the method: IKEEXT_CERT_AUTH_..., IKEEXT_KERB_AUTH_..., ... */
    uint32_t inbound_roots;   /* certificates and SSL: IKEEXT_CERT_CONFIG_TYPE */
    uint32_t outbound_roots;  /* the same, of what is sent */
    uint32_t root_count;      /* reported only: certificates in both lists of trust; added policies have none */
    uint32_t secret_len;      /* in bytes */
    const void *secret;       /* the pre-shared key; never reported */
} wsasec_authentication;

typedef struct wsasec_ipsec_policy {
    wsasec_guid key;             /* its GUID; chosen by who adds it, not zero */
    uint32_t kind;               /* enum wsasec_policy_kind */
    uint32_t persistent;         /* it outlives the system's restart; not in a dynamic session */
    uint32_t flags;              /* main mode: IKEEXT_POLICY_FLAG_..., quick mode: IPSEC_POLICY_FLAG_... */
    uint32_t impersonation;      /* IKEEXT_AUTHENTICATION_IMPERSONATION_TYPE; quick mode: of the extended mode */
    uint32_t dynamic_filters;    /* main mode: maxDynamicFilters */
    uint32_t retransmit_seconds; /* main mode: 0 for the system's default */
    uint32_t clear_seconds;      /* quick mode: ndAllowClearTimeoutSeconds */
    uint32_t idle_seconds;       /* quick mode: an SA without traffic ends after this */
    uint32_t idle_failover_seconds;
    uint32_t authentication_count; /* main mode; quick mode: of the extended mode, 0 for none */
    uint32_t proposal_count;
    uint16_t name[256]; /* UTF-16, ends in a zero; what is reported may be cut */
    wsasec_authentication authentications[WSASEC_AUTHENTICATIONS_MAX];
    wsasec_proposal proposals[WSASEC_PROPOSALS_MAX]; /* the first is liked best */
} wsasec_ipsec_policy;

typedef struct wsasec_policy_session wsasec_policy_session;

/* Policies that are added in the session end with it, or with the process. */
#define WSASEC_SESSION_DYNAMIC UINT32_C(0x1)

/* Returns NULL after an error. */
wsasec_policy_session *wsasec_policy_session_open(uint32_t flags, wsasec_status *status);
void wsasec_policy_session_close(wsasec_policy_session *session); /* NULL is none */

int32_t wsasec_policy_add(wsasec_policy_session *session, const wsasec_ipsec_policy *policy, wsasec_status *status);
int32_t wsasec_policy_delete(wsasec_policy_session *session, const wsasec_guid *key, wsasec_status *status);

/*
 * Enumerations. Begin returns NULL after an error; next returns 1 with the next one, 0 at the end, or an error; end takes
 * NULL as none, and comes before the session is closed.
 */
typedef struct wsasec_policy_list wsasec_policy_list;

/* Main-mode and transport quick-mode policies of the whole system, in an order of its own; other contexts are left out. */
wsasec_policy_list *wsasec_policy_list_begin(wsasec_policy_session *session, wsasec_status *status);
int32_t wsasec_policy_list_next(wsasec_policy_list *list, wsasec_ipsec_policy *policy, wsasec_status *status);
void wsasec_policy_list_end(wsasec_policy_list *list);

/* IPv4: the first four bytes; all in the order of the network. */
typedef struct wsasec_subnet {
    uint8_t address[16];
    uint8_t version; /* 4, 6, or 0 for any address */
    uint8_t prefix;  /* bits of the address that count */
} wsasec_subnet;

enum wsasec_direction { WSASEC_DIRECTION_OUTBOUND = 0, WSASEC_DIRECTION_INBOUND = 1 };

typedef struct wsasec_association {
    uint64_t context_id;    /* the same for the associations that were negotiated together */
    uint64_t main_mode_id;  /* for wsasec_ike_association_get() */
    uint64_t filter_id;     /* of the filter, or tunnel policy, that it belongs to */
    wsasec_guid lookup;     /* zero: none */
    uint32_t quick_mode_id;
    uint32_t direction; /* enum wsasec_direction */
    uint32_t spi;
    uint32_t flags; /* IPSEC_SA_BUNDLE_FLAG_... */
    uint32_t tunnel;
    uint32_t group; /* enum wsasec_group */
    wsasec_transform transform;
    uint32_t lifetime_seconds;
    uint32_t lifetime_kilobytes;
    uint32_t lifetime_packets;
    uint32_t idle_seconds;
    uint8_t local[16]; /* as in wsasec_subnet */
    uint8_t remote[16];
    uint8_t version; /* 4 or 6 */
    uint8_t ip_protocol; /* 0: any */
    uint16_t local_port; /* 0: any */
    uint16_t remote_port;
    uint16_t local_udp_port; /* of its encapsulation in UDP; 0: none */
    uint16_t remote_udp_port;
} wsasec_association;

typedef struct wsasec_association_list wsasec_association_list;

/* local, remote: NULL for any; where both are given they are of one version. */
wsasec_association_list *wsasec_association_list_begin(wsasec_policy_session *session, const wsasec_subnet *local,
                                                       const wsasec_subnet *remote, wsasec_status *status);
int32_t wsasec_association_list_next(wsasec_association_list *list, wsasec_association *association,
                                     wsasec_status *status);
void wsasec_association_list_end(wsasec_association_list *list);

/* How both ends proved who they are: IKEEXT_AUTHENTICATION_METHOD_TYPE, IKEEXT_AUTHENTICATION_IMPERSONATION_TYPE. */
typedef struct wsasec_credential_pair {
    uint32_t local_method;
    uint32_t local_impersonation;
    uint32_t peer_method;
    uint32_t peer_impersonation;
} wsasec_credential_pair;

/* The result of a main mode. */
typedef struct wsasec_ike_association {
    uint64_t id;
    uint64_t initiator_cookie;
    uint64_t responder_cookie;
    wsasec_guid policy; /* its main-mode policy */
    uint32_t key_module; /* IKEEXT_KEY_MODULE_TYPE: 0 IKE, 1 AuthIP, 2 IKEv2 */
    uint32_t credential_count; /* of the system's; the first of them are here */
    wsasec_credential_pair credentials[WSASEC_AUTHENTICATIONS_MAX];
    wsasec_proposal proposal;
    uint8_t local[16];
    uint8_t remote[16];
    uint8_t version;
    uint16_t local_udp_port;
    uint16_t remote_udp_port;
} wsasec_ike_association;

/* lookup: NULL, or the GUID that a query of a socket, or an association, told. WSAEINVAL: there is no such. */
int32_t wsasec_ike_association_get(wsasec_policy_session *session, uint64_t id, const wsasec_guid *lookup,
                                   wsasec_ike_association *association, wsasec_status *status);

#ifdef __cplusplus
}
#endif
#endif
