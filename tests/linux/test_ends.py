"""No descriptors left for servers and fleets, and an interpreter that ends before a fleet."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

import wsasec
from wsasec import Settings, aio

Run = Callable[[Coroutine[Any, Any, Any]], Any]

# The first of its loops makes a pipe that stays for the life of the process.
uvloop.new_event_loop().close()

# --- an asyncio server ---


@contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(100))
    writer.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_server_that_cannot_accept(run: Run) -> None:
    """What came meanwhile is served later, or was refused; what comes after is served."""
    told: list[dict[str, Any]] = []

    async def ask(sock: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"echo")
        return await loop.sock_recv(sock, 100)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context))
        insecure = Settings(wsasec.SecurityFlags.ALLOW_INSECURE)
        async with await aio.start_server(echo, "127.0.0.1", settings=insecure) as server:
            address = server.sockets[0].getsockname()
            with socket.socket() as early, socket.socket() as late:
                early.setblocking(False)
                late.setblocking(False)
                await asyncio.sleep(0)
                with no_descriptors():
                    await loop.sock_connect(early, address)
                    await asyncio.sleep(0.2)
                assert server.is_serving()
                if run is asyncio.run:  # uvloop refuses the connection, and says nothing
                    assert "out of system resource" in told[0]["message"]
                async with asyncio.timeout(30):
                    with suppress(ConnectionError):
                        assert await ask(early) in (b"echo", b"")
                    await loop.sock_connect(late, address)
                    assert await ask(late) == b"echo"

    run(main())


# --- fleets ---

FLEET = """
import sys, warnings
import wsasec
from wsasec.fleet import Fleet, FleetError

warnings.simplefilter("ignore", wsasec.SecurityWarning)

def number(batch, index):
    return index

if __name__ == "__main__":
"""


def fleet(tmp_path: Path, text: str, *prefix: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "program.py"
    script.write_text(FLEET + textwrap.indent(text, "    "))
    return subprocess.run(
        [*prefix, sys.executable, "-W", "default::ResourceWarning", str(script)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("used", ["", "fleet.run(number)"], ids=["new", "used"])
def test_an_interpreter_that_ends_with_an_open_fleet(tmp_path: Path, used: str) -> None:
    """Its workers end with it, soon; nothing but the warning is said."""
    text = f"""
fleet = Fleet(20, processes=2)
{used}
print(*(row.pid for row in fleet.made.rows))
"""
    done = fleet(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    pids = list(map(int, done.stdout.split()))
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_fleet_whose_workers_have_no_descriptors(tmp_path: Path) -> None:
    text = """
try:
    Fleet(2000, processes=2)
except FleetError as error:
    cause = error.__cause__
    print(type(cause).__name__, cause.winsock.name, len(error.failures), bool(cause.hint))
with Fleet(20, processes=2) as fleet:
    print(fleet.run(number).values)
"""
    done = fleet(tmp_path, text, "sh", "-c", 'ulimit -n 500; exec "$0" "$@"')
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "BatchError WSAEMFILE 2 True"
    assert second == "[0, 1]"


def test_a_fleet_for_which_there_are_no_descriptors(tmp_path: Path) -> None:
    """However many there are, short of enough: no worker is left, and no descriptor."""
    text = """
import errno, multiprocessing, os, resource
Fleet(2, processes=2).close()  # whatever is made once
before = sorted(os.listdir("/proc/self/fd"))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
free = os.dup(0)
os.close(free)
failed = 0
while True:
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + failed, hard))
    try:
        fleet = Fleet(2, processes=2, timeout=30)
        break
    except OSError as error:
        assert error.errno == errno.EMFILE, error
    except FleetError:
        pass  # a worker inherits the limit
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sorted(os.listdir("/proc/self/fd")) == before, failed
    assert not multiprocessing.active_children()
    failed += 1
    assert failed < 200
with fleet:
    print(failed, fleet.run(number).values)
"""
    done = fleet(tmp_path, text)
    assert done.returncode == 0, done.stderr
    failed, values = done.stdout.split(maxsplit=1)
    assert int(failed) > 2
    assert values == "[0, 1]\n"
