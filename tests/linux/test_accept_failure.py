"""A connection whose protection cannot be seen to: it is not had, nothing is sent for it, and it is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Socket policies are set twice, on the listener; then the system has no memory for more.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    static int (*real)(int, int, int, const void *, socklen_t);
    static int policies;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "setsockopt");
    if (level == 0 && name == 17 && ++policies > 2) {
        errno = ENOBUFS;
        return -1;
    }
    return real(fd, level, name, value, length);
}
"""

COMMON = """
import os, socket, warnings, wsasec
warnings.simplefilter("ignore", wsasec.SecurityWarning)
may = wsasec.Settings(flags=wsasec.SecurityFlags.ALLOW_INSECURE)
def connect(address):
    sock = socket.socket()
    sock.settimeout(10)
    sock.connect(address)
    return sock
def descriptors():
    return len(os.listdir("/proc/self/fd"))
def nothing_came(sock):
    sock.settimeout(0.2)
    try:
        return sock.recv(1) and False  # an end would be a packet, too
    except TimeoutError:
        return True
def is_gone(sock):
    sock.settimeout(10)
    sock.sendall(b"x")
    try:
        return not sock.recv(1)
    except ConnectionResetError:
        return True
"""


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("no gcc: apt-get install gcc libc6-dev")
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def run(shim: Path, code: str) -> list[str]:
    environment = os.environ | {"LD_PRELOAD": str(shim)}
    command = [sys.executable, "-c", COMMON + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_accept(shim: Path) -> None:
    out = run(
        shim,
        """
with socket.socket() as listener:
    wsasec.secure(listener, may)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with connect(listener.getsockname()) as sock:
        before = descriptors()
        try:
            wsasec.accept(listener)
        except wsasec.SecurityError as error:
            print(error.winsock.name, error.step.replace(" ", "-"), error.profile, descriptors() - before)
        print(nothing_came(sock), is_gone(sock))
""",
    )
    assert out == ["WSAENOBUFS", "outbound-policy", "default", "0", "True", "True"]


def test_listener(shim: Path) -> None:
    out = run(
        shim,
        """
with wsasec.Listener(("127.0.0.1", 0), settings=may, mode="echo", threads=2) as listener:
    before = descriptors()
    socks = [connect(listener.address) for _ in range(5)]
    print(all([nothing_came(sock) for sock in socks]), all([is_gone(sock) for sock in socks]))
    counts = listener.counts
    print(counts.refused, counts.accepted, counts.errors, descriptors() - before)
""",
    )
    assert out == ["True", "True", "5", "0", "0", "5"]


def test_aio(shim: Path) -> None:
    out = run(
        shim,
        """
import asyncio, threading
from wsasec import aio
told, log = [], []
async def main():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    async with await aio.start_server(lambda *ends: log.append(ends), "127.0.0.1", settings=may) as server:
        sock = await asyncio.to_thread(connect, server.sockets[0].getsockname())
        print(await asyncio.to_thread(nothing_came, sock), len(log))
        print(told[0].winsock.name, told[0].step.replace(" ", "-"), "close it" in told[0].hint)
asyncio.run(main())
""",
    )
    assert out == ["True", "0", "WSAENOBUFS", "outbound-policy", "True"]
