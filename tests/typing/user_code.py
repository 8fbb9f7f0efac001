"""What programs write, as mypy --strict sees it. It is checked, never run; each ignored error must be one."""

import asyncio
import ctypes
import socket
import uuid
from array import array
from typing import assert_type

import urllib3

import wsasec
from wsasec import (
    BatchError,
    IpsecSettings,
    Profile,
    QueryFields,
    SecurityError,
    SecurityFlags,
    Settings,
    Token,
    Winsock,
)
from wsasec.contrib.locust import SecuredFastHttpUser, SecuredHttpUser
from wsasec.contrib.urllib3 import SecuredPoolManager
from wsasec.fleet import Fleet, FleetError, FleetResult


class Wrapper:
    """Anything with a fileno() is a socket."""

    def fileno(self) -> int:
        return 3


def one(sock: socket.socket) -> None:
    wsasec.secure(sock)
    wsasec.secure(sock.fileno())
    wsasec.secure(Wrapper(), None)
    wsasec.secure(sock, Settings(SecurityFlags.GUARANTEE_ENCRYPTION | SecurityFlags.ALLOW_INSECURE))
    wsasec.secure(sock, IpsecSettings(qm_policy=uuid.uuid4()))
    wsasec.secure(socket=sock, settings=Settings())
    wsasec.secure("3")  # type: ignore[arg-type]
    wsasec.secure(sock, b"\0" * 8)  # type: ignore[arg-type]
    wsasec.secure()  # type: ignore[call-arg]
    wsasec.secure(sock, Settings(flags=1))  # type: ignore[arg-type]
    wsasec.secure(sock, IpsecSettings(qm_policy="default"))  # type: ignore[arg-type]


def many(socks: list[socket.socket], numbers: "array[int]", errors: str) -> None:
    wsasec.secure_many(socks)
    wsasec.secure_many(numbers, Settings())
    wsasec.secure_many(memoryview(numbers))
    wsasec.secure_many(sock.fileno() for sock in socks)
    wsasec.secure_many([socks[0], 4, Wrapper()], errors="raise")
    assert_type(wsasec.secure_many(socks, errors="return"), "array[int]")
    assert_type(wsasec.secure_many(socks, None, errors="return")[0], int)
    wsasec.secure_many(socks, errors="ignore")  # type: ignore[call-overload]
    wsasec.secure_many(socks, errors=errors)  # type: ignore[call-overload]
    wsasec.secure_many(socks, None, "return")  # type: ignore[call-overload]
    wsasec.secure_many(["a"])  # type: ignore[list-item]


def options() -> None:
    found = wsasec.socket_options(Settings(), family=socket.AF_INET)
    assert_type(found, list[tuple[int, int, bytes]])
    with socket.socket() as sock:
        for level, name, value in found:
            sock.setsockopt(level, name, value)
    wsasec.socket_options()  # type: ignore[call-arg]
    wsasec.socket_options(None, socket.AF_INET)  # type: ignore[call-arg]


def failures(sock: socket.socket) -> None:
    try:
        wsasec.secure(sock)
    except SecurityError as error:
        assert_type(error.winsock, Winsock)
        assert_type(error.hint, str)
        assert_type(error.socket, int | None)
        assert_type(error.profile, str | None)
        assert_type(error.errno, int | None)
    try:
        wsasec.secure_many([sock])
    except BatchError as failed:
        assert_type(failed.codes, "array[int]")
        assert_type(failed.index, int)


def waiting(sock: socket.socket) -> None:
    wsasec.connect(sock, ("192.0.2.1", 443), timeout=1)
    wsasec.connect(sock, ("192.0.2.1", 443), timeout="1")  # type: ignore[arg-type]
    asyncio.run(wsasec.aio.connect(sock, ("192.0.2.1", 443)))


class Protocol(asyncio.Protocol):
    """Any."""


async def streams() -> None:
    pair = await wsasec.aio.open_connection("192.0.2.1", 443, settings=Settings(), timeout=1, limit=4096)
    assert_type(pair, tuple[asyncio.StreamReader, asyncio.StreamWriter])
    await wsasec.aio.open_connection("host", "https", local_addr=("192.0.2.2", 0), family=socket.AF_INET)
    await wsasec.aio.open_connection("192.0.2.1", 443, timeout=None)  # type: ignore[arg-type]
    await wsasec.aio.open_connection("192.0.2.1", 443, Settings())  # type: ignore[call-arg]
    await wsasec.aio.open_connection("192.0.2.1", 443, ssl=True)  # type: ignore[call-arg]
    transport, protocol = await wsasec.aio.create_connection(Protocol, "192.0.2.1", 443)
    assert_type(transport, asyncio.Transport)
    assert_type(protocol, Protocol)
    await wsasec.aio.create_connection(object, "192.0.2.1", 443)  # type: ignore[type-var]


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read())


def handle_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def servers() -> None:
    async with await wsasec.aio.start_server(handle, None, 443, settings=Settings(), backlog=5) as server:
        assert_type(server, wsasec.aio.Server)
        await server.serve_forever()
    await wsasec.aio.start_server(handle_at_once, ["192.0.2.1", "192.0.2.2"], start_serving=False)
    assert_type(await wsasec.aio.create_server(Protocol, "192.0.2.1", 443), wsasec.aio.Server)
    await wsasec.aio.start_server(lambda reader: None)  # type: ignore[arg-type, misc]


class Visitor(SecuredHttpUser):
    settings = Settings(SecurityFlags.GUARANTEE_ENCRYPTION)


class FastVisitor(SecuredFastHttpUser):
    settings = 5  # type: ignore[assignment]


def pools() -> None:
    with SecuredPoolManager(settings=Settings()) as manager:
        assert_type(manager.request("GET", "http://192.0.2.1/"), urllib3.BaseHTTPResponse)


def batches() -> None:
    with wsasec.SocketBatch(10) as batch:
        assert_type(batch.connect(("192.0.2.1", 443)), wsasec.ConnectReport)
        batch.connect(
            [("192.0.2.1", 443), ("192.0.2.2", range(1, 9))], timeout=1, concurrency=7, errors="return"
        )
        batch.connect([("192.0.2.1", "443")])  # type: ignore[list-item]
        batch.connect(("192.0.2.1", 443), errors="ignore")  # type: ignore[arg-type]
        assert_type(batch.results, wsasec.ConnectReport | None)
        assert_type(batch.error, SecurityError | None)
        try:
            batch.connect(("fe80::1", 443, 0, 2), progress=lambda done, total: None)
        except wsasec.ConnectError as error:
            assert_type(error.report.errnos, "array[int]")
            assert_type(error.report.latency, wsasec.Histogram)
            assert_type(error.report.rate, float)


def windows(sock: socket.socket) -> None:
    assert_type(wsasec.WSASetSocketSecurity(sock.fileno(), bytes(8), 8, None, None), int)
    assert_type(wsasec.WSAGetLastError(), int)
    wsasec.WSASetSocketSecurity(sock.fileno(), None, 0, object())  # type: ignore[arg-type]
    length = ctypes.c_uint32(24)
    assert_type(wsasec.WSAQuerySocketSecurity(sock, None, 0, bytearray(24), length, 0, 0), int)
    wsasec.WSAQuerySocketSecurity(sock, None, 0, None, 24)  # type: ignore[arg-type]
    assert_type(wsasec.WSASetSocketPeerTargetName(sock, bytes(144), 144, ctypes.addressof(length)), int)
    assert_type(wsasec.WSADeleteSocketPeerTargetName(sock, bytes(16), 16), int)
    assert_type(wsasec.WSAImpersonateSocketPeer(sock, None, 0), int)
    assert_type(wsasec.WSARevertImpersonation(), int)


def peers(sock: socket.socket) -> None:
    wsasec.set_peer_target_name(sock, "host/b", peer=("192.0.2.1", 443))
    wsasec.set_peer_target_name(sock, b"host/b")  # type: ignore[arg-type]
    wsasec.delete_peer_target_name(sock, sock.getpeername())
    with wsasec.query(sock.fileno(), access_mask=8, ipsec2=True, fields=QueryFields.MM_SA_ID) as security:
        assert_type(security.secured, bool)
        assert_type(security.application_token, Token | None)
        assert_type(security.mm_sa_id, int | None)
        assert_type(security.sa_lookup_context, uuid.UUID | None)
        security.secured = True  # type: ignore[misc]
        if security.machine_token is not None:
            assert_type(security.machine_token.detach(), int)
    with wsasec.impersonate(sock) as entered:
        assert_type(entered, wsasec.Impersonation)
    try:
        wsasec.revert_impersonation()
    except wsasec.ImpersonationError as error:
        assert_type(error.winsock, Winsock)


def profile() -> None:
    own = Profile("own", uuid.uuid4(), reqid=7, mark=0x70, mask=0xFF)
    assert_type(own.encrypting, bool)
    own.reqid = 8  # type: ignore[misc]
    assert_type(wsasec.get_include(), str)
    assert_type(wsasec.get_library_dir(), str)


def count(batch: wsasec.SocketBatch, index: int) -> int:
    return len(batch) + index


def fleet() -> None:
    try:
        with Fleet(100_000, processes=6, nodelay=True) as workers:
            assert_type(workers.codes, "array[int]")
            result = workers.run(count, timeout=10, errors="return")
            workers.run(count, errors="ignore")  # type: ignore[arg-type]
            workers.run("count")  # type: ignore[arg-type]
    except FleetError as failed:
        assert_type(failed.result, FleetResult | None)
        assert_type(failed.failures[0].exit_code, int | None)
    else:
        assert_type(result.histograms, dict[str, wsasec.Histogram])


def policies() -> None:
    strong = wsasec.policy.QuickModeProposal(wsasec.policy.Encryption.AES_GCM_256, lifetime_seconds=3600)
    with wsasec.policy.Session(dynamic=True) as session:
        assert_type(session, wsasec.policy.Session)
        key = session.add(wsasec.policy.QuickModePolicy("strong", (strong,)))
        assert_type(key, uuid.UUID)
        assert_type(session.list(), list[wsasec.policy.MainModePolicy | wsasec.policy.QuickModePolicy])
        for association in session.security_associations(local="10.0.0.1", remote=None):
            assert_type(association.spi, int)
            session.ike_association(association.main_mode_id, association.lookup)
        session.delete(key)
        session.delete("key")  # type: ignore[arg-type]
        session.add(strong)  # type: ignore[arg-type]
    wsasec.policy.QuickModePolicy("strong", (strong, "weak"))  # type: ignore[arg-type]
    IpsecSettings(qm_policy=key, mm_policy=session.add(wsasec.policy.WINDOWS_VISTA_DEFAULT.main_mode))
