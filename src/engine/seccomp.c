/* SPDX-License-Identifier: Apache-2.0 */
#include "seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#if defined ARCHITECTURE && !defined SANITIZED

/* What may be called with any arguments. Descriptors come by recvmsg and accept4 only: nothing is opened by a name. */
static const int allowed[] = {
    /* Packets. */
    SYS_read, SYS_write, SYS_writev, SYS_recvmmsg, SYS_sendmmsg, SYS_sendmsg, SYS_epoll_pwait, SYS_ppoll,
    SYS_clock_gettime,
    /* Control. */
    SYS_recvmsg, SYS_sendto, SYS_accept4, SYS_getsockopt, SYS_setsockopt, SYS_getsockname, SYS_epoll_ctl, SYS_close,
    SYS_fcntl, SYS_getrandom, SYS_getpid, SYS_gettid, SYS_geteuid,
    /* Memory, of which keys are locked. */
    SYS_brk, SYS_munmap, SYS_mremap, SYS_mlock, SYS_madvise,
    /* Threads and the end. */
    SYS_futex, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall, SYS_sched_yield, SYS_exit, SYS_exit_group,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_epoll_pwait2
    SYS_epoll_pwait2,
#endif
};

enum { COUNT = sizeof allowed / sizeof *allowed, MOST = 3 * COUNT + 32 };

static struct sock_filter program[MOST];
static unsigned short length;

static void add(uint16_t code, uint32_t value, uint8_t if_true, uint8_t if_false)
{
    program[length++] = (struct sock_filter)BPF_JUMP(code, value, if_true, if_false);
}

/* The lower half of an argument, on a machine with the lower half first. */
static void load(size_t offset)
{
    add(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void allow(void)
{
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

static void refuse(void)
{
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
}

/* A call that is allowed where none of the bits is set in an argument. */
static void allow_without(int call, unsigned argument, uint32_t bits)
{
    add(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 4);
    load(offsetof(struct seccomp_data, args[argument]));
    add(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
    allow();
    refuse();
}

/* An ioctl of this number. The number of the call was loaded before. */
static void allow_ioctls(const uint32_t *requests, uint8_t count)
{
    add(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, (uint8_t)(2 * count + 2));
    load(offsetof(struct seccomp_data, args[1]));
    for (uint8_t i = 0; i < count; i++) {
        add(BPF_JMP | BPF_JEQ | BPF_K, requests[i], 0, 1);
        allow();
    }
    refuse();
}

static void write_program(void)
{
    static const uint32_t ioctls[] = {TUNGETIFF, TUNGETVNETHDRSZ};

    load(offsetof(struct seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    add(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
    load(offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT; i++) {
        add(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
        allow();
    }
    allow_ioctls(ioctls, sizeof ioctls / sizeof *ioctls);
    allow_without(SYS_mmap, 2, PROT_EXEC);
    allow_without(SYS_mprotect, 2, PROT_EXEC);
    refuse();
}

int wse_seccomp_start(void)
{
    struct sock_fprog filter;

    length = 0; /* one that was put up before may have failed */
    write_program();
    filter = (struct sock_fprog){.len = length, .filter = program};
    /* All threads, or none: they were started before. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG, &filter))
        return errno > 0 ? -errno : -EAGAIN;
    return 0;
}

#else

int wse_seccomp_start(void)
{
    wse_log("there is no filter of system calls: this is a build for tests, or not for this processor");
    return 0;
}

#endif
