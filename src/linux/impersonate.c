/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that acts as the peer: system calls made raw, as the C library would make them for all threads. Only the
 * effective identity changes, and no effective capability is left. The real and the saved one stay: with them the
 * thread can go back, and the account can neither trace nor signal the process.
 */
#define _GNU_SOURCE /* syscall */
#include "impersonate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "../backend.h"
#include "daemon_client.h"
#include "failure.h"
#include "secured.h"

/* Where there are two, those without 32 have users and groups of 16 bits. */
#ifdef SYS_setresuid32
enum { SETUID = SYS_setresuid32, SETGID = SYS_setresgid32, SETGROUPS = SYS_setgroups32, GETGROUPS = SYS_getgroups32 };
#else
enum { SETUID = SYS_setresuid, SETGID = SYS_setresgid, SETGROUPS = SYS_setgroups, GETGROUPS = SYS_getgroups };
#endif

#define PATIENCE UINT64_C(5000000000) /* nanoseconds */

enum { SETS = _LINUX_CAPABILITY_U32S_3, MOST_GROUPS = 4096, LONGEST_IDENTITY = 1024 };

struct identity {
    struct __user_cap_data_struct capabilities[SETS];
    uint32_t uid;
    uint32_t gid;
    uint32_t *groups;
    size_t count;
};

/* What the thread was before; acting: it has to go back to that. */
static _Thread_local struct {
    int acting;
    struct identity self;
    char peer[LONGEST_IDENTITY];
} state;

struct answer {
    struct wsasec_daemon_account head;
    uint32_t groups[MOST_GROUPS];
    char strings[2 * LONGEST_IDENTITY];
};

int wsasec_acts_as(const char *identity)
{
    return state.acting && *identity && strcmp(state.peer, identity) == 0;
}

/* The system calls below return 0 or an errno. */

static int get_capabilities(struct __user_cap_data_struct capabilities[SETS])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    return syscall(SYS_capget, &header, capabilities) ? errno : 0;
}

static int set_capabilities(const struct __user_cap_data_struct capabilities[SETS])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    return syscall(SYS_capset, &header, capabilities) ? errno : 0;
}

static int set_user(uint32_t uid)
{
    return syscall(SETUID, (uid_t)-1, (uid_t)uid, (uid_t)-1) ? errno : 0;
}

static int set_group(uint32_t gid)
{
    return syscall(SETGID, (gid_t)-1, (gid_t)gid, (gid_t)-1) ? errno : 0;
}

static int set_groups(const uint32_t *groups, size_t count)
{
    return syscall(SETGROUPS, count, groups) ? errno : 0;
}

static int get_self(struct identity *self)
{
    const long count = syscall(GETGROUPS, 0, NULL);
    long got;

    if (count < 0)
        return errno;
    self->groups = malloc(((size_t)count + 1) * sizeof *self->groups);
    if (!self->groups)
        return ENOMEM;
    got = syscall(GETGROUPS, count, self->groups);
    if (got < 0)
        return errno;
    self->count = (size_t)got;
    self->uid = geteuid();
    self->gid = getegid();
    return get_capabilities(self->capabilities);
}

static void forget_self(void)
{
    free(state.self.groups);
    memset(&state, 0, sizeof state);
}

/* Goes back, from wherever the thread is on the way. All is tried: the more of its own identity it has, the better. */
static int go_back(const struct identity *self)
{
    /* With the capabilities that allow the rest; a change of the effective user to root, and from it, changes them. */
    int error = set_capabilities(self->capabilities);
    int next = set_user(self->uid);

    error = next ? next : error;
    next = set_capabilities(self->capabilities);
    error = next ? next : error;
    next = set_group(self->gid);
    error = next ? next : error;
    next = set_groups(self->groups, self->count);
    error = next ? next : error;
    return error;
}

/* The user last but for the capabilities: the rest needs those. */
static int become(const struct identity *self, uint32_t uid, uint32_t gid, const uint32_t *groups, size_t count)
{
    struct __user_cap_data_struct none[SETS];
    int error = set_groups(groups, count);

    memcpy(none, self->capabilities, sizeof none);
    for (int i = 0; i < SETS; i++)
        none[i].effective = 0;
    if (!error)
        error = set_group(gid);
    if (!error)
        error = set_user(uid);
    return error ? error : set_capabilities(none);
}

static int may_change(const struct identity *self)
{
    const uint32_t needed = 1u << CAP_SETUID | 1u << CAP_SETGID;

    return (self->capabilities[0].effective & needed) == needed;
}

static int32_t fail(wsasec_status *status, unsigned reason, int error)
{
    return wsasec_fail(status, WSASEC_STEP_IMPERSONATE, reason, error);
}

static int32_t check_socket(wsasec_socket socket, const void *peer, uint32_t peer_len, wsasec_sockaddr_storage *room,
                            const wsasec_sockaddr_storage **asked, wsasec_status *status)
{
    struct wsasec_secured secured;
    const int32_t code = wsasec_secured_find(socket, &secured, status);
    const int flags = code ? 0 : fcntl((int)socket, F_GETFL);

    if (code)
        return code;
    if (flags < 0)
        return wsasec_fail_errno(status, WSASEC_STEP_DESCRIPTOR, errno);
    if (flags & O_NONBLOCK)
        return fail(status, WSASEC_REASON_NON_BLOCKING, 0);
    if (!secured.profile)
        return fail(status, WSASEC_REASON_NOT_SECURED, 0);
    if (secured.facts.type == WSASEC_TYPE_STREAM) {
        *asked = NULL;
        return wsasec_secured_connected(socket, WSASEC_STEP_IMPERSONATE, status);
    }
    return wsasec_secured_peer(&secured, WSASEC_STEP_IMPERSONATE, peer, peer_len, room, asked, status);
}

/* Whether an answer is one; root, and what the kernel takes for "leave it", is nobody's account. */
static int makes_sense(const struct answer *answer, size_t size)
{
    const struct wsasec_daemon_account *head = &answer->head;

    return size >= sizeof *head && head->group_count <= MOST_GROUPS && head->uid && head->uid != UINT32_MAX &&
           head->gid != UINT32_MAX && head->identity_length < LONGEST_IDENTITY &&
           head->name_length < LONGEST_IDENTITY &&
           size == sizeof *head + head->group_count * sizeof answer->groups[0] + head->name_length +
                       head->identity_length;
}

static int32_t impersonate(const struct answer *answer, size_t size, wsasec_status *status)
{
    const struct wsasec_daemon_account *head = &answer->head;
    int error = get_self(&state.self);

    if (error || !may_change(&state.self)) {
        forget_self();
        return error ? wsasec_fail_errno(status, WSASEC_STEP_IMPERSONATE, error)
                     : fail(status, WSASEC_REASON_IDENTITY_PRIVILEGE, 0);
    }
    memcpy(state.peer, (const char *)answer + size - head->identity_length, head->identity_length);
    state.acting = 1;
    error = become(&state.self, head->uid, head->gid, answer->groups, head->group_count);
    if (!error)
        return 0;
    if (go_back(&state.self)) /* the state is kept, for another try */
        return wsasec_fail(status, WSASEC_STEP_REVERT, WSASEC_REASON_IDENTITY_PRIVILEGE, error);
    forget_self();
    return fail(status, WSASEC_REASON_IDENTITY_PRIVILEGE, error);
}

int32_t wsasec_backend_impersonate(wsasec_socket socket, const void *peer, uint32_t peer_len, wsasec_status *status)
{
    struct wsasec_daemon_question question;
    const int32_t descriptor = (int32_t)socket;
    wsasec_sockaddr_storage room;
    const wsasec_sockaddr_storage *asked;
    struct answer *answer;
    size_t size = 0;
    int32_t code;

    if (state.acting)
        return fail(status, WSASEC_REASON_IMPERSONATING, 0);
    code = check_socket(socket, peer, peer_len, &room, &asked, status);
    if (code)
        return code;
    answer = malloc(sizeof *answer);
    if (!answer)
        return fail(status, WSASEC_REASON_NO_MEMORY, ENOMEM);
    wsasec_daemon_question_of(&question, asked, PATIENCE);
    code = wsasec_daemon_ask(WSASEC_STEP_IMPERSONATE, WSASEC_DAEMON_ACCOUNT, &question, sizeof question, &descriptor, 1,
                             answer, sizeof *answer, &size, PATIENCE + WSASEC_DAEMON_GRACE, status);
    if (!code)
        code = makes_sense(answer, size) ? impersonate(answer, size, status)
                                         : fail(status, WSASEC_REASON_DAEMON_ANSWER, 0);
    free(answer);
    return code;
}

int32_t wsasec_backend_revert(wsasec_status *status)
{
    int error;

    if (!state.acting)
        return 0;
    error = go_back(&state.self);
    if (error)
        return wsasec_fail(status, WSASEC_STEP_REVERT, WSASEC_REASON_IDENTITY_PRIVILEGE, error);
    forget_self();
    return 0;
}
