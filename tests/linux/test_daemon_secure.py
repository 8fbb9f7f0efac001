"""Sockets of programs without CAP_NET_ADMIN, secured by the daemon."""

from __future__ import annotations

import array
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from daemon_talk import Talk, answer, message, question, send, serving, until, verdict

import wsasec
from wsasec import _wsasec, profiles
from wsasec.config.model import Access, Config
from wsasec.daemon.protocol import SECURED, Kind
from wsasec.keys.reason import Reason
from wsasec.lab import Namespace

NOBODY = 65534
EVERYONE = (Access(everyone=True),)
XFRM_POLICY = {socket.AF_INET: (socket.IPPROTO_IP, 17), socket.AF_INET6: (socket.IPPROTO_IPV6, 35)}


def secure(sock: socket.socket, settings: bytes, *descriptors: int) -> tuple[list[int], tuple[int, ...]]:
    send(sock, message(Kind.SECURE, settings), descriptors)
    body = answer(sock, Kind.SECURE)
    first, count, _ = SECURED.unpack_from(body)
    codes = array.array("i", body[SECURED.size :]).tolist()
    assert count == len(codes)
    return codes, struct.unpack("=iiHHHH", first)


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    with serving(tmp_path, Config(Path("wsasec.toml"), access=EVERYONE)) as found:
        yield found


def mark(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["stream", "datagram"])
def test_without_privilege(
    talk: Talk,
    family: socket.AddressFamily,
    kind: int,
    without_net_admin: Callable[[], AbstractContextManager[None]],
) -> None:
    with talk.connect() as sock, socket.socket(family, kind) as one, without_net_admin():
        with pytest.raises(PermissionError):
            one.setsockopt(*XFRM_POLICY[family], b"")
        assert secure(sock, b"", one.fileno()) == ([0], (0,) * 6)
        assert mark(one) == profiles.DEFAULT.mark
        # Nothing leaves without an SA.
        one.connect_ex(("127.0.0.1" if family == socket.AF_INET else "::1", 9))
        with pytest.raises(OSError):
            one.send(b"x")
        assert secure(sock, b"", one.fileno())[0] == [-10022]


def test_many(talk: Talk) -> None:
    made = [socket.socket() for _ in range(250)]
    try:
        with talk.connect() as sock:
            codes, _ = secure(sock, b"", *(one.fileno() for one in made))
            assert codes == [0] * 250
        assert {mark(one) for one in made} == {profiles.DEFAULT.mark}
    finally:
        for one in made:
            one.close()


def test_each_has_its_code(talk: Talk) -> None:
    left, right = socket.socketpair()
    with talk.connect() as sock, socket.socket() as good, socket.socket() as bound, left, right:
        bound.bind(("127.0.0.1", 0))
        with Path(os.devnull).open() as file:
            numbers = [good.fileno(), file.fileno(), left.fileno(), bound.fileno()]
            codes, first = secure(sock, b"", *numbers)
        assert codes == [0, -10038, -10022, -10022]
        assert first[0] == -10038


@pytest.mark.parametrize(
    "settings",
    [
        b"x",
        b"\0" * 7,
        struct.pack("=II", 3, 0),
        struct.pack("=II", 0, 0x80),
        struct.pack("=III16s16s16sIIIII", 1, 0, 0, b"k" * 16, b"", b"", 0, 0, 0, 0, 0).ljust(88, b"\0"),
    ],
    ids=["one byte", "short", "protocol", "flag", "no such profile"],
)
def test_wrong_settings(talk: Talk, settings: bytes) -> None:
    with talk.connect() as sock, socket.socket() as one:
        (code,), first = secure(sock, settings, one.fileno())
        assert code == first[0] < 0
        assert mark(one) == 0
        wsasec.secure(one)  # it was left as it was


def test_settings_of_python(talk: Talk) -> None:
    settings = _wsasec.settings_bytes(wsasec.IpsecSettings(password="secret"))
    with talk.connect() as sock, socket.socket() as one:
        assert secure(sock, settings, one.fileno())[0] == [0]
        # Right after the answer.
        until(lambda: b"s\0e\0c\0r\0e\0t\0" not in bytes(talk.server._buffer))


def test_another_namespace(talk: Talk) -> None:
    """Its sockets are left as they are, and no guard gets there."""
    with Namespace("other") as other, other.socket() as foreign, socket.socket() as own:
        with talk.connect() as sock:
            codes, first = secure(sock, b"", foreign.fileno(), own.fileno())
            assert codes == [-10013, 0]
            assert (first[0], first[3]) == (-10013, Reason.DAEMON_NAMESPACE)
            assert mark(foreign) == 0
            send(sock, message(Kind.NEGOTIATE, question()), [foreign.fileno()])
            assert verdict(answer(sock, Kind.NEGOTIATE))[1] == Reason.DAEMON_NAMESPACE
        assert "mark" not in other.policies()


AS_NOBODY = """
import os, socket, sys
sys.path.insert(0, sys.argv[2])
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
from daemon_talk import *
from wsasec.daemon.protocol import SECURED
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect(sys.argv[1])
with socket.socket() as one:
    send(sock, message(Kind.SECURE), [one.fileno()])
    body = answer(sock, Kind.SECURE)
    reason = int.from_bytes(body[10:12], sys.byteorder)
    print(int.from_bytes(body[SECURED.size:], sys.byteorder, signed=True), reason,
          one.getsockopt(socket.SOL_SOCKET, socket.SO_MARK))
"""


@pytest.mark.parametrize(
    ("access", "may"),
    [
        ((), False),
        ((Access(users=("root",)),), False),
        ((Access(users=("nobody",)),), True),
        ((Access(users=("65534",)),), True),
        ((Access(groups=("65534",)),), True),
        ((Access(groups=("root",)),), False),
        ((Access(everyone=True, profiles=("site",)),), False),
        ((Access(everyone=True, profiles=("site", "default")),), True),
    ],
    ids=str,
)
def test_access(access: tuple[Access, ...], may: bool) -> None:
    if os.geteuid() or Path("/proc/self/uid_map").read_text().split()[2] != "4294967295":
        pytest.skip("only root can become another user")
    # pytest's own folders are root's alone.
    with (
        tempfile.TemporaryDirectory(prefix="wsasec-") as folder,
        serving(Path(folder), Config(Path("wsasec.toml"), access=access)) as talk,
    ):
        Path(folder).chmod(0o755)
        talk.path.chmod(0o666)
        words = [sys.executable, "-c", AS_NOBODY, str(talk.path), str(Path(__file__).parents[1] / "helpers")]
        said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert said.stderr == ""
    wanted = f"0 0 {profiles.DEFAULT.mark}" if may else f"-10013 {int(Reason.NOT_ALLOWED)} 0"
    assert said.stdout.strip() == wanted
