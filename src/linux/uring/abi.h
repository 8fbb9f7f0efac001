/* SPDX-License-Identifier: Apache-2.0 */
/* Of the kernel's interface to io_uring, what Linux 6.7 has and older headers lack. */
#ifndef WSASEC_LINUX_URING_ABI_H
#define WSASEC_LINUX_URING_ABI_H

#include <liburing.h>
#include <stddef.h>
#include <stdint.h>

enum { WSASEC_URING_GETSOCKOPT = 2, WSASEC_URING_SETSOCKOPT = 3 };

/* struct io_uring_sqe as IORING_OP_URING_CMD has it on a socket. */
struct wsasec_uring_option {
    uint8_t opcode;
    uint8_t flags;
    uint16_t priority;
    int32_t fd;
    uint32_t command;
    uint32_t reserved;
    int32_t level;
    int32_t name;
    uint32_t reserved_length;
    uint32_t command_flags;
    uint64_t user_data;
    uint16_t buffer;
    uint16_t personality;
    uint32_t length;
    uint64_t value;
    uint64_t reserved_tail;
};
_Static_assert(sizeof(struct wsasec_uring_option) == sizeof(struct io_uring_sqe), "one entry");
_Static_assert(offsetof(struct wsasec_uring_option, command) == 8, "cmd_op");
_Static_assert(offsetof(struct wsasec_uring_option, level) == 16, "level");
_Static_assert(offsetof(struct wsasec_uring_option, user_data) == offsetof(struct io_uring_sqe, user_data), "user_data");
_Static_assert(offsetof(struct wsasec_uring_option, length) == 44, "optlen");
_Static_assert(offsetof(struct wsasec_uring_option, value) == 48, "optval");

#endif
