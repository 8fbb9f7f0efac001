/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the key daemon about sockets that are to be connected. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../backend.h"
#include "../../core/errors.h"
#include "../../core/profiles.h"
#include "../../core/sockets.h"
#include "../../load/question.h"
#include "../carrier.h"
#include "../daemon_client.h"
#include "../daemon_connections.h"

/* How long the daemon may take to close a socket's gate, nanoseconds; with its grace it is a second. */
static const uint64_t PATIENCE = UINT64_C(500000000);

struct wsasec_question {
    struct wsasec_daemon_call call;
};

static int peer_of(const void *address, size_t size, wsasec_sockaddr_storage *peer)
{
    memset(peer, 0, sizeof *peer);
    if (size > sizeof *peer)
        return -1;
    memcpy(peer, address, size);
    return 0;
}

struct wsasec_question *wsasec_question_begin(int32_t socket, const void *address, size_t size, uint64_t nanoseconds,
                                              wsasec_status *status)
{
    struct wsasec_daemon_question body;
    wsasec_sockaddr_storage peer;
    struct wsasec_question *question;

    if (peer_of(address, size, &peer)) {
        wsasec_fail(status, WSASEC_STEP_NEGOTIATE, WSASEC_REASON_PEER_ADDRESS, 0);
        return NULL;
    }
    question = malloc(sizeof *question);
    if (!question) {
        wsasec_fail(status, WSASEC_STEP_NEGOTIATE, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    wsasec_daemon_question_of(&body, &peer, nanoseconds);
    if (wsasec_daemon_start(&question->call, WSASEC_STEP_NEGOTIATE, WSASEC_DAEMON_NEGOTIATE, &body, sizeof body,
                            &socket, 1, status)) {
        free(question);
        return NULL;
    }
    return question;
}

int32_t wsasec_question_descriptor(const struct wsasec_question *question)
{
    return question->call.fd;
}

int wsasec_question_answer(struct wsasec_question *question, wsasec_status *status, char detail[WSASEC_DETAIL_MAX])
{
    struct wsasec_daemon_verdict verdict;
    int32_t code;

    memset(status, 0, sizeof *status);
    detail[0] = 0;
    code = wsasec_daemon_finish(&question->call, &verdict, sizeof verdict, NULL, status);
    if (code == WSASEC_DAEMON_PENDING)
        return 0;
    if (code) {
        strncpy(detail, wsasec_detail(), WSASEC_DETAIL_MAX - 1);
        detail[WSASEC_DETAIL_MAX - 1] = 0;
    }
    return 1;
}

void wsasec_question_end(struct wsasec_question *question)
{
    if (!question)
        return;
    wsasec_daemon_abandon(&question->call);
    free(question);
}

int wsasec_question_is_open(const wsasec_status *status)
{
    switch (status->reason) {
    case WSASEC_REASON_NO_DAEMON:
    case WSASEC_REASON_DAEMON_SILENT: /* it ended, and may be started again */
    case WSASEC_REASON_DAEMON_BUSY:
    case WSASEC_REASON_NO_MEMORY:
    case WSASEC_REASON_NO_DESCRIPTORS:
    case WSASEC_REASON_NO_FILES:
        return 1;
    default:
        return 0;
    }
}

int wsasec_question_has_daemon(void)
{
    struct sockaddr_un address;
    int fd;
    int found;

    if (wsasec_daemon_address(&address))
        return 0;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    found = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
    close(fd);
    return found;
}

/* What this process knows, or else the mark that another has given it. */
int wsasec_question_is_for(int32_t socket, int error)
{
    struct wsasec_facts facts;
    wsasec_status status;
    uint16_t number;

    if (error != EPERM || wsasec_backend_inspect(socket, &facts, &status))
        return 0;
    return wsasec_socket_outcome(socket, facts.identity, &number) == WSASEC_OUTCOME_REQUIRED ||
           wsasec_profile_marks(facts.mark);
}

int wsasec_question_is_optional(int32_t socket)
{
    struct wsasec_facts facts;
    wsasec_status status;
    uint16_t number;

    /* Asked of memory first: most sockets are not. */
    return wsasec_socket_last_outcome(socket) == WSASEC_OUTCOME_OPTIONAL &&
           !wsasec_backend_inspect(socket, &facts, &status) &&
           wsasec_socket_outcome(socket, facts.identity, &number) == WSASEC_OUTCOME_OPTIONAL;
}

static int is_on_device(int32_t socket, uint64_t identity)
{
    uint16_t number;

    return wsasec_socket_outcome(socket, identity, &number) == WSASEC_OUTCOME_REQUIRED &&
           wsasec_carrier_of(wsasec_profile_at(number)) == WSASEC_CARRIER_DEVICE;
}

int wsasec_question_is_held(int32_t socket)
{
    struct wsasec_facts facts;
    wsasec_status status;

    /* Asked of memory first: it may be of a socket that is gone, but of most it says that they are not. */
    return is_on_device(socket, wsasec_socket_identity(socket)) &&
           !wsasec_backend_inspect(socket, &facts, &status) && is_on_device(socket, facts.identity);
}

int wsasec_question_hold(int32_t socket, const void *address, size_t size)
{
    wsasec_sockaddr_storage peer;
    wsasec_status status;

    if (!peer_of(address, size, &peer) &&
        !wsasec_daemon_tell(WSASEC_STEP_NEGOTIATE, WSASEC_DAEMON_HOLD, socket, &peer, PATIENCE, &status))
        return 0;
    (void)wsasec_backend_block(socket);
    return 1;
}
