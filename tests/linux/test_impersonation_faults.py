"""Steps of acting as a peer, and of going back, that fail: the thread is itself, or known not to be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from reachable import open_to_all

from wsasec.lab import Namespace

SOURCE = Path(__file__).with_name("failing.c")
HELPERS = Path(__file__).parents[1] / "helpers"

# Argument: the folder of the tests' helpers.
PROGRAM = """
import ctypes, errno, os, socket, sys, warnings
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import fake_daemon
import wsasec
from wsasec import ImpersonationError, SecurityError

warnings.simplefilter("ignore", wsasec.SecurityWarning)
shim = ctypes.CDLL(None)
UID, GID, GROUP = 54321, 54322, 54323
NAMES = ("setgroups", "setresgid", "setresuid", "capset", "getgroups", "capget")
NUMBERS = {"x86_64": (116, 119, 117, 126, 115, 125), "aarch64": (159, 149, 147, 91, 158, 90)}
CALLS = dict(zip(NAMES, NUMBERS[os.uname().machine], strict=True))

def credentials():
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    wanted = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh", "CapAmb")
    return [line for line in lines if line.split(":")[0] in wanted]

def arm(name, after, times):
    shim.failing_times(times)
    shim.failing_arm(8, CALLS[name], 0, after, errno.ENOMEM)

def enter(sock):
    '''Return what is to be left, and what it was refused with.'''
    made = wsasec.impersonate(sock)
    try:
        made.__enter__()
    except SecurityError as error:
        return made, error
    assert os.geteuid() == UID
    return made, None

def as_ever(sock):
    '''It can be done.'''
    with wsasec.impersonate(sock):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (UID, GID, [GROUP])
    assert credentials() == before

def refused(sock, name, after):
    '''Fails once: nothing has happened.'''
    arm(name, after, 1)
    _, error = enter(sock)
    assert shim.failing_count() == 1, name
    assert error is not None and not isinstance(error, ImpersonationError), (name, error)
    assert credentials() == before, (name, credentials())
    wsasec.revert_impersonation()  # there is nothing to revert
    as_ever(sock)

def stuck(sock, name):
    '''Fails on the way back, too: it is said, nobody else can be acted as, and it can be tried again.'''
    arm(name, 0, 1000)
    made, error = enter(sock)
    assert isinstance(error, ImpersonationError), (name, error)
    assert error.step == "WSARevertImpersonation"
    try:
        wsasec.revert_impersonation()
        raise AssertionError("it did go back")
    except ImpersonationError:
        pass
    assert wsasec.WSAImpersonateSocketPeer(sock, None, 0) == wsasec.SOCKET_ERROR
    assert wsasec.WSAGetLastError() == wsasec.Winsock.WSAEINVAL
    assert shim.failing_count() >= 3, name
    wsasec.revert_impersonation()
    assert credentials() == before, (name, credentials())
    as_ever(sock)

def not_back(sock, name, after):
    '''Fails on the way back from a peer.'''
    made, error = enter(sock)
    assert error is None
    arm(name, after, 1)
    try:
        made.__exit__(None, None, None)
        raise AssertionError(f"{name}: nobody was told")
    except ImpersonationError:
        pass
    assert shim.failing_count() == 1, name
    wsasec.revert_impersonation()
    assert credentials() == before, (name, credentials())
    as_ever(sock)

os.setgroups([7, 8])
before = credentials()
with (
    fake_daemon.FakeDaemon(Path(os.environ["WSASEC_RUN"])) as daemon,
    socket.create_server(("127.0.0.1", 0)) as server,
    socket.create_connection(server.getsockname()) as sock,
):
    daemon.handler = lambda question: [question.answer(fake_daemon.account(UID, GID, [GROUP]))]
    default = next(iter(wsasec.profiles.active().values()))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, default.mark)
    as_ever(sock)
    for name, times in (("getgroups", 2), ("capget", 1)):
        for after in range(times):
            refused(sock, name, after)
    for name in ("setgroups", "setresgid", "setresuid", "capset"):
        refused(sock, name, 0)
        stuck(sock, name)
        not_back(sock, name, 0)
    not_back(sock, "capset", 1)
    as_ever(sock)
print("done")
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("no gcc: apt-get install gcc")
    library = tmp_path_factory.mktemp("shim") / "failing.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True, timeout=60)
    return library


def test_steps_that_fail(realm: Namespace, shim: Path, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    words = [
        "env",
        f"LD_PRELOAD={shim}",
        f"WSASEC_RUN={tmp_path}",
        sys.executable,
        "-c",
        PROGRAM,
        str(HELPERS),
    ]
    done = realm.run(words, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
