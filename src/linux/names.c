/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the peer must be: names go to the key daemon, in UTF-8, and are held against the peer by it. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "../backend.h"
#include "../core/errors.h"
#include "../core/sockets.h"
#include "carrier.h"
#include "daemon_client.h"
#include "failure.h"
#include "options.h"
#include "secured.h"

#define PATIENCE UINT64_C(30000000000) /* nanoseconds: names of datagram sockets are held against the peer at once */

enum { LONGEST_NAME = 4096 /* bytes in UTF-8 */ };

_Static_assert(WSASEC_NOTE_NAMES_RAW == WSASEC_DAEMON_NAME_RAW << 4, "notes are the daemon's flags");
_Static_assert(WSASEC_NOTE_NAMES_OPTIONAL == WSASEC_DAEMON_NAME_OPTIONAL << 4, "notes are the daemon's flags");

/* Reads a character of UTF-16 and counts on; 0 for a half of one, and for NUL. */
static uint32_t next_character(const unsigned char **at, const unsigned char *end)
{
    uint16_t unit;
    uint16_t low;

    memcpy(&unit, *at, sizeof unit);
    *at += sizeof unit;
    if (unit < 0xd800 || unit > 0xdfff)
        return unit;
    if (unit > 0xdbff || *at == end)
        return 0;
    memcpy(&low, *at, sizeof low);
    *at += sizeof low;
    return low < 0xdc00 || low > 0xdfff ? 0 : 0x10000 + ((uint32_t)(unit - 0xd800) << 10 | (uint32_t)(low - 0xdc00));
}

static size_t write_utf8(uint32_t character, unsigned char *to)
{
    if (character < 0x80) {
        to[0] = (unsigned char)character;
        return 1;
    }
    if (character < 0x800) {
        to[0] = (unsigned char)(0xc0 | character >> 6);
        to[1] = (unsigned char)(0x80 | (character & 0x3f));
        return 2;
    }
    if (character < 0x10000) {
        to[0] = (unsigned char)(0xe0 | character >> 12);
        to[1] = (unsigned char)(0x80 | (character >> 6 & 0x3f));
        to[2] = (unsigned char)(0x80 | (character & 0x3f));
        return 3;
    }
    to[0] = (unsigned char)(0xf0 | character >> 18);
    to[1] = (unsigned char)(0x80 | (character >> 12 & 0x3f));
    to[2] = (unsigned char)(0x80 | (character >> 6 & 0x3f));
    to[3] = (unsigned char)(0x80 | (character & 0x3f));
    return 4;
}

/* Its length in UTF-8; 0: it has no such form, or is none. */
static size_t name_to_utf8(const unsigned char *at, size_t length, unsigned char *to)
{
    const unsigned char *end = at + length;
    size_t size = 0;

    while (at < end) {
        const uint32_t character = next_character(&at, end);

        if (!character || size > LONGEST_NAME - 4)
            return 0;
        size += write_utf8(character, to + size);
    }
    return size;
}

/* A name is only taken for a socket that can be kept from sending to another. */
static int32_t find_required(wsasec_socket socket, unsigned step, struct wsasec_secured *secured, wsasec_status *status)
{
    const int32_t code = wsasec_secured_find(socket, secured, status);

    if (!code && !secured->required)
        return wsasec_fail(status, step, WSASEC_REASON_NOT_SECURED, 0);
    return code;
}

/* Binds a socket to the address that it has, and to some port. Returns 0 or an errno. */
static int take_port(wsasec_socket socket)
{
    struct sockaddr_in6 own = {0};
    socklen_t length = sizeof own;
    const int off = 0;

    if (getsockname((int)socket, (struct sockaddr *)(void *)&own, &length) ||
        setsockopt((int)socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &off, sizeof off) ||
        bind((int)socket, (const struct sockaddr *)(const void *)&own, length))
        return errno;
    return 0;
}

/*
 * The daemon shuts a socket by a policy, of which a socket has one, for one family. On a device a socket of IPv6 may have
 * peers of IPv4, which that would not keep it from: with a name it may not. The option could be taken back as long as the
 * socket has no port, so it gets one.
 */
static int32_t see_to_family(wsasec_socket socket, const struct wsasec_secured *secured, wsasec_status *status)
{
    int error = 0;
    int only = 0;
    const int on = 1;
    socklen_t length = sizeof only;

    if (secured->facts.family != WSASEC_FAMILY_INET6 || wsasec_carrier_of(secured->profile) == WSASEC_CARRIER_POLICY)
        return 0;
    /* Where it has one, this fails; and if another thread was faster, the next: what is so then is looked at. */
    if (setsockopt((int)socket, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0)
        error = take_port(socket);
    if (error && error != EINVAL)
        return wsasec_fail_errno(status, WSASEC_STEP_SET_NAME, error);
    if (getsockopt((int)socket, IPPROTO_IPV6, IPV6_V6ONLY, &only, &length) == 0 && only)
        return 0;
    return wsasec_fail_detail(status, WSASEC_STEP_SET_NAME, WSASEC_REASON_BOUND, EINVAL,
                              "turn IPV6_V6ONLY on before bind(): names are for peers of one family");
}

int32_t wsasec_backend_set_peer_name(wsasec_socket socket, const void *name, uint32_t name_len, void *overlapped,
                                     void *completion_routine, wsasec_status *status)
{
    struct {
        struct wsasec_daemon_question question;
        unsigned char name[LONGEST_NAME];
    } body;
    struct wsasec_daemon_verdict verdict;
    struct wsasec_secured secured;
    wsasec_socket_peer_target_name in;
    wsasec_sockaddr_storage room;
    const wsasec_sockaddr_storage *peer;
    const int32_t descriptor = (int32_t)socket;
    size_t size;
    int32_t code = find_required(socket, WSASEC_STEP_SET_NAME, &secured, status);

    (void)overlapped;
    (void)completion_routine;
    (void)name_len; /* the core has found it long enough */
    if (!code)
        code = see_to_family(socket, &secured, status);
    if (code)
        return code;
    memcpy(&in, name, sizeof in);
    code = wsasec_secured_peer(&secured, WSASEC_STEP_SET_NAME, &in.PeerAddress, sizeof in.PeerAddress, &room, &peer,
                               status);
    if (code)
        return code;
    size = name_to_utf8((const unsigned char *)name + offsetof(wsasec_socket_peer_target_name, AllStrings),
                        in.PeerTargetNameStringLen, body.name);
    if (!size)
        return wsasec_fail(status, WSASEC_STEP_SET_NAME, WSASEC_REASON_NAME_FORM, 0);
    wsasec_daemon_question_of(&body.question, peer, PATIENCE);
    body.question.flags = secured.notes >> 4;
    return wsasec_daemon_ask(WSASEC_STEP_SET_NAME, WSASEC_DAEMON_SET_NAME, &body, sizeof body.question + size,
                             &descriptor, 1, &verdict, sizeof verdict, NULL, PATIENCE + WSASEC_DAEMON_GRACE, status);
}

int32_t wsasec_backend_delete_peer_name(wsasec_socket socket, const void *peer, uint32_t peer_len, void *overlapped,
                                        void *completion_routine, wsasec_status *status)
{
    struct wsasec_secured secured;
    wsasec_sockaddr_storage room;
    const wsasec_sockaddr_storage *asked;
    int32_t code = find_required(socket, WSASEC_STEP_DELETE_NAME, &secured, status);

    (void)overlapped;
    (void)completion_routine;
    if (!code)
        code = wsasec_secured_peer(&secured, WSASEC_STEP_DELETE_NAME, peer, peer_len, &room, &asked, status);
    if (code)
        return code;
    return wsasec_daemon_tell(WSASEC_STEP_DELETE_NAME, WSASEC_DAEMON_DELETE_NAME, (int32_t)socket, asked, PATIENCE,
                              status);
}
