/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel can do, found by asking it for the thing itself: modules load on demand, lists of them lie. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../backend.h"
#include "failure.h"
#include "policy.h"
#include "realm.h"

#ifndef IP_XFRM_POLICY
#define IP_XFRM_POLICY 17
#endif

/*
 * Asks for an SA that cannot be made, for a reason that the kernel finds only after it has found the transform
 * and the algorithm: nothing is installed in any case. Returns the kernel's errno.
 */
static int try_sa(struct wsasec_realm *realm, int address_family, unsigned capability)
{
    struct xfrm_usersa_info sa = {.family = (uint16_t)address_family, .mode = XFRM_MODE_TRANSPORT};
    struct xfrm_encap_tmpl encap = {.encap_type = 2 /* UDP_ENCAP_ESPINUDP, which AH refuses */};
    unsigned char auth[sizeof(struct xfrm_algo_auth) + 32] = "hmac(sha256)";
    unsigned char null_cipher[sizeof(struct xfrm_algo) + 1] = "ecb(cipher_null)";
    unsigned char gcm[sizeof(struct xfrm_algo_aead) + 1] = "rfc4106(gcm(aes))";
    const uint32_t whole_key = 256;
    const uint32_t truncated = 96;
    const uint32_t eight_bits = 8; /* no key of either cipher is that long */
    const uint32_t icv = 128;
    struct wsasec_message message;

    memcpy(auth + offsetof(struct xfrm_algo_auth, alg_key_len), &whole_key, sizeof whole_key);
    memcpy(auth + offsetof(struct xfrm_algo_auth, alg_trunc_len), &truncated, sizeof truncated);
    memcpy(null_cipher + offsetof(struct xfrm_algo, alg_key_len), &eight_bits, sizeof eight_bits);
    memcpy(gcm + offsetof(struct xfrm_algo_aead, alg_key_len), &eight_bits, sizeof eight_bits);
    memcpy(gcm + offsetof(struct xfrm_algo_aead, alg_icv_len), &icv, sizeof icv);
    sa.sel.family = (uint16_t)address_family;
    sa.id.proto = capability == WSASEC_CAPABILITY_AH4 || capability == WSASEC_CAPABILITY_AH6 ? IPPROTO_AH
                                                                                           : IPPROTO_ESP;
    sa.id.spi = htonl(UINT32_MAX);
    sa.lft.soft_byte_limit = sa.lft.hard_byte_limit = XFRM_INF;
    sa.lft.soft_packet_limit = sa.lft.hard_packet_limit = XFRM_INF;
    wsasec_message_start(&message, XFRM_MSG_NEWSA, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &sa, sizeof sa);
    if (capability == WSASEC_CAPABILITY_AES_GCM) {
        wsasec_message_attribute(&message, XFRMA_ALG_AEAD, gcm, sizeof gcm);
    } else {
        wsasec_message_attribute(&message, XFRMA_ALG_AUTH_TRUNC, auth, sizeof auth);
        if (sa.id.proto == IPPROTO_ESP)
            wsasec_message_attribute(&message, XFRMA_ALG_CRYPT, null_cipher, sizeof null_cipher);
        else
            wsasec_message_attribute(&message, XFRMA_ENCAP, &encap, sizeof encap);
    }
    return -wsasec_netlink_call(&realm->xfrm, &message, NULL, NULL);
}

static int32_t has_sa(int address_family, unsigned capability, wsasec_status *status)
{
    struct wsasec_realm realm;
    int32_t code = wsasec_realm_open_here(&realm, WSASEC_REALM_POLICIES, status);
    int error;

    if (code)
        return code;
    error = try_sa(&realm, address_family, capability);
    wsasec_realm_close(&realm);
    switch (error) {
    case EINVAL:
        return 1;
    case ENOSYS:          /* no such algorithm */
    case EPROTONOSUPPORT: /* no such transform */
        return 0;
    default:
        return wsasec_fail_errno(status, WSASEC_STEP_NONE, error);
    }
}

static int32_t has_socket_policy(wsasec_status *status)
{
    struct wsasec_policy policy;
    struct wsasec_realm realm;
    int32_t code = wsasec_realm_open_here(&realm, WSASEC_REALM_POLICIES, status); /* this loads xfrm_user where it is a module */
    int error = 0;
    int fd;

    if (code)
        return status && status->reason == WSASEC_REASON_NO_XFRM ? 0 : code;
    wsasec_realm_close(&realm);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return wsasec_fail_errno(status, WSASEC_STEP_NONE, errno);
    wsasec_policy_make(&policy, wsasec_profile_builtin(), AF_INET, XFRM_POLICY_OUT, 1);
    if (setsockopt(fd, IPPROTO_IP, IP_XFRM_POLICY, &policy, sizeof policy))
        error = errno;
    close(fd);
    if (error == ENOPROTOOPT || error == EOPNOTSUPP)
        return 0;
    return error ? wsasec_fail_errno(status, WSASEC_STEP_POLICY_OUT, error) : 1;
}

int32_t wsasec_backend_capability(unsigned capability, wsasec_status *status)
{
    switch (capability) {
    case WSASEC_CAPABILITY_SOCKET_POLICY:
        return has_socket_policy(status);
    case WSASEC_CAPABILITY_ESP4:
    case WSASEC_CAPABILITY_AH4:
    case WSASEC_CAPABILITY_AES_GCM:
        return has_sa(AF_INET, capability, status);
    case WSASEC_CAPABILITY_ESP6:
    case WSASEC_CAPABILITY_AH6:
        return has_sa(AF_INET6, capability, status);
    default:
        return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
    }
}
