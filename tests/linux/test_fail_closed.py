"""No SA, or a step that failed: the wire stays silent, and a capture says so."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import wsasec
from wsasec import IpsecSettings, SecurityError, SecurityFlags, Settings, profiles
from wsasec.lab import Capture, Namespace

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
families = pytest.mark.parametrize(("family", "host"), FAMILIES, ids=["v4", "v6"])
types = pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])

NOTHING_ACCEPTED = {errno.EAGAIN, errno.ENODEV, errno.ENETUNREACH}


def try_everything(sock: socket.socket, host: str, port: int) -> None:
    """Every way out of an unconnected socket; each must fail at once."""
    sock.setblocking(False)
    assert sock.connect_ex((host, port)) in NOTHING_ACCEPTED
    for flags in (0, socket.MSG_DONTWAIT, getattr(socket, "MSG_FASTOPEN", 0)):
        with pytest.raises(OSError) as caught:
            sock.sendto(b"secret", flags, (host, port))
        assert caught.value.errno in NOTHING_ACCEPTED | {errno.EPIPE, errno.ENOTCONN, errno.EOPNOTSUPP}


def silence(capture: Capture, host: str, kind: int) -> None:
    """Send a plain datagram last: when it has been seen, so has all that came before it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
        socket.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((host, 0))
        sender.sendto(b"plain", receiver.getsockname())
        assert capture.wait(lambda counts: counts.clear_by_state["UDP"] >= 1, 10)
    counts = capture.snapshot()
    assert counts.esp == 0
    assert counts.dropped == 0
    # Loopback shows a packet once as it leaves and once as it arrives.
    assert counts.clear_by_state["UDP"] == counts.clear <= 2, (counts, kind)


@families
@types
@pytest.mark.parametrize(
    "settings",
    [None, Settings(SecurityFlags.GUARANTEE_ENCRYPTION), IpsecSettings(qm_policy=profiles.DEFAULT)],
    ids=["default", "guaranteed", "by key"],
)
def test_without_an_association_nothing_is_sent(
    realm: Namespace, family: int, host: str, kind: int, settings: Settings | IpsecSettings | None
) -> None:
    with Capture(realm) as capture:
        with socket.socket(family, kind) as sock:
            wsasec.secure(sock, settings)
            try_everything(sock, host, 9)
        silence(capture, host, kind)


@families
def test_a_secured_listener_answers_nothing_in_clear(realm: Namespace, family: int, host: str) -> None:
    """Not even with a reset."""
    with Capture(realm) as capture, socket.socket(family) as listener, socket.socket(family) as client:
        wsasec.secure(listener)
        listener.bind((host, 0))
        listener.listen()
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.connect(listener.getsockname())
        assert capture.wait(lambda counts: counts.clear_by_state["SYN"] >= 1, 10)
        client.close()
        counts = capture.snapshot()
        assert set(+counts.clear_by_state) == {"SYN"}, counts


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
/* Fails the call of setsockopt that the environment names: LEVEL, NAME, and how many of those to let pass. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    static int passed;
    int (*real)(int, int, int, const void *, socklen_t) =
        (int (*)(int, int, int, const void *, socklen_t))dlsym(RTLD_NEXT, "setsockopt");
    const char *text = getenv("FAIL_LEVEL");
    if (text && level == atoi(text) && name == atoi(getenv("FAIL_NAME")) &&
        passed++ == atoi(getenv("FAIL_AFTER"))) {
        errno = atoi(getenv("FAIL_ERRNO"));
        return -1;
    }
    return real(fd, level, name, value, length);
}
"""

FAILING = """
import os, socket, sys, warnings
warnings.simplefilter("ignore")
import wsasec
family = socket.AF_INET6 if sys.argv[1] == "v6" else socket.AF_INET
host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
sock = socket.socket(family, socket.SOCK_DGRAM)
try:
    wsasec.secure(sock)
except wsasec.SecurityError as error:
    print(error.step, error.winsock.name, error.errno, sep=",")
    assert "can send nothing" in error.hint
for call in (lambda: sock.sendto(b"secret", (host, 9)), lambda: sock.connect((host, 9))):
    try:
        call()
    except OSError:
        continue
    sys.exit("it was sent")
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("no gcc: apt-get install gcc")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    library = folder / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "shim.c"], check=True, timeout=60)
    return library


IP_XFRM_POLICY, IPV6_XFRM_POLICY = 17, 35
STEPS = [
    ("v4", socket.SOL_SOCKET, socket.SO_REUSEPORT, 0, errno.ENOMEM, "exclusive port,WSAENOBUFS"),
    ("v4", socket.IPPROTO_IP, IP_XFRM_POLICY, 0, errno.ENOMEM, "outbound policy,WSAENOBUFS"),
    ("v4", socket.IPPROTO_IP, IP_XFRM_POLICY, 1, errno.EPERM, "inbound policy,WSAEACCES"),
    ("v4", socket.IPPROTO_IP, IP_XFRM_POLICY, 0, errno.ENOPROTOOPT, "outbound policy,WSAEPROTONOSUPPORT"),
    ("v4", socket.SOL_SOCKET, socket.SO_MARK, 0, errno.EPERM, "mark,WSAEACCES"),
    ("v6", socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0, errno.ENOMEM, "IPV6_V6ONLY,WSAENOBUFS"),
    ("v6", socket.IPPROTO_IPV6, IPV6_XFRM_POLICY, 0, errno.EAFNOSUPPORT, "outbound policy,WSAEAFNOSUPPORT"),
    ("v6", socket.IPPROTO_IPV6, IPV6_XFRM_POLICY, 1, errno.EINVAL, "inbound policy,WSAENETDOWN"),
    ("v6", socket.SOL_SOCKET, socket.SO_MARK, 0, errno.EIO, "mark,WSAENETDOWN"),
]


@pytest.mark.parametrize(
    ("family", "level", "name", "after", "error", "want"), STEPS, ids=lambda value: str(value)
)
def test_each_step_that_fails(
    realm: Namespace, shim: Path, family: str, level: int, name: int, after: int, error: int, want: str
) -> None:
    environment = [
        f"LD_PRELOAD={shim}",
        f"FAIL_LEVEL={int(level)}",
        f"FAIL_NAME={int(name)}",
        f"FAIL_AFTER={after}",
        f"FAIL_ERRNO={error}",
    ]
    host = "::1" if family == "v6" else "127.0.0.1"
    with Capture(realm) as capture:
        done = realm.run(["env", *environment, sys.executable, "-c", FAILING, family], check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"{want},{error}"
        silence(capture, host, socket.SOCK_DGRAM)


def test_a_blocked_socket_is_silent(realm: Namespace) -> None:
    where = ["src", "0.0.0.0/0", "dst", "0.0.0.0/0", "dir", "out", "mark", "0x57000000", "mask", "0xff000000"]
    realm.run(["ip", "xfrm", "policy", "add", *where, "action", "block"])
    with Capture(realm) as capture:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as sock:
                with pytest.raises(SecurityError):
                    wsasec.secure(sock)
                try_everything(sock, "127.0.0.1", 9)
        silence(capture, "127.0.0.1", socket.SOCK_DGRAM)


def test_a_wrong_policy_key_leaves_a_plain_socket(realm: Namespace) -> None:
    """The control: what only failed a check may send, and the capture sees it."""
    with Capture(realm) as capture, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(SecurityError):
            wsasec.secure(sock, IpsecSettings(qm_policy=uuid.uuid4()))
        sock.sendto(b"plain", ("127.0.0.1", 9))
        assert capture.wait(lambda counts: counts.clear >= 1, 10)
