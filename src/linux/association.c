/* SPDX-License-Identifier: Apache-2.0 */
#include "association.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "carrier.h"
#include "device.h"
#include "failure.h"
#include "options.h"
#include "realm.h"

enum { BITS = 8 };

struct search {
    const wsasec_profile *profile;
    wsasec_socket_association *found;
    int family;
    xfrm_address_t local;
    xfrm_address_t peer;
    uint64_t newest_in;
    uint64_t newest_out;
};

static const xfrm_address_t any;

static xfrm_address_t address_in(const wsasec_sockaddr_storage *storage)
{
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } name;
    xfrm_address_t address = {.a6 = {0}};

    memcpy(&name, storage, sizeof name);
    if (storage->family == AF_INET6)
        memcpy(&address, &name.in6.sin6_addr, 16);
    else
        memcpy(&address, &name.in.sin_addr, 4);
    return address;
}

static int same(const xfrm_address_t *a, const xfrm_address_t *b, int family)
{
    return memcmp(a, b, family == AF_INET6 ? 16 : 4) == 0;
}

/* A datagram socket may have no address of its own yet. */
static int is_local(const struct search *search, const xfrm_address_t *address)
{
    return same(&search->local, &any, AF_INET6) || same(&search->local, address, search->family);
}

static void copy_name(char to[64], const char *name, size_t room)
{
    memcpy(to, name, room < 63 ? room : 63);
    to[63] = 0;
}

/* Bits of a key's end that are the salt, in the kernel's names of algorithms (RFC 4106, 4309, 3686, 7634, 4543). */
static uint32_t salt_of(const char *name)
{
    static const struct {
        const char *begin;
        uint32_t bits;
    } salts[] = {{"rfc4106(", 32}, {"rfc4309(", 24}, {"rfc3686(", 32}, {"rfc7539esp(", 32}, {"rfc4543(", 32}};

    for (size_t i = 0; i < sizeof salts / sizeof salts[0]; i++)
        if (strncmp(name, salts[i].begin, strlen(salts[i].begin)) == 0)
            return salts[i].bits;
    return 0;
}

static uint32_t key_bits(const char *name, uint32_t bits)
{
    const uint32_t salt = salt_of(name);

    return bits > salt ? bits - salt : 0;
}

/* The heads of algorithms are copied out of the message, so that no key is. */
static void note_algorithms(const struct nlmsghdr *message, wsasec_socket_association *found)
{
    const size_t offset = sizeof(struct xfrm_usersa_info);
    struct xfrm_algo_aead aead;
    struct xfrm_algo_auth auth;
    struct xfrm_algo algorithm;
    const void *at;

    found->encryption[0] = found->integrity[0] = 0;
    found->encryption_bits = found->integrity_bits = 0;
    if ((at = wsasec_attribute(message, offset, XFRMA_ALG_AEAD, sizeof aead, NULL))) {
        memcpy(&aead, at, sizeof aead);
        found->integrity_bits = aead.alg_icv_len;
        /* GMAC only authenticates. */
        if (strncmp(aead.alg_name, "rfc4543(", 8) == 0) {
            copy_name(found->integrity, aead.alg_name, sizeof aead.alg_name);
        } else {
            copy_name(found->encryption, aead.alg_name, sizeof aead.alg_name);
            found->encryption_bits = key_bits(found->encryption, aead.alg_key_len);
        }
    }
    if ((at = wsasec_attribute(message, offset, XFRMA_ALG_CRYPT, sizeof algorithm, NULL))) {
        memcpy(&algorithm, at, sizeof algorithm);
        copy_name(found->encryption, algorithm.alg_name, sizeof algorithm.alg_name);
        found->encryption_bits =
            strstr(found->encryption, "cipher_null") ? 0 : key_bits(found->encryption, algorithm.alg_key_len);
    }
    if ((at = wsasec_attribute(message, offset, XFRMA_ALG_AUTH_TRUNC, sizeof auth, NULL))) {
        memcpy(&auth, at, sizeof auth);
        copy_name(found->integrity, auth.alg_name, sizeof auth.alg_name);
        found->integrity_bits = auth.alg_trunc_len;
    }
}

static void note_age(const struct xfrm_usersa_info *sa, wsasec_socket_association *found)
{
    const time_t now = time(NULL); /* the kernel's seconds are of this clock */
    const uint64_t added = sa->curlft.add_time;
    const uint64_t soft = sa->lft.soft_add_expires_seconds;

    found->age = now > 0 && (uint64_t)now > added ? (uint64_t)now - added : 0;
    found->rekey_in = soft > found->age ? soft - found->age : 0;
}

static void search_sa(void *context, const struct nlmsghdr *message)
{
    struct search *search = context;
    wsasec_socket_association *found = search->found;
    struct xfrm_usersa_info sa;

    if (message->nlmsg_type != XFRM_MSG_NEWSA || message->nlmsg_len < NLMSG_LENGTH(sizeof sa))
        return;
    memcpy(&sa, NLMSG_DATA(message), sizeof sa);
    /* One without an SPI only waits for keys. */
    if (sa.reqid != search->profile->reqid || sa.family != search->family || !sa.id.spi ||
        sa.mode != XFRM_MODE_TRANSPORT || sa.id.proto != search->profile->protocol)
        return;
    if (same(&sa.saddr, &search->peer, search->family) && is_local(search, &sa.id.daddr) &&
        sa.curlft.add_time >= search->newest_in) {
        search->newest_in = sa.curlft.add_time;
        found->spi_in = ntohl(sa.id.spi);
        found->bytes_in = sa.curlft.bytes;
        found->packets_in = sa.curlft.packets;
    }
    if (same(&sa.id.daddr, &search->peer, search->family) && is_local(search, &sa.saddr) &&
        sa.curlft.add_time >= search->newest_out) {
        search->newest_out = sa.curlft.add_time;
        found->spi_out = ntohl(sa.id.spi);
        found->bytes_out = sa.curlft.bytes;
        found->packets_out = sa.curlft.packets;
        found->esn = (sa.flags & XFRM_STATE_ESN) != 0;
        note_age(&sa, found);
        note_algorithms(message, found);
    }
}

static void find_addresses(wsasec_socket socket, const wsasec_sockaddr_storage *peer, struct search *search)
{
    wsasec_sockaddr_storage name = {0};
    socklen_t length = sizeof name;

    if (getsockname((int)socket, (struct sockaddr *)&name, &length) == 0)
        search->local = address_in(&name);
    memset(&name, 0, sizeof name);
    length = sizeof name;
    if (peer || getpeername((int)socket, (struct sockaddr *)&name, &length) == 0)
        search->peer = address_in(peer ? peer : &name);
}

static int32_t no_daemon(int error, wsasec_status *status)
{
    return wsasec_fail(status, WSASEC_STEP_QUERY, WSASEC_REASON_NO_DAEMON, error);
}

static void note_profile(const wsasec_profile *profile, wsasec_socket_association *association)
{
    association->protocol = profile->protocol;
    association->reqid = profile->reqid;
    memcpy(association->profile, profile->name, sizeof association->profile);
}

/*
 * Of a socket on a device that all is in force around: whatever passes is in ESP and encrypted. By which association, the
 * engine knows.
 */
static int32_t association_of_device(wsasec_socket socket, const struct wsasec_secured *secured,
                                     wsasec_socket_association *association, wsasec_status *status)
{
    const wsasec_profile *profile = secured->profile;
    uint32_t index = 0;
    uint32_t bound = 0;
    socklen_t length = sizeof bound;
    int32_t code = wsasec_device_ready(secured->facts.realm, socket, profile,
                                       secured->facts.family == WSASEC_FAMILY_INET6 ? AF_INET6 : AF_INET, &index, status);

    if (code && (status->reason == WSASEC_REASON_PRIVILEGE || status->reason == WSASEC_REASON_NAMESPACE))
        return no_daemon(status->os_error, status);
    if (code)
        return code;
    if (getsockopt((int)socket, SOL_SOCKET, SO_BINDTOIFINDEX, &bound, &length) || bound != index ||
        (secured->facts.mark & profile->mask) != profile->mark)
        return wsasec_fail(status, WSASEC_STEP_QUERY, WSASEC_REASON_NO_ASSOCIATION, 0);
    memset(association, 0, sizeof *association);
    note_profile(profile, association);
    association->flags = WSASEC_SOCKET_INFO_CONNECTION_SECURED | WSASEC_SOCKET_INFO_CONNECTION_ENCRYPTED;
    return 0;
}

int32_t wsasec_association_of_kernel(wsasec_socket socket, const struct wsasec_secured *secured,
                                     const wsasec_sockaddr_storage *peer, wsasec_socket_association *association,
                                     wsasec_status *status)
{
    struct search search = {.profile = secured->profile, .found = association,
                            .family = secured->facts.family == WSASEC_FAMILY_INET6 ? AF_INET6 : AF_INET};
    const struct xfrm_usersa_id every = {0};
    struct wsasec_message message;
    struct wsasec_realm *realm;
    int error;

    if (wsasec_carrier_of(secured->profile) == WSASEC_CARRIER_DEVICE)
        return association_of_device(socket, secured, association, status);
    realm = wsasec_realm_enter(secured->facts.realm, socket, WSASEC_REALM_POLICIES, status);
    if (!realm)
        return no_daemon(0, status);
    find_addresses(socket, peer, &search);
    memset(association, 0, sizeof *association);
    wsasec_message_start(&message, XFRM_MSG_GETSA, NLM_F_DUMP, &every, sizeof every);
    error = wsasec_netlink_call(&realm->xfrm, &message, search_sa, &search);
    wsasec_realm_leave(realm, error != 0);
    if (error == -EPERM)
        return no_daemon(EPERM, status);
    if (error)
        return wsasec_fail_errno(status, WSASEC_STEP_QUERY, -error);
    if (!association->spi_in || !association->spi_out)
        return wsasec_fail(status, WSASEC_STEP_QUERY, WSASEC_REASON_NO_ASSOCIATION, 0);
    note_profile(secured->profile, association);
    association->flags = WSASEC_SOCKET_INFO_CONNECTION_SECURED;
    if (association->encryption_bits)
        association->flags |= WSASEC_SOCKET_INFO_CONNECTION_ENCRYPTED;
    return 0;
}
