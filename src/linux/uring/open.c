/* SPDX-License-Identifier: Apache-2.0 */
/* Whether there is an io_uring that sets socket options: it is tried, as version numbers lie. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../failure.h"
#include "ring.h"

/* Whether it was tried with success in this process; what failed may be mended, and is tried again. */
static atomic_int tried;

static int is_disabled(void)
{
    char text[8] = "0";
    int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    if (read(fd, text, sizeof text - 1) < 0)
        text[0] = '0';
    close(fd);
    return text[0] == '2' || text[0] == '1'; /* 1: for those without CAP_SYS_ADMIN and outside a group */
}

static int32_t fail(wsasec_status *status, int error)
{
    unsigned reason;

    switch (error) {
    case EPERM:
    case EACCES:
        reason = is_disabled() ? WSASEC_REASON_URING_DISABLED : WSASEC_REASON_URING_FORBIDDEN;
        break;
    case ENOMEM:
        reason = WSASEC_REASON_URING_MEMORY;
        break;
    case EMFILE:
        reason = WSASEC_REASON_NO_DESCRIPTORS;
        break;
    case ENFILE:
        reason = WSASEC_REASON_NO_FILES;
        break;
    default:
        reason = WSASEC_REASON_URING_TOO_OLD;
        break;
    }
    return wsasec_fail(status, WSASEC_STEP_NONE, reason, error);
}

/* Returns 0 or an errno. */
static int look_for_operations(struct wsasec_ring *ring)
{
    struct io_uring_probe *probe;
    int all;

    errno = 0;
    probe = io_uring_get_probe_ring(&ring->uring);
    if (!probe) /* no memory, or a kernel that cannot be asked, which leaves errno alone */
        return errno == ENOMEM ? ENOMEM : EOPNOTSUPP;
    all = io_uring_opcode_supported(probe, IORING_OP_URING_CMD) && io_uring_opcode_supported(probe, IORING_OP_SOCKET);
    io_uring_free_probe(probe);
    return all ? 0 : EOPNOTSUPP;
}

/* Sets an option to what it is, and asks for it. Returns 0 or an errno. */
static int try(struct wsasec_ring *ring)
{
    int value = 0;
    int error = look_for_operations(ring);
    int fd;

    if (error)
        return error;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    wsasec_ring_add_option(ring, WSASEC_URING_SETSOCKOPT, fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value, 1);
    wsasec_ring_add_option(ring, WSASEC_URING_GETSOCKOPT, fd, SOL_SOCKET, SO_TYPE, &value, sizeof value, 0);
    wsasec_ring_run(ring);
    close(fd);
    if (ring->results[0] == WSASEC_RING_NOT_RUN)
        return EPERM;
    if (ring->results[0])
        return -ring->results[0];
    return ring->results[1] == sizeof value && value == SOCK_DGRAM ? 0 : EOPNOTSUPP;
}

struct wsasec_ring *wsasec_backend_ring_open(wsasec_status *status)
{
    /* All work is done by the thread that asks for it, when it waits for it; one bad entry does not hold up the rest. */
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
    };
    struct wsasec_ring *ring = calloc(1, sizeof *ring);
    int error;

    if (!ring) {
        wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    error = -io_uring_queue_init_params(WSASEC_RING_ENTRIES, &ring->uring, &parameters);
    if (error) {
        free(ring);
        fail(status, error);
        return NULL;
    }
    ring->owner = getpid();
    error = atomic_load(&tried) ? 0 : try(ring);
    if (error) {
        wsasec_backend_ring_close(ring);
        fail(status, error);
        return NULL;
    }
    atomic_store(&tried, 1);
    return ring;
}

void wsasec_backend_ring_close(struct wsasec_ring *ring)
{
    if (!ring)
        return;
    io_uring_queue_exit(&ring->uring);
    free(ring);
}
