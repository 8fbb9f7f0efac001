/* SPDX-License-Identifier: Apache-2.0 */
/* What protects a connection: asked of the key daemon, or without one of the kernel. */
#include <string.h>

#include "association.h"
#include "daemon_client.h"
#include "failure.h"
#include "impersonate.h"

#define PATIENCE UINT64_C(5000000000) /* nanoseconds */

/* An answer of the daemon, with room for its strings. */
struct answer {
    struct wsasec_daemon_association head;
    unsigned char strings[sizeof(wsasec_socket_association)];
};

/* The strings lie one behind the other: each is taken out, with a zero at the end. Returns 0, or -1 if it cannot be. */
static int take(const struct answer *answer, size_t length, uint32_t *begin, uint32_t end, char *to, size_t room)
{
    if (end < *begin || end > length || end - *begin >= room)
        return -1;
    memcpy(to, answer->strings + *begin, end - *begin);
    to[end - *begin] = 0;
    *begin = end;
    return 0;
}

static int read_answer(const struct answer *answer, size_t size, wsasec_socket_association *out)
{
    const struct wsasec_daemon_association *head = &answer->head;
    const size_t length = size - sizeof *head; /* of the strings */
    uint32_t at = 0;

    memset(out, 0, sizeof *out);
    out->flags = head->flags;
    out->protocol = head->protocol;
    out->mm_sa_id = head->mm_sa_id;
    out->qm_sa_id = head->qm_sa_id;
    out->bytes_in = head->bytes_in;
    out->bytes_out = head->bytes_out;
    out->packets_in = head->packets_in;
    out->packets_out = head->packets_out;
    out->age = head->age;
    out->rekey_in = head->rekey_in;
    out->spi_in = head->spi_in;
    out->spi_out = head->spi_out;
    out->encryption_bits = head->encryption_bits;
    out->integrity_bits = head->integrity_bits;
    out->esn = head->esn;
    out->reqid = head->reqid;
    if (take(answer, length, &at, head->end_of_encryption, out->encryption, sizeof out->encryption) ||
        take(answer, length, &at, head->end_of_integrity, out->integrity, sizeof out->integrity) ||
        take(answer, length, &at, head->end_of_identity, out->identity, sizeof out->identity) ||
        take(answer, length, &at, head->end_of_own, out->own, sizeof out->own) ||
        take(answer, length, &at, head->end_of_profile, out->profile, sizeof out->profile) ||
        head->end_of_certificate < at || head->end_of_certificate > length ||
        head->end_of_certificate - at > sizeof out->certificate)
        return -1;
    out->certificate_len = head->end_of_certificate - at;
    memcpy(out->certificate, answer->strings + at, out->certificate_len);
    return 0;
}

/* flags: WSASEC_DAEMON_ABORT_... */
static int32_t ask_daemon(wsasec_socket socket, const wsasec_sockaddr_storage *peer, uint32_t flags,
                          wsasec_socket_association *association, wsasec_status *status)
{
    struct wsasec_daemon_question question;
    struct answer answer;
    const int32_t descriptor = (int32_t)socket;
    size_t size = 0;
    int32_t code;

    wsasec_daemon_question_of(&question, peer, PATIENCE);
    question.flags = flags;
    code = wsasec_daemon_ask(WSASEC_STEP_QUERY, WSASEC_DAEMON_QUERY, &question, sizeof question, &descriptor, 1,
                             &answer, sizeof answer, &size, PATIENCE + WSASEC_DAEMON_GRACE, status);
    if (code)
        return code;
    if (size < sizeof answer.head || read_answer(&answer, size, association))
        return wsasec_fail(status, WSASEC_STEP_QUERY, WSASEC_REASON_DAEMON_ANSWER, 0);
    return 0;
}

int32_t wsasec_backend_association(wsasec_socket socket, const wsasec_sockaddr_storage *peer,
                                   wsasec_socket_association *association, wsasec_status *status)
{
    struct wsasec_secured secured;
    wsasec_sockaddr_storage room;
    const wsasec_sockaddr_storage *asked;
    wsasec_status own;
    int32_t code;

    if (!status)
        status = &own;
    code = wsasec_secured_find(socket, &secured, status);
    if (!code)
        code = wsasec_secured_peer(&secured, WSASEC_STEP_QUERY, peer, sizeof *peer, &room, &asked, status);
    if (!code && !asked)
        code = wsasec_secured_connected(socket, WSASEC_STEP_QUERY, status);
    if (code)
        return code;
    memset(association, 0, sizeof *association);
    if (!secured.profile)
        return 0;
    code = ask_daemon(socket, asked, 0, association, status);
    if (code && status->reason == WSASEC_REASON_NO_DAEMON)
        code = wsasec_association_of_kernel(socket, &secured, asked, association, status);
    if (code && !secured.required &&
        (status->reason == WSASEC_REASON_NO_ASSOCIATION || status->reason == WSASEC_REASON_NOT_SECURED)) {
        memset(association, 0, sizeof *association); /* it may go on in clear, and does */
        return 0;
    }
    if (!code && wsasec_acts_as(association->identity))
        association->flags |= WSASEC_SOCKET_INFO_CONNECTION_IMPERSONATED;
    return code;
}

static int32_t check_abort(const struct wsasec_secured *secured, wsasec_socket socket, wsasec_status *status)
{
    if (secured->facts.type != WSASEC_TYPE_STREAM)
        return wsasec_fail_detail(status, WSASEC_STEP_QUERY, WSASEC_REASON_NO_ABORT, 0, "it is no TCP connection");
    if (!secured->profile)
        return wsasec_fail(status, WSASEC_STEP_QUERY, WSASEC_REASON_NOT_SECURED, 0);
    return wsasec_secured_connected(socket, WSASEC_STEP_QUERY, status);
}

/*
 * As wsasec_backend_association(), and has the connection aborted when one of the fields changes. Only the daemon can do
 * that: without it, or without keys of its own, it is refused rather than only said.
 */
static int32_t tie(wsasec_socket socket, uint32_t fields, wsasec_socket_association *association, wsasec_status *status)
{
    struct wsasec_secured secured;
    uint32_t flags = 0;
    int32_t code = wsasec_secured_find(socket, &secured, status);

    if (!code)
        code = check_abort(&secured, socket, status);
    if (code)
        return code;
    if (fields & WSASEC_SOCKET_QUERY_IPSEC2_FIELD_MASK_MM_SA_ID)
        flags |= WSASEC_DAEMON_ABORT_MM_SA_ID;
    if (fields & WSASEC_SOCKET_QUERY_IPSEC2_FIELD_MASK_QM_SA_ID)
        flags |= WSASEC_DAEMON_ABORT_QM_SA_ID;
    code = ask_daemon(socket, NULL, flags, association, status);
    if (!code && wsasec_acts_as(association->identity))
        association->flags |= WSASEC_SOCKET_INFO_CONNECTION_IMPERSONATED;
    return code;
}

static void answer_ipsec2(const wsasec_socket_association *association, uint32_t fields, void *info)
{
    wsasec_socket_security_query_info_ipsec2 out = {
        .SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2,
        .Flags = association->flags,
    };

    if (fields & WSASEC_SOCKET_QUERY_IPSEC2_FIELD_MASK_MM_SA_ID)
        out.MmSaId = association->mm_sa_id;
    if (fields & WSASEC_SOCKET_QUERY_IPSEC2_FIELD_MASK_QM_SA_ID)
        out.QmSaId = association->qm_sa_id;
    memcpy(info, &out, sizeof out);
}

int32_t wsasec_backend_query(wsasec_socket socket, const void *template_, uint32_t template_len, void *info,
                             uint32_t *info_len, void *overlapped, void *completion_routine, wsasec_status *status)
{
    wsasec_socket_security_query_template_ipsec2 in = {0};
    wsasec_socket_security_query_info out = {.SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC};
    wsasec_socket_association association;
    uint32_t flags;
    int ipsec2;
    int32_t code;

    (void)overlapped;
    (void)completion_routine;
    if (template_)
        memcpy(&in, template_, template_len < sizeof in ? template_len : sizeof in);
    ipsec2 = in.SecurityProtocol == WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2;
    if (in.PeerTokenAccessMask)
        return wsasec_fail(status, WSASEC_STEP_QUERY, WSASEC_REASON_TOKENS, 0);
    flags = ipsec2 ? in.Flags : 0;
    if (flags & ~WSASEC_SOCKET_QUERY_IPSEC2_ABORT_CONNECTION_ON_FIELD_CHANGE)
        return wsasec_fail(status, WSASEC_STEP_QUERY, WSASEC_REASON_NOT_IMPLEMENTED, 0);
    code = flags ? tie(socket, in.FieldMask, &association, status)
                 : wsasec_backend_association(socket, template_ ? &in.PeerAddress : NULL, &association, status);
    if (code)
        return code;
    if (ipsec2) {
        answer_ipsec2(&association, in.FieldMask, info);
        *info_len = sizeof(wsasec_socket_security_query_info_ipsec2);
        return 0;
    }
    out.Flags = association.flags;
    memcpy(info, &out, sizeof out);
    *info_len = sizeof out;
    return 0;
}

int32_t wsasec_backend_close_token(uint64_t handle)
{
    (void)handle;
    return wsasec_fail(NULL, WSASEC_STEP_NONE, WSASEC_REASON_TOKENS, 0);
}
