"""Becomes the engine: gives up every privilege, and leaves it one descriptor. Run as a file of its own.

As `python -I -S launch.py PROGRAM CONTROL MEMLOCK UID GID ARGUMENT...`: the program and the control socket
are descriptors, the limit is in bytes, UID -1 is for the user that this is. It is a process of its own, as
one with threads must not do such between fork and exec.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CONTROL = 3
_VERSION_3 = 0x20080522
_RAISED = 5  # docs/engine.md, "What was tried"


def _check(code: int, what: str) -> None:
    if code:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _limit(which: int, most: int) -> None:
    """Set a limit; where that takes a privilege that is missing, as near as can be."""
    _, hard = resource.getrlimit(which)
    try:
        resource.setrlimit(which, (most, most))
    except (ValueError, PermissionError):
        resource.setrlimit(which, (hard, hard))


def _take_real_time() -> None:
    """Run by real time from now on, if that may be: the engine needs it for some of its threads."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))


def _lower_niceness() -> int:
    """Go before others, if that may be: the engine has its threads for inbound packets do so. By how much."""
    before = os.nice(0)
    with contextlib.suppress(OSError):
        return before - os.nice(-_RAISED)
    return 0


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    for number in range(64):
        held = libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)
        if held < 0:
            break
        # Without CAP_SETPCAP there is none to give up either, but for what no_new_privs holds back.
        if held and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) and ctypes.get_errno() != 1:
            _check(-1, "dropping a capability")
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "dropping capabilities")


def main(words: list[str]) -> None:
    """Give up all, then run the program."""
    program, control, memlock, uid, gid = map(int, words[:5])
    libc = ctypes.CDLL(None, use_errno=True)
    if program == _CONTROL:
        program = os.dup(program)
    if control == _CONTROL:
        os.set_inheritable(control, True)
    else:
        os.dup2(control, _CONTROL)
    os.set_inheritable(program, False)
    for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        if fd > _CONTROL and fd != program:
            _close(fd)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_MEMLOCK, memlock)
    _take_real_time()
    raised = _lower_niceness()
    _drop_capabilities(libc)
    if uid >= 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    empty = (ctypes.c_uint32 * 6)()
    _check(libc.capset((ctypes.c_uint32 * 2)(_VERSION_3, 0), empty), "dropping capabilities")
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):  # those of the C library itself
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.chdir("/")
    os.umask(0o077)
    os.execve(program, [*words[5:], "--raised", f"{raised}"], {"LC_ALL": "C"})  # noqa: S606


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # the one by which the folder was read
        os.close(fd)


if __name__ == "__main__":
    main(sys.argv[1:])
