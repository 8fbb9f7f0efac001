"""The secure echo: its two programs, as they stand, with the double."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from double import Double, Function

from wsasec import Winsock

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES = ["hello", "on loopback", "x" * 1000]
SECONDS = 60
SECURED, ENCRYPTED = 1, 2

KINDS = pytest.mark.parametrize("options", [[], ["--udp"]], ids=["tcp", "udp"])

# Notes at each call of a socket what it is.
WATCHED = """
import runpy, socket, sys
def watched(name):
    before = getattr(socket.socket, name)
    def call(sock, *arguments):
        print(name, sock.fileno(), Double().count, file=sys.stderr, flush=True)
        return before(sock, *arguments)
    setattr(socket.socket, name, call)
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from double import Double
for name in ("bind", "connect", "connect_ex"):
    watched(name)
del sys.argv[1:3]
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    """Run an example, whose calls of the double are in this process's memory."""
    folders = str(Path(__file__).parent), str(EXAMPLES)
    return subprocess.Popen(
        [sys.executable, "-c", WATCHED, *folders, str(EXAMPLES / name), *arguments],
        env=os.environ | {"WSASEC_DOUBLE": f"wsasec-double-{os.getpid()}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


@contextmanager
def server(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = start("secure_echo_server.py", "--port", "0", *options)
    with process:
        try:
            first = process.stdout.readline()
            assert first.startswith("listening on "), process.communicate(timeout=SECONDS)
            yield process, first.rpartition(":")[2].strip()
        finally:
            process.kill()


def client(*arguments: str) -> tuple[int, str, str]:
    with start("secure_echo_client.py", *arguments) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()  # or one that hangs would be waited for without end
    return process.returncode, out, err


def secured_before(err: str, names: tuple[str, ...]) -> None:
    """The double had seen WSASetSocketSecurity when the socket was first bound or connected."""
    seen = [line.split() for line in err.splitlines() if line.startswith(names)]
    assert seen
    assert int(seen[0][2]) >= 1


# No more of them than that: each starts two programs, which takes Wine seconds.
@pytest.mark.parametrize(("host", "options"), [("127.0.0.1", []), ("::1", ["--udp"])], ids=["tcp", "udp"])
def test_echo(double: Double, host: str, options: list[str]) -> None:
    double.answer(SECURED | ENCRYPTED)
    with server("--host", host, *options) as (process, port):
        [secured] = double.calls
        assert secured.function == Function.WSASetSocketSecurity
        assert secured.exclusive is False
        code, out, err = client("--host", host, "--port", port, "--encrypt", *options, *LINES)
        assert code == 0, err
        process.kill()
        said, complaints = process.communicate(timeout=SECONDS)
    assert [line.removeprefix("echo: ") for line in out.splitlines() if "echo" in line] == LINES
    assert "security: encrypted" in out
    assert "security: encrypted" in said
    secured_before(complaints, ("bind",))
    secured_before(err, ("connect",))
    sets = double.calls_of(Function.WSASetSocketSecurity)
    assert [one.data for one in sets] == [bytes(8), bytes([0, 0, 0, 0, 1, 0, 0, 0])]
    # The second was before the first thing that the client's connect() was seen with.
    connects = [int(line.split()[2]) for line in err.splitlines() if line.startswith("connect")]
    assert all(count > sets[1].number for count in connects)
    assert len(double.calls_of(Function.WSAQuerySocketSecurity)) >= 2


@KINDS
def test_a_name(double: Double, options: list[str]) -> None:
    double.answer(SECURED)
    with server(*options) as (_, port):
        code, out, err = client("--port", port, *options, "--peer-name", "host/server", "hello")
    assert (code, "echo: hello" in out, "integrity only" in out) == (0, True, True), err
    [call] = double.calls_of(Function.WSASetSocketPeerTargetName)
    assert "host/server".encode("utf-16-le") in call.data
    connects = [int(line.split()[2]) for line in err.splitlines() if line.startswith("connect")]
    assert all(count > call.number for count in connects)


def test_a_name_that_is_refused(double: Double) -> None:
    double.fail(Function.WSASetSocketPeerTargetName, Winsock.WSAEINVAL)
    code, out, err = client("--port", "9", "--peer-name", "host/server", "hello")
    assert (code, out) == (1, "")
    assert "WSAEINVAL" in err
    assert "connect" not in [line.partition(" ")[0] for line in err.splitlines()]


@KINDS
def test_as_the_client(double: Double, options: list[str]) -> None:
    double.answer(SECURED)
    with server("--impersonate", *options) as (_, port):
        code, out, err = client("--port", port, *options, "one", "two")
    assert code == 0, err
    assert out.endswith("echo: one\necho: two\n") or "echo: two" in out
    assert len(double.calls_of(Function.WSAImpersonateSocketPeer)) == 2
    assert len(double.calls_of(Function.WSARevertImpersonation)) == 2


def test_not_secured(double: Double) -> None:
    """What the system does not call secured is not gone on with."""
    with server() as (_, port):
        double.answer(0)
        code, out, err = client("--port", port, "hello", "again")
    assert code == 1, out
    assert "echo: again" not in out
    assert "not protected" in err or "ended the connection" in err or "no answer" in err


def test_cannot_be_secured(double: Double) -> None:
    double.fail(Function.WSASetSocketSecurity, Winsock.WSAENETDOWN)
    code, out, err = client("--udp", "hello")
    assert (code, out) == (1, "")
    assert "WSAENETDOWN" in err
    assert "connect" not in [line.partition(" ")[0] for line in err.splitlines()]
