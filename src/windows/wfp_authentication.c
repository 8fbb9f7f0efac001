/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of authentication. */
#include "wfp.h"

/* The two ways to say the same of certificates. */
static void certificates(const wsasec_authentication *from, IKEEXT_CERTIFICATE_AUTHENTICATION1 *to)
{
    to->inboundConfigType = (IKEEXT_CERT_CONFIG_TYPE)from->inbound_roots;
    to->outboundConfigType = (IKEEXT_CERT_CONFIG_TYPE)from->outbound_roots;
    to->flags = from->flags;
}

static void certificates_of(const IKEEXT_CERTIFICATE_AUTHENTICATION1 *from, wsasec_authentication *to)
{
    to->inbound_roots = (uint32_t)from->inboundConfigType;
    to->outbound_roots = (uint32_t)from->outboundConfigType;
    to->flags = from->flags;
    if (from->inboundConfigType == IKEEXT_CERT_CONFIG_EXPLICIT_TRUST_LIST)
        to->root_count += from->inboundRootArraySize;
    if (from->outboundConfigType == IKEEXT_CERT_CONFIG_EXPLICIT_TRUST_LIST)
        to->root_count += from->outboundRootArraySize;
}

void wsasec_wfp_authentication(const wsasec_authentication *from, IKEEXT_AUTHENTICATION_METHOD1 *to)
{
    memset(to, 0, sizeof *to);
    to->authenticationMethodType = (IKEEXT_AUTHENTICATION_METHOD_TYPE)from->method;
    switch (to->authenticationMethodType) {
    case IKEEXT_PRESHARED_KEY:
        to->presharedKeyAuthentication.presharedKey.size = from->secret_len;
        to->presharedKeyAuthentication.presharedKey.data = (UINT8 *)from->secret;
        to->presharedKeyAuthentication.flags = from->flags;
        break;
    case IKEEXT_CERTIFICATE:
    case IKEEXT_CERTIFICATE_ECDSA_P256:
    case IKEEXT_CERTIFICATE_ECDSA_P384:
        certificates(from, &to->certificateAuthentication);
        break;
    case IKEEXT_SSL:
    case IKEEXT_SSL_ECDSA_P256:
    case IKEEXT_SSL_ECDSA_P384:
        certificates(from, &to->sslAuthentication);
        break;
    case IKEEXT_KERBEROS:
        to->kerberosAuthentication.flags = from->flags;
        break;
    case IKEEXT_NTLM_V2:
        to->ntlmV2Authentication.flags = from->flags;
        break;
    case IKEEXT_EAP:
        to->eapAuthentication.flags = from->flags;
        break;
    default: /* without anything else, as IKEEXT_ANONYMOUS */
        break;
    }
}

/* A key stays with the system. */
void wsasec_wfp_authentication_of(const IKEEXT_AUTHENTICATION_METHOD1 *from, wsasec_authentication *to)
{
    memset(to, 0, sizeof *to);
    to->method = (uint32_t)from->authenticationMethodType;
    switch (from->authenticationMethodType) {
    case IKEEXT_PRESHARED_KEY:
        to->flags = from->presharedKeyAuthentication.flags;
        break;
    case IKEEXT_CERTIFICATE:
    case IKEEXT_CERTIFICATE_ECDSA_P256:
    case IKEEXT_CERTIFICATE_ECDSA_P384:
        certificates_of(&from->certificateAuthentication, to);
        break;
    case IKEEXT_SSL:
    case IKEEXT_SSL_ECDSA_P256:
    case IKEEXT_SSL_ECDSA_P384:
        certificates_of(&from->sslAuthentication, to);
        break;
    case IKEEXT_KERBEROS:
        to->flags = from->kerberosAuthentication.flags;
        break;
    case IKEEXT_NTLM_V2:
        to->flags = from->ntlmV2Authentication.flags;
        break;
    case IKEEXT_EAP:
        to->flags = from->eapAuthentication.flags;
        break;
    default:
        break;
    }
}
