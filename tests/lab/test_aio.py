"""asyncio's connections and servers on the wire, under its own loop and uvloop's."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from wire import TIMEOUT, Wire, net_stat, tcp_states

from wsasec import aio
from wsasec.aio import waiting

pytestmark = pytest.mark.lab

Run = Callable[[Coroutine[Any, Any, Any]], Any]

# The first of its loops makes a pipe that stays for the life of the process.
uvloop.new_event_loop().close()

FEW, LEAST, MANY = 300, 1000, 10_000
"""Connections on one loop: as many as fit into half a minute. WSASEC_TEST_CONNECTIONS: how many."""
MAKING_SECONDS = 15


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, test_seconds: int) -> Run:
    """Run a coroutine to its end in a loop of this kind."""

    async def in_time(main: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(test_seconds - 10):
            return await main

    return lambda main: request.param(in_time(main))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def serving(wire: Wire, callback: Any = echo, **options: Any) -> AsyncIterator[Any]:
    """Serve at host b; gives the address."""
    with wire.b.entered():
        server = await aio.start_server(callback, wire.host(wire.b), 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[:2]


async def connected(
    wire: Wire, address: Any, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect from host a. The thread is there as long as it takes, and so is what else is run meanwhile."""
    with wire.a.entered():
        return await aio.open_connection(*address, timeout=60, **options)


async def bye(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    for writer in writers:
        await writer.wait_closed()


async def settled(wire: Wire) -> None:
    """Let the server's side close, too, before the loop ends."""
    async with asyncio.timeout(TIMEOUT):
        while set(tcp_states(wire.b)) - {"LISTEN", "TIME_WAIT"}:
            await asyncio.sleep(0.01)


def test_streams(make_wire, run):
    async def main(wire: Wire) -> None:
        async with serving(wire) as address:
            reader, writer = await connected(wire, address)
            data = os.urandom(200_000)
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
            await bye(writer)
            await settled(wire)

    with make_wire() as wire:
        run(main(wire))


def test_local_address(make_wire, run):
    async def main(wire: Wire) -> None:
        async with serving(wire, lambda reader, writer: writer.close()) as address:
            reader, writer = await connected(wire, address, local_addr=(wire.host(wire.a), 40_404))
            assert writer.get_extra_info("sockname")[:2] == (wire.host(wire.a), 40_404)
            assert await reader.read() == b""
            await bye(writer)
            await settled(wire)

    with make_wire() as wire:
        run(main(wire))


def test_refused(make_wire, run):
    """By a reset under ESP."""

    async def main(wire: Wire) -> None:
        with pytest.raises(ConnectionRefusedError):
            await connected(wire, (wire.host(wire.b), 4711))

    with make_wire() as wire:
        with wire.secured(wire.b):  # puts up the guard there, which protects the reset
            pass
        run(main(wire))


@pytest.mark.parametrize("cookies", [0, 2], ids=["without", "cookies"])
def test_accepted_sockets_have_their_own_policies(make_wire, run, cookies):
    """Under SYN cookies, too: what the server sends first leaves without a guard that could hold it."""
    data = os.urandom(50_000)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        assert await reader.readexactly(2) == b"ok"
        writer.close()

    async def main(wire: Wire) -> None:
        async with serving(wire, speak) as address:
            wire.b.run(["ip", "xfrm", "policy", "flush"])
            reader, writer = await connected(wire, address)
            assert await reader.readexactly(len(data)) == data
            assert wire.b.run(["ip", "xfrm", "policy", "list", "nosock"]).stdout == ""
            with wire.secured(wire.b):  # brings the guard back, for the last ACKs
                pass
            writer.write(b"ok")
            assert await reader.read() == b""
            await bye(writer)
            await settled(wire)

    with make_wire() as wire:
        wire.b.sysctl("net.ipv4.tcp_syncookies", cookies)
        run(main(wire))
        assert net_stat(wire.b, "TcpExt.SyncookiesRecv") == (1 if cookies else 0)


def test_many_wait_for_the_association(make_wire, run):
    """One finds it, the others follow."""
    count = 200

    async def main(wire: Wire) -> None:
        async with serving(wire, backlog=count) as address:
            with wire.a.entered():
                tasks = [
                    asyncio.ensure_future(aio.open_connection(*address, timeout=60)) for _ in range(count)
                ]
                room = waiting._rooms
                loop = asyncio.get_running_loop()
                while loop not in room or room[loop].waiting < count:
                    await asyncio.sleep(0.01)
                assert len(room[loop].groups) == 1
            wire.lab.add_sas()
            ends = await asyncio.gather(*tasks)
            assert not room[loop].groups
            for reader, writer in ends:
                writer.write(b"at last")
                assert await reader.readexactly(7) == b"at last"
            await bye(*(writer for _, writer in ends))
            await settled(wire)

    with make_wire(keys=False) as wire:
        run(main(wire))


def test_cancelled_while_it_waits(make_wire, run):
    async def main(wire: Wire) -> None:
        async with serving(wire) as address:
            task = asyncio.create_task(connected(wire, address))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            wire.lab.add_sas()
            reader, writer = await connected(wire, address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await bye(writer)
            await settled(wire)

    with make_wire(keys=False) as wire:
        run(main(wire))


def test_the_association_goes_and_comes(make_wire, run):
    """Of a connection: what is written waits, and arrives; nothing of it is lost or in clear."""
    data = os.urandom(50_000)

    async def main(wire: Wire) -> None:
        async with serving(wire) as address:
            reader, writer = await connected(wire, address)
            writer.write(b"before")
            assert await reader.readexactly(6) == b"before"
            wire.lab.remove_sas()
            writer.write(data)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readexactly(1), 0.5)
            wire.lab.add_sas()
            assert await asyncio.wait_for(reader.readexactly(len(data)), 40) == data
            await bye(writer)
            await settled(wire)

    with make_wire(esp=None) as wire:
        run(main(wire))
    assert wire.capture.counts.esp_bytes > 2 * len(data)


# --- thousands ---

_SERVER = """
import asyncio, sys, uvloop
from wsasec import aio

class Echo(asyncio.Protocol):
    open = most = 0
    def connection_made(self, transport):
        self.transport = transport
        Echo.open += 1
        Echo.most = max(Echo.most, Echo.open)
    def data_received(self, data):
        self.transport.write(data)
    def connection_lost(self, error):
        Echo.open -= 1

async def main(host):
    server = await aio.create_server(Echo, host, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(Echo.most, flush=True)
    server.close()

{"asyncio": asyncio, "uvloop": uvloop}[sys.argv[1]].run(main(sys.argv[2]))
"""


@pytest.fixture
def descriptors() -> Iterator[Callable[[int], None]]:
    """Return what raises the limit, for the test and its children."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def need(count: int) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], count), max(before[1], count)))

    yield need
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("family", [socket.AF_INET], ids=["v4"])
@pytest.mark.parametrize("test_seconds", [240])
def test_thousands_on_one_loop(make_wire, run, request, descriptors):
    """All open at a time, and each of them works."""
    kind = "uvloop" if "uvloop" in request.node.name else "asyncio"
    wanted = int(os.environ.get("WSASEC_TEST_CONNECTIONS", 0))
    descriptors((wanted or MANY) + 500)

    class Client(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.answer = asyncio.get_running_loop().create_future()
            self.lost = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.answer.set_result(data)

        def connection_lost(self, error: Exception | None) -> None:
            self.lost.set_result(error)

    async def main(wire: Wire, address: Any) -> int:
        turn = asyncio.Semaphore(256)  # a queue of connections is longer nowhere

        async def one() -> Client:
            async with turn:
                return (await aio.create_connection(Client, *address, timeout=60))[1]

        with wire.a.entered():
            began = time.monotonic()
            clients = await asyncio.gather(*(one() for _ in range(FEW)))
            fit = round(FEW * MAKING_SECONDS / (time.monotonic() - began))
            count = wanted or min(max(fit, LEAST), MANY)
            clients += await asyncio.gather(*(one() for _ in range(count - FEW)))
        assert tcp_states(wire.a)["ESTABLISHED"] == count
        for number, client in enumerate(clients):
            client.transport.write(b"%d" % number)
        answers = await asyncio.gather(*(client.answer for client in clients))
        assert answers == [b"%d" % number for number in range(count)]
        for client in clients:
            client.transport.close()
        assert set(await asyncio.gather(*(client.lost for client in clients))) == {None}
        return count

    with make_wire() as wire:
        server = wire.b.popen(
            [sys.executable, "-c", _SERVER, kind, wire.host(wire.b)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with server:
            port = int(server.stdout.readline())
            count = run(main(wire, (wire.host(wire.b), port)))
            most = server.communicate("\n", timeout=60)[0]
            assert int(most) == count
