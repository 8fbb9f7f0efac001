/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded by tests: one system call of a kind fails, or some in a row, as if the kernel had no memory. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>

/* 0: none; 1: setsockopt, 2: getsockopt, 3: socket, 4: bind, 5: connect, 6: send, 7: sendmmsg, 8: syscall */
static atomic_int kind;
static int the_level;
static int the_name;
static int the_error;
static int times = 1;
static atomic_int left; /* calls that succeed before it */
static atomic_int failed;

void failing_arm(int of_kind, int level, int name, int after, int error)
{
    the_level = level;
    the_name = name;
    the_error = error;
    failed = 0;
    left = after;
    kind = of_kind;
}

/* How many of them, from now on. */
void failing_times(int count)
{
    times = count;
}

int failing_count(void)
{
    kind = 0;
    return failed;
}

static int fails(int of_kind, int level, int name)
{
    int turn;

    if (kind != of_kind || level != the_level || name != the_name)
        return 0;
    turn = atomic_fetch_sub(&left, 1);
    if (turn > 0 || turn <= -times)
        return 0;
    failed++;
    errno = the_error;
    return 1;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    int (*real)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");

    return fails(1, level, name) ? -1 : real(fd, level, name, value, length);
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict length)
{
    int (*real)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");

    return fails(2, level, name) ? -1 : real(fd, level, name, value, length);
}

int socket(int family, int type, int protocol)
{
    int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");

    return fails(3, family, 0) ? -1 : real(family, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");

    return fails(4, address->sa_family, 0) ? -1 : real(fd, address, length);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");

    return fails(5, address->sa_family, 0) ? -1 : real(fd, address, length);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    ssize_t (*real)(int, const void *, size_t, int) = dlsym(RTLD_NEXT, "send");

    return fails(6, 0, 0) ? -1 : real(fd, data, size, flags);
}

/* Raw ones, of which the level is the number. */
long syscall(long number, ...)
{
    long (*real)(long, long, long, long, long, long, long) = dlsym(RTLD_NEXT, "syscall");
    long at[6];
    va_list arguments;

    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        at[i] = va_arg(arguments, long);
    va_end(arguments);
    return fails(8, (int)number, 0) ? -1 : real(number, at[0], at[1], at[2], at[3], at[4], at[5]);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    int (*real)(int, struct mmsghdr *, unsigned, int) = dlsym(RTLD_NEXT, "sendmmsg");

    return fails(7, 0, 0) ? -1 : real(fd, messages, count, flags);
}
