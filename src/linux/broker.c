/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key daemon as a broker: it has the privilege that socket policies take, and secures the sockets whose descriptors
 * it is given by the same code, with the same checks. What this process knows of them is then the same, too.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../backend.h"
#include "../core/errors.h"
#include "daemon_client.h"
#include "daemon_protocol.h"

/* How long an answer may take, nanoseconds: far more than the work of a message. */
static const uint64_t PATIENCE = UINT64_C(10000000000);
static const struct timespec MOMENT = {.tv_nsec = 1000000};

_Static_assert(WSASEC_BROKERED <= WSASEC_DAEMON_DESCRIPTORS, "a group is a message");

struct answer {
    struct wsasec_daemon_secured head;
    int32_t codes[WSASEC_BROKERED];
};
_Static_assert(offsetof(struct answer, codes) == sizeof(struct wsasec_daemon_secured), "as in the protocol");

/*
 * Whether the process had the privilege when that was last asked. A thread that has less than it finds out by being
 * refused, and one that was refused asks each time: so a program with the privilege pays nothing.
 */
enum { UNKNOWN, HAS_PRIVILEGE };
static atomic_int standing;

static int has_net_admin(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, data))
        return 1; /* the kernel will tell */
    return (data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN)) != 0;
}

int wsasec_backend_lacks_privilege(void)
{
    if (atomic_load_explicit(&standing, memory_order_relaxed) == HAS_PRIVILEGE)
        return 0;
    if (!has_net_admin())
        return 1;
    atomic_store_explicit(&standing, HAS_PRIVILEGE, memory_order_relaxed);
    return 0;
}

/*
 * The settings without their strings, which are nobody else's affair. The profile is named: the default of this program
 * may be another than the daemon's.
 */
static void copy_settings(const struct wsasec_request *request, wsasec_socket_security_settings_ipsec *out)
{
    memset(out, 0, sizeof *out);
    if (request->settings) {
        wsasec_socket_security_settings given;

        memcpy(&given, request->settings, sizeof given);
        out->SecurityFlags = given.SecurityFlags;
        if (given.SecurityProtocol == WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC)
            memcpy(&out->IpsecFlags,
                   (const unsigned char *)request->settings +
                       offsetof(wsasec_socket_security_settings_ipsec, IpsecFlags),
                   sizeof out->IpsecFlags);
    }
    out->SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC;
    out->AuthipQMPolicyKey = request->profile->guid;
}

static int is_code(int32_t code)
{
    return code <= 0 && code > -20000;
}

/* Whether what came is an answer for so many sockets. */
static int is_answer(const struct answer *answer, size_t length, size_t count)
{
    const wsasec_status *first = &answer->head.first;

    if (length != sizeof answer->head + count * sizeof answer->codes[0] || answer->head.count != count ||
        !is_code(first->code) || first->step >= WSASEC_STEP_COUNT || first->reason >= WSASEC_REASON_COUNT)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!is_code(answer->codes[i]) || (answer->codes[i] && !first->code))
            return 0;
    return 1;
}

/* Of a failure that is not the first only the code is told: which is enough to know whether the socket is as it was. */
static void guess(int32_t code, wsasec_status *status)
{
    switch (-code) {
    case WSASEC_WSAENOTSOCK:
        wsasec_fail(status, WSASEC_STEP_DESCRIPTOR, WSASEC_REASON_NOT_A_SOCKET, 0);
        break;
    case WSASEC_WSAEISCONN:
        wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_CONNECTED, 0);
        break;
    case WSASEC_WSAEINVAL:
        wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_ALREADY_SECURED, 0);
        break;
    default:
        wsasec_fail(status, WSASEC_STEP_DAEMON, WSASEC_REASON_SYSTEM, 0);
        break;
    }
    status->code = code;
}

static void settle(const struct wsasec_request *request, struct wsasec_member *member, int32_t code,
                   const wsasec_status *first)
{
    member->code = code;
    if (!code)
        return;
    if (code != first->code) {
        guess(code, &member->status);
        return;
    }
    member->status = *first;
    member->status.flags = 0;
    member->status.profile = request->profile_number; /* the daemon has its own numbers */
}

/* A group of those that were refused. */
struct parcel {
    struct wsasec_member *members[WSASEC_BROKERED];
    int32_t sockets[WSASEC_BROKERED];
    size_t count;
};

static void pack(struct wsasec_member *members, size_t count, struct parcel *parcel)
{
    parcel->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!wsasec_is_refused(members[i].code, &members[i].status))
            continue;
        parcel->members[parcel->count] = &members[i];
        parcel->sockets[parcel->count++] = (int32_t)members[i].socket;
    }
}

/* What a part of them comes to. */
static int32_t ask(const struct wsasec_request *request, const wsasec_socket_security_settings_ipsec *settings,
                   const struct parcel *parcel, size_t from, size_t count, wsasec_status *status)
{
    struct answer answer;
    size_t length = 0;
    int32_t code = wsasec_daemon_ask(WSASEC_STEP_DAEMON, WSASEC_DAEMON_SECURE, settings, sizeof *settings,
                                     &parcel->sockets[from], count, &answer, sizeof answer, &length, PATIENCE, status);

    if (!code && !is_answer(&answer, length, count))
        code = wsasec_fail(status, WSASEC_STEP_DAEMON, WSASEC_REASON_DAEMON_ANSWER, 0);
    for (size_t i = 0; !code && i < count; i++)
        settle(request, parcel->members[from + i], answer.codes[i], &answer.head.first);
    return code;
}

/* The kernel limits how many descriptors of a user are under way (RLIMIT_NOFILE), all of the user's programs together. */
static int is_traffic_jam(const wsasec_status *status)
{
    return status->os_error == ETOOMANYREFS;
}

/* One descriptor that was closed meanwhile spoils the message of all. */
static int is_spoiled(const wsasec_status *status)
{
    return status->reason == WSASEC_REASON_NOT_A_SOCKET;
}

static void fail_part(const struct wsasec_request *request, const struct parcel *parcel, size_t from, size_t count,
                      wsasec_status *status)
{
    status->profile = request->profile_number;
    for (size_t i = from; i < from + count; i++) {
        parcel->members[i]->code = status->code;
        parcel->members[i]->status = *status;
    }
}

int wsasec_backend_broker(const struct wsasec_request *request, struct wsasec_member *members, size_t count)
{
    const uint64_t deadline = wsasec_backend_clock() + PATIENCE;
    wsasec_socket_security_settings_ipsec settings;
    struct parcel parcel;
    wsasec_status status;
    size_t most;
    size_t done = 0;

    atomic_store_explicit(&standing, UNKNOWN, memory_order_relaxed);
    copy_settings(request, &settings);
    pack(members, count, &parcel);
    most = parcel.count;
    while (done < parcel.count) {
        const size_t part = parcel.count - done < most ? parcel.count - done : most;

        if (!ask(request, &settings, &parcel, done, part, &status)) {
            done += part;
        } else if (is_traffic_jam(&status) && wsasec_backend_clock() < deadline) {
            most = part > 1 ? part / 2 : 1;
            (void)nanosleep(&MOMENT, NULL); /* nothing tells of its end */
        } else if (is_spoiled(&status) && part > 1) {
            most = part / 2;
        } else if (is_spoiled(&status)) {
            fail_part(request, &parcel, done++, 1, &status);
        } else if (!done && status.reason == WSASEC_REASON_NO_DAEMON) {
            return 0;
        } else {
            fail_part(request, &parcel, done, parcel.count - done, &status);
            break;
        }
    }
    return 1;
}
