/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel_wsasec_ipsec.h"

#include <errno.h>

#include <daemon.h>

#include "ending_sas.h"
#include "engine_events.h"
#include "engine_link.h"
#include "known_sas.h"
#include "nat_port.h"

#define SOCKET_DEFAULT "/run/wsasec/engine"
enum { TIMEOUT_DEFAULT = 3, WINDOW_MIN = 64, WINDOW_MAX = 65536 };

typedef struct {
    kernel_ipsec_t public;
    engine_link_t *link;
    known_sas_t *known;
    ending_sas_t *ending;
    engine_events_t *events;
} private_t;

/* FALSE: addresses that cannot be those of an SA. */
static bool name_of(struct wse_sa_name *name, host_t *source, host_t *destination, uint32_t spi, bool inbound)
{
    chunk_t from = source->get_address(source), to = destination->get_address(destination);

    memset(name, 0, sizeof(*name));
    if (from.len != to.len || from.len > sizeof(name->source))
    {
        return FALSE;
    }
    memcpy(name->source, from.ptr, from.len);
    memcpy(name->destination, to.ptr, to.len);
    name->spi = ntohl(spi);
    name->family = destination->get_family(destination);
    name->direction = inbound ? WSE_INBOUND : WSE_OUTBOUND;
    return TRUE;
}

static status_t status_of(int code)
{
    switch (code)
    {
        case 0:
            return SUCCESS;
        case -ENOENT:
            return NOT_FOUND;
        default:
            return FAILED;
    }
}

METHOD(kernel_ipsec_t, get_features, kernel_feature_t,
    private_t *this)
{
    return KERNEL_NO_POLICY_UPDATES;
}

METHOD(kernel_ipsec_t, get_spi, status_t,
    private_t *this, host_t *src, host_t *dst, uint8_t protocol, uint32_t *spi)
{
    struct wse_spi asked = {}, got;
    int code;

    if (protocol != IPPROTO_ESP)
    {
        DBG1(DBG_KNL, "the engine knows ESP only");
        return NOT_SUPPORTED;
    }
    asked.least = lib->settings->get_int(lib->settings, "%s.spi_min", KERNEL_SPI_MIN, lib->ns);
    asked.most = lib->settings->get_int(lib->settings, "%s.spi_max", KERNEL_SPI_MAX, lib->ns);
    if (asked.least > asked.most)
    {
        uint32_t least = asked.most;

        asked.most = asked.least;
        asked.least = least;
    }
    code = engine_link_ask(this->link, "reserving an SPI", WSE_RESERVE_SPI, &asked, sizeof(asked), &got, sizeof(got),
                           NULL);
    if (code == 0)
    {
        *spi = htonl(got.spi);
    }
    return code == 0 ? SUCCESS : FAILED;
}

METHOD(kernel_ipsec_t, get_cpi, status_t,
    private_t *this, host_t *src, host_t *dst, uint16_t *cpi)
{
    return NOT_SUPPORTED;
}

/* What the engine cannot do is refused, as an SA that is not what was negotiated would fail silently. NULL: it can. */
static const char *why_not(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
    if (id->proto != IPPROTO_ESP)
    {
        return "it knows ESP only";
    }
    if (data->mode != MODE_TRANSPORT)
    {
        return "it knows transport mode only";
    }
    if (data->ipcomp != IPCOMP_NONE)
    {
        return "it does not compress";
    }
    if (data->tfc != 0)
    {
        return "it does not pad for traffic flow confidentiality";
    }
    if (id->mark.mask != 0 || id->if_id != 0 || data->label != NULL)
    {
        return "it has SAs without marks, interfaces and labels";
    }
    if (data->reqid == 0)
    {
        return "an SA without reqid is no device's";
    }
    return NULL;
}

/* 0: none that the engine knows. */
static uint8_t algorithm_of(kernel_ipsec_add_sa_t *data)
{
    if (data->int_alg != AUTH_UNDEFINED)
    {
        return 0;
    }
    if (data->enc_alg == ENCR_AES_GCM_ICV16 && data->enc_key.len == 16 + 4)
    {
        return WSE_AES_128_GCM;
    }
    if (data->enc_alg == ENCR_AES_GCM_ICV16 && data->enc_key.len == 32 + 4)
    {
        return WSE_AES_256_GCM;
    }
    if (data->enc_alg == ENCR_CHACHA20_POLY1305 && data->enc_key.len == 32 + 4)
    {
        return WSE_CHACHA20_POLY1305;
    }
    return 0;
}

static void set_limits(struct wse_limits *limits, const lifetime_cfg_t *lifetime)
{
    limits->soft_bytes = lifetime->bytes.rekey;
    limits->hard_bytes = lifetime->bytes.life;
    limits->soft_packets = lifetime->packets.rekey;
    limits->hard_packets = lifetime->packets.life;
    limits->soft_seconds = lifetime->time.rekey;
    limits->hard_seconds = lifetime->time.life;
}

METHOD(kernel_ipsec_t, add_sa, status_t,
    private_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
    struct wse_sa sa = {};
    const char *reason = why_not(id, data);
    bool unknown;
    int code;

    if (reason != NULL)
    {
        DBG1(DBG_KNL, "the engine does not take SA %.8x: %s", ntohl(id->spi), reason);
        return NOT_SUPPORTED;
    }
    sa.algorithm = algorithm_of(data);
    if (sa.algorithm == 0)
    {
        DBG1(DBG_KNL, "the engine does not take SA %.8x: it has no %N with %zu bits and %N; it has AES-GCM-16 with "
             "128 and 256 bits, and ChaCha20-Poly1305", ntohl(id->spi), encryption_algorithm_names, data->enc_alg,
             data->enc_key.len * 8, integrity_algorithm_names, data->int_alg);
        return NOT_SUPPORTED;
    }
    if (!name_of(&sa.name, id->src, id->dst, id->spi, data->inbound))
    {
        return FAILED;
    }
    if (known_sas_is_ending(this->known, &sa.name))
    {
        DBG1(DBG_KNL, "the engine has another SA %.8x that is to end", ntohl(id->spi));
        return FAILED;
    }
    sa.reqid = data->reqid;
    sa.flags = (data->esn ? WSE_SA_ESN : 0) | (data->encap ? WSE_SA_UDP : 0);
    /* Without a window a peer's packets could be sent again: then it is the engine's own. */
    if (data->inbound && data->replay_window != 0)
    {
        sa.window = min(max(data->replay_window, WINDOW_MIN), WINDOW_MAX);
    }
    if (data->encap)
    {
        sa.source_port = id->src->get_port(id->src);
        sa.destination_port = id->dst->get_port(id->dst);
    }
    set_limits(&sa.limits, data->lifetime);
    sa.key_length = data->enc_key.len;
    memcpy(sa.key, data->enc_key.ptr, data->enc_key.len);
    code = engine_link_ask(this->link, data->inbound ? "adding an inbound SA" : "adding an outbound SA", WSE_ADD_SA,
                           &sa, sizeof(sa), NULL, 0, &unknown);
    memwipe(sa.key, sizeof(sa.key));
    if (code == 0)
    {
        known_sas_add(this->known, &sa.name);
    }
    else if (unknown)
    {
        /* The engine may have it, and would send by an outbound one what nobody else can read. */
        known_sas_end(this->known, &sa.name);
        engine_events_wake(this->events);
    }
    else if (code == -EEXIST)
    {
        known_sas_refuse(this->known, &sa.name);
    }
    return code == 0 ? SUCCESS : FAILED;
}

/* Which direction an SA has, charon does not say. What was never added is inbound, as an SPI may be reserved for it. */
static bool name_of_known(private_t *this, struct wse_sa_name *name, kernel_ipsec_sa_id_t *id)
{
    return (name_of(name, id->src, id->dst, id->spi, FALSE) && known_sas_has(this->known, name))
           || name_of(name, id->src, id->dst, id->spi, TRUE);
}

METHOD(kernel_ipsec_t, update_sa, status_t,
    private_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_update_sa_t *data)
{
    struct wse_mapping mapping = {};
    host_t *peer;
    int code;

    /* In transport mode addresses are what is secured. charon makes a new SA where this is not supported. */
    if (!name_of_known(this, &mapping.name, id) || data->encap != data->new_encap || !data->new_encap
        || data->new_reqid != 0 || !id->src->ip_equals(id->src, data->new_src)
        || !id->dst->ip_equals(id->dst, data->new_dst))
    {
        DBG1(DBG_KNL, "SA %.8x gets other addresses, which needs a new one", ntohl(id->spi));
        return NOT_SUPPORTED;
    }
    peer = mapping.name.direction == WSE_INBOUND ? data->new_src : data->new_dst;
    memcpy(mapping.address, peer->get_address(peer).ptr, peer->get_address(peer).len);
    mapping.port = peer->get_port(peer);
    code = engine_link_ask(this->link, "moving an SA", WSE_SET_MAPPING, &mapping, sizeof(mapping), NULL, 0, NULL);
    /* charon takes the new port for the SA's whatever is said of it, and does not try again: a new SA has it. */
    return code == 0 || code == -ENOENT ? status_of(code) : NOT_SUPPORTED;
}

METHOD(kernel_ipsec_t, query_sa, status_t,
    private_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_query_sa_t *data, uint64_t *bytes, uint64_t *packets,
    time_t *time)
{
    struct wse_sa_name name;
    struct wse_sa_state state;
    int code;

    if (!name_of_known(this, &name, id))
    {
        return FAILED;
    }
    code = engine_link_ask(this->link, NULL, WSE_GET_SA, &name, sizeof(name), &state, sizeof(state), NULL);
    if (code < 0)
    {
        DBG2(DBG_KNL, "the engine has no answer for SA %.8x: %s", ntohl(id->spi), strerror(-code));
        return status_of(code);
    }
    if (bytes != NULL)
    {
        *bytes = state.bytes;
    }
    if (packets != NULL)
    {
        *packets = state.packets;
    }
    if (time != NULL)
    {
        *time = state.packets == 0 ? 0 : time_monotonic(NULL) - (time_t)state.idle_seconds;
    }
    return SUCCESS;
}

METHOD(kernel_ipsec_t, del_sa, status_t,
    private_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_del_sa_t *data)
{
    struct wse_sa_name name;
    int code;

    if (!name_of_known(this, &name, id))
    {
        return FAILED;
    }
    if (known_sas_was_refused(this->known, &name))
    {
        return NOT_FOUND;
    }
    /* First, so that its end is not told to charon, which wants it. */
    known_sas_end(this->known, &name);
    code = ending_sas_finish(this->ending, &name);
    if (code < 0 && code != -ENOENT)
    {
        DBG1(DBG_KNL, "deleting SA %.8x failed, and is tried again: %s", ntohl(id->spi), strerror(-code));
        engine_events_wake(this->events);
    }
    return status_of(code);
}

METHOD(kernel_ipsec_t, flush_sas, status_t,
    private_t *this)
{
    struct wse_device all = {};
    int code;

    known_sas_end_all(this->known);
    code = engine_link_ask(this->link, "flushing SAs", WSE_FLUSH_SAS, &all, sizeof(all), NULL, 0, NULL);
    if (code == 0)
    {
        known_sas_forget_ending(this->known);
    }
    return status_of(code);
}

/*
 * Policies: sockets are bound to a device, so nothing is to be done for connections with policies = no, whose traps
 * charon still announces. A shunt would not hold, and is refused.
 */
METHOD(kernel_ipsec_t, add_policy, status_t,
    private_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
    return data->type == POLICY_IPSEC ? SUCCESS : NOT_SUPPORTED;
}

METHOD(kernel_ipsec_t, query_policy, status_t,
    private_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_query_policy_t *data, time_t *use_time)
{
    return NOT_SUPPORTED;
}

METHOD(kernel_ipsec_t, del_policy, status_t,
    private_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
    return SUCCESS;
}

METHOD(kernel_ipsec_t, flush_policies, status_t,
    private_t *this)
{
    return SUCCESS;
}

/*
 * charon's sockets are not bound to a device: they send in clear as it is. But this is said of the socket for IKE before
 * the one that is shared with the engine is bound, which fails while the engine has that port from a charon before.
 */
METHOD(kernel_ipsec_t, bypass_socket, bool,
    private_t *this, int fd, int family)
{
    uint16_t port = lib->settings->get_int(lib->settings, "%s.port_nat_t", IKEV2_NATT_PORT, lib->ns);

    nat_port_wanted(family, port);
    engine_link_release(this->link, family, port);
    return TRUE;
}

METHOD(kernel_ipsec_t, enable_udp_decap, bool,
    private_t *this, int fd, int family, uint16_t port)
{
    nat_port_there(family);
    engine_link_share(this->link, fd, family, port);
    /* If the engine has not got it now. */
    engine_events_wake(this->events);
    return TRUE;
}

METHOD(kernel_ipsec_t, destroy, void,
    private_t *this)
{
    if (this->events != NULL)
    {
        engine_events_destroy(this->events);
    }
    ending_sas_destroy(this->ending);
    engine_link_destroy(this->link);
    known_sas_destroy(this->known);
    free(this);
}

kernel_ipsec_t *kernel_wsasec_ipsec_create(void)
{
    private_t *this;
    const char *path;
    uint32_t timeout;

    path = lib->settings->get_str(lib->settings, "%s.plugins.kernel-wsasec.socket", SOCKET_DEFAULT, lib->ns);
    timeout = lib->settings->get_time(lib->settings, "%s.plugins.kernel-wsasec.timeout", TIMEOUT_DEFAULT, lib->ns);
    INIT(this,
        .public = {
            .get_features = _get_features,
            .get_spi = _get_spi,
            .get_cpi = _get_cpi,
            .add_sa = _add_sa,
            .update_sa = _update_sa,
            .query_sa = _query_sa,
            .del_sa = _del_sa,
            .flush_sas = _flush_sas,
            .add_policy = _add_policy,
            .query_policy = _query_policy,
            .del_policy = _del_policy,
            .flush_policies = _flush_policies,
            .bypass_socket = _bypass_socket,
            .enable_udp_decap = _enable_udp_decap,
            .destroy = _destroy,
        },
        .link = engine_link_create(path, max(1, timeout) * 1000),
        .known = known_sas_create(),
    );
    this->ending = ending_sas_create(this->link, this->known);
    this->events = engine_events_create(this->link, this->known, this->ending);
    if (this->events == NULL)
    {
        DBG1(DBG_KNL, "the engine's events cannot be heard: no thread for it");
        destroy(this);
        return NULL;
    }
    return &this->public;
}
