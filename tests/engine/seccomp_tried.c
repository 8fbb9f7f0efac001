/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the engine's filter on, and tries what it is to refuse, and some of what it is to allow. Ends with 0 if it is so. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp.h"

static int faults;

static void say(const char *what)
{
    if (write(2, what, strlen(what)) < 0 || write(2, "\n", 1) < 0)
        faults++;
    faults++;
}

#define REFUSED(call)                                                                                                  \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        if ((long)(call) != -1 || errno != EPERM)                                                                      \
            say("not refused: " #call);                                                                                \
    } while (0)
#define ALLOWED(call)                                                                                                  \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        if ((long)(call) == -1 && errno == EPERM)                                                                      \
            say("refused: " #call);                                                                                    \
    } while (0)

int main(void)
{
    char *const none[] = {NULL};
    char text[4096] = "";
    void *page;

    if (syscall(SYS_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0) || wse_seccomp_start())
        return 1;
    REFUSED(open("/etc/passwd", O_RDONLY));
    REFUSED(syscall(SYS_openat2, 0, 0, 0, 0));
    REFUSED(execve("/bin/sh", none, none));
    REFUSED(syscall(SYS_execveat, 0, "", none, none, 0));
    REFUSED(syscall(SYS_clone, 0, 0, 0, 0, 0));
    REFUSED(syscall(SYS_clone3, 0, 0));
    REFUSED(socket(AF_INET, SOCK_STREAM, 0));
    REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
    REFUSED(connect(0, NULL, 0));
    REFUSED(bind(0, NULL, 0));
    REFUSED(syscall(SYS_ptrace, 0, 0, 0, 0));
    REFUSED(syscall(SYS_process_vm_readv, 0, 0, 0, 0, 0, 0));
    REFUSED(syscall(SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0));
    REFUSED(syscall(SYS_setresuid, 0, 0, 0));
    REFUSED(syscall(SYS_capset, 0, 0));
    REFUSED(syscall(SYS_setns, 0, 0));
    REFUSED(syscall(SYS_unshare, 0));
    REFUSED(syscall(SYS_mount, 0, 0, 0, 0, 0));
    REFUSED(syscall(SYS_bpf, 0, 0, 0));
    REFUSED(syscall(SYS_io_uring_setup, 0, 0));
    REFUSED(syscall(SYS_kill, 0, 0));
    REFUSED(syscall(SYS_munlockall));
    REFUSED(syscall(SYS_prlimit64, 0, 4, 0, 0));
    REFUSED(ioctl(0, TUNSETIFF, text));
    REFUSED(ioctl(0, 0x5413, text));
    REFUSED(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        say("no page");
    REFUSED(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    ALLOWED(mprotect(page, 4096, PROT_READ));
    ALLOWED(ioctl(0, TUNGETIFF, text));
    ALLOWED(read(0, text, 1));
    ALLOWED(recvmsg(0, NULL, 0));
    ALLOWED(getpid());
    return faults != 0;
}
