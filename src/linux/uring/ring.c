/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <errno.h>
#include <unistd.h>

static struct io_uring_sqe *next(struct wsasec_ring *ring)
{
    struct io_uring_sqe *entry;

    if (ring->broken || ring->filled >= WSASEC_RING_ENTRIES)
        return NULL;
    entry = io_uring_get_sqe(&ring->uring);
    if (entry)
        ring->results[ring->filled] = WSASEC_RING_NOT_RUN;
    return entry;
}

int wsasec_ring_add_option(struct wsasec_ring *ring, unsigned command, wsasec_socket socket, int level, int name,
                           const void *value, uint32_t length, int linked)
{
    struct wsasec_uring_option *option = (struct wsasec_uring_option *)(void *)next(ring);

    if (!option)
        return -1;
    *option = (struct wsasec_uring_option){
        .opcode = IORING_OP_URING_CMD,
        .flags = linked ? IOSQE_IO_LINK : 0,
        .fd = (int32_t)socket,
        .command = command,
        .level = level,
        .name = name,
        .length = length,
        .value = (uint64_t)(uintptr_t)value,
        .user_data = ring->filled,
    };
    return (int)ring->filled++;
}

int wsasec_ring_add_socket(struct wsasec_ring *ring, int address_family, int type)
{
    struct io_uring_sqe *entry = next(ring);

    if (!entry)
        return -1;
    io_uring_prep_socket(entry, address_family, type, 0, 0);
    io_uring_sqe_set_data64(entry, ring->filled);
    return (int)ring->filled++;
}

static unsigned collect(struct wsasec_ring *ring)
{
    struct io_uring_cqe *result;
    unsigned count = 0;
    unsigned head;

    io_uring_for_each_cqe(&ring->uring, head, result) {
        ring->results[result->user_data] = result->res;
        count++;
    }
    io_uring_cq_advance(&ring->uring, count);
    return count;
}

void wsasec_ring_run(struct wsasec_ring *ring)
{
    unsigned submitted = 0;
    unsigned done = 0;

    while (submitted < ring->filled) {
        int error = io_uring_submit_and_wait(&ring->uring, ring->filled - done);

        if (error > 0)
            submitted += (unsigned)error;
        else if (error != -EINTR) { /* none taken, and none will be */
            ring->broken = 1;
            break;
        }
        done += collect(ring);
    }
    /* Those that were taken point to memory of ours: they are waited for in any case. */
    while (done < submitted) {
        struct io_uring_cqe *result;
        int error = io_uring_wait_cqe(&ring->uring, &result);

        if (error && error != -EINTR && error != -EAGAIN)
            ring->broken = 1;
        done += collect(ring);
    }
    ring->filled = 0;
}
