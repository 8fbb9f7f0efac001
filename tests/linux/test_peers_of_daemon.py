"""The six functions with a key daemon that answers what a test wants; no ESP is needed, and none is there."""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import fake_daemon
import pytest
from fake_daemon import ACCOUNT, DELETE_NAME, GOOD, QUERY, SET_NAME, FakeDaemon, Question, verdict
from reachable import open_to_all

import wsasec
from wsasec import (
    ImpersonationError,
    IpsecFlags,
    IpsecSettings,
    QueryFields,
    SecurityError,
    SocketInfo,
    Winsock,
    _wsasec,
    peers,
)
from wsasec.addresses import pack_address

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
PEER = ("127.0.0.1", 9)
NOBODY = 65534
STRANGER, STRANGERS, FRIENDS = 54321, 54322, 54323

STRINGS = [
    b"rfc4106(gcm(aes))",
    b"hmac(sha256)",
    "C=CH, CN=\u00e9".encode(),
    b"host/me",
    b"default",
    b"\x30\x00\xff",
]
NUMBERS = {
    "protocol": 50,
    "mm_sa_id": 2**40 + 1,
    "qm_sa_id": 2**41 + 2,
    "bytes_in": 1,
    "bytes_out": 2**50,
    "packets_in": 3,
    "packets_out": 4,
    "age": 5,
    "rekey_in": 0,
    "spi_in": 0xC0000001,
    "spi_out": 0xC0000002,
    "encryption_bits": 256,
    "integrity_bits": 128,
    "esn": 1,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))
    open_to_all(tmp_path)
    return tmp_path


@pytest.fixture
def daemon(folder: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(folder) as running:
        yield running


def as_association(question: Question) -> list[bytes]:
    if question.kind == ACCOUNT:
        return [question.answer(fake_daemon.account(STRANGER, STRANGERS, [FRIENDS], identity=STRINGS[2]))]
    return [question.answer(fake_daemon.association(STRINGS, **NUMBERS))]


def as_account(uid: int, gid: int, groups: list[int]) -> fake_daemon.Handler:
    return lambda question: [question.answer(fake_daemon.account(uid, gid, groups))]


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    """A connected socket that its mark says to be secured: plain packets pass, as there is no ESP here."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.create_connection(server.getsockname()))
        accepted = stack.enter_context(server.accept()[0])
        pretend(client)
        assert accepted
        yield client


def pretend(sock: socket.socket) -> None:
    default = next(iter(wsasec.profiles.active().values()))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, default.mark)


def failure(call: Callable[[], object]) -> SecurityError:
    with pytest.raises(SecurityError) as caught:
        call()
    assert not isinstance(caught.value, ImpersonationError)
    return caught.value


# Queries


def test_what_a_query_tells(daemon: FakeDaemon, connection: socket.socket) -> None:
    daemon.handler = as_association
    answer = wsasec.query(connection)
    assert (answer.secured, answer.encrypted, answer.impersonated) == (True, True, False)
    assert answer.peer == "C=CH, CN=\u00e9"
    assert answer.own == "host/me"
    assert answer.profile == "default"
    assert answer.certificate == b"\x30\x00\xff"
    assert answer.mm_sa_id is None
    pair = answer.association
    assert pair is not None
    assert (pair.protocol, pair.spi_in, pair.spi_out, pair.esn) == (50, 0xC0000001, 0xC0000002, True)
    assert (pair.encryption, pair.encryption_bits) == ("rfc4106(gcm(aes))", 256)
    assert (pair.integrity, pair.integrity_bits) == ("hmac(sha256)", 128)
    assert (pair.bytes_in, pair.bytes_out, pair.packets_in, pair.packets_out) == (1, 2**50, 3, 4)
    assert (pair.age, pair.rekey_in) == (5, None)
    more = wsasec.query(connection, ipsec2=True)
    assert (more.mm_sa_id, more.qm_sa_id) == (2**40 + 1, 2**41 + 2)
    assert (more.negotiation_error, more.sa_lookup_context) == (0, uuid.UUID(int=0))
    one = wsasec.query(connection, ipsec2=True, fields=wsasec.QueryFields.QM_SA_ID)
    assert (one.mm_sa_id, one.qm_sa_id) == (None, 2**41 + 2)
    assert [question.kind for question in daemon.questions] == [QUERY] * 3
    assert not any(question.peer.rstrip(b"\0") for question in daemon.questions)


def test_what_a_query_does_not_tell(daemon: FakeDaemon, connection: socket.socket) -> None:
    empty = [b""] * 6
    daemon.handler = lambda question: [question.answer(fake_daemon.association(empty, flags=1, protocol=51))]
    answer = wsasec.query(connection)
    assert (answer.secured, answer.encrypted) == (True, False)
    assert (answer.peer, answer.own, answer.profile, answer.certificate) == (None,) * 4
    assert answer.association is not None
    assert answer.association.encryption is None


def test_sockets_without_protection(daemon: FakeDaemon) -> None:
    """Nobody is asked about them."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as plain,
    ):
        answer = wsasec.query(plain)
        assert answer.flags == SocketInfo(0)
        assert answer.association is None
        assert failure(lambda: wsasec.impersonate(plain).__enter__()).winsock is Winsock.WSAEINVAL
    assert not daemon.questions


def test_sockets_without_a_connection(daemon: FakeDaemon) -> None:
    with socket.socket() as sock, socket.socket(type=DGRAM) as datagrams:
        wsasec.secure(sock)
        wsasec.secure(datagrams)
        assert failure(lambda: wsasec.query(sock)).winsock is Winsock.WSAENOTCONN
        assert failure(lambda: wsasec.impersonate(sock).__enter__()).winsock is Winsock.WSAENOTCONN
        assert not daemon.questions
        daemon.handler = as_association
        assert wsasec.query(datagrams, peer=PEER).encrypted
        assert daemon.questions[0].peer[:8] == pack_address(socket.AF_INET, PEER)[:8]


def test_connections_that_are_gone(daemon: FakeDaemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted = server.accept()[0]
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        pretend(client)
        accepted.close()
        assert failure(lambda: wsasec.query(client)).winsock is Winsock.WSAECONNRESET
        assert failure(lambda: wsasec.impersonate(client).__enter__()).winsock is Winsock.WSAECONNRESET
        client.close()


def test_what_a_query_cannot_ask_for(daemon: FakeDaemon, connection: socket.socket) -> None:
    daemon.handler = as_association
    error = failure(lambda: wsasec.query(connection, access_mask=8))
    assert error.winsock is Winsock.WSAEOPNOTSUPP
    assert "no access tokens" in str(error)
    unknown = peers.query_template(bytes(128), 0, (2, 3))
    error = failure(lambda: _wsasec.query_security(connection, unknown, 64))
    assert error.winsock is Winsock.WSAEOPNOTSUPP
    assert daemon.questions == []


# What a connection is tied to


@pytest.mark.parametrize(
    ("fields", "flags"),
    [(None, 12), (QueryFields.MM_SA_ID, 4), (QueryFields.QM_SA_ID, 8), (QueryFields(0), 0)],
)
def test_what_a_connection_is_to_be_aborted_for(
    daemon: FakeDaemon, connection: socket.socket, fields: QueryFields | None, flags: int
) -> None:
    daemon.handler = as_association
    answer = wsasec.query(connection, ipsec2=True, fields=fields, abort_on_change=True)
    assert answer.peer == "C=CH, CN=\u00e9"
    assert answer.qm_sa_id == (2**41 + 2 if fields is None or fields & QueryFields.QM_SA_ID else None)
    first, second = daemon.questions
    assert (first.kind, first.flags, second.kind, second.flags) == (QUERY, flags, QUERY, 0)


def test_a_daemon_that_cannot_abort(daemon: FakeDaemon, connection: socket.socket) -> None:
    refusal = verdict(-10045, 95, detail=b"the kernel has no CONFIG_INET_DIAG_DESTROY")
    daemon.handler = lambda question: [question.answer(refusal + bytes(fake_daemon.ASSOCIATION.size))]
    error = failure(lambda: wsasec.query(connection, ipsec2=True, abort_on_change=True))
    assert error.winsock is Winsock.WSAEOPNOTSUPP
    assert "CONFIG_INET_DIAG_DESTROY" in str(error)
    assert len(daemon.questions) == 1


def test_nothing_is_promised_without_a_daemon(folder: Path, connection: socket.socket) -> None:
    error = failure(lambda: wsasec.query(connection, ipsec2=True, abort_on_change=True))
    assert error.winsock is Winsock.WSAENETDOWN


def test_what_cannot_be_aborted(daemon: FakeDaemon) -> None:
    """What is refused before the daemon is asked."""
    daemon.handler = as_association
    with ExitStack() as stack:
        datagram = stack.enter_context(socket.socket(socket.AF_INET, DGRAM))
        pretend(datagram)
        error = failure(lambda: wsasec.query(datagram, peer=PEER, ipsec2=True, abort_on_change=True))
        assert error.winsock is Winsock.WSAEOPNOTSUPP
        assert "no TCP connection" in str(error)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        plain = stack.enter_context(socket.create_connection(server.getsockname()))
        error = failure(lambda: wsasec.query(plain, ipsec2=True, abort_on_change=True))
        assert error.winsock is Winsock.WSAEINVAL
        single = stack.enter_context(socket.socket(socket.AF_INET, STREAM))
        pretend(single)
        error = failure(lambda: wsasec.query(single, ipsec2=True, abort_on_change=True))
        assert error.winsock is Winsock.WSAENOTCONN
    assert daemon.questions == []


# Answers that are wrong


def test_answers_whose_strings_are_wrong(daemon: FakeDaemon, connection: socket.socket) -> None:
    good = fake_daemon.association(STRINGS, **NUMBERS)
    at = len(GOOD) + fake_daemon.ASSOCIATION.size - 24
    for place in range(6):
        for end in (0xFFFFFFFF, 0x7FFFFFFF, 5000, 0):
            if place == 0 and end == 0:
                continue  # no name at all is right
            wrong = bytearray(good)
            struct.pack_into("=I", wrong, at + 4 * place, end)
            daemon.handler = lambda question, wrong=wrong: [question.answer(bytes(wrong))]
            assert "another version" in str(failure(lambda: wsasec.query(connection))), (place, end)


def test_without_a_daemon_the_kernel_is_asked(
    folder: Path, connection: socket.socket, without_net_admin: Callable[[], ExitStack]
) -> None:
    error = failure(lambda: wsasec.query(connection))
    assert error.winsock is Winsock.WSAENOTCONN
    assert "no security association" in str(error)
    wsasec.release_namespaces()
    with without_net_admin():
        assert "no key daemon" in str(failure(lambda: wsasec.query(connection)))


# Names


@pytest.mark.parametrize("kind", [STREAM, DGRAM])
def test_names(daemon: FakeDaemon, kind: int) -> None:
    with socket.socket(type=kind) as sock:
        wsasec.secure(sock)
        wsasec.set_peer_target_name(sock, "host/b\u00e9\U0001f600.example", peer=PEER)
        wsasec.delete_peer_target_name(sock, PEER)
        first, second = daemon.questions
        assert (first.kind, second.kind) == (SET_NAME, DELETE_NAME)
        assert first.rest == "host/b\u00e9\U0001f600.example".encode()
        assert first.flags == 0
        assert (first.peer[:1] != b"\0") == (kind == DGRAM)
        assert first.peer == second.peer


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (IpsecFlags.PEER_NAME_IS_RAW_FORMAT, 1),
        (IpsecFlags.OPTIONAL_PEER_NAME_VERIFICATION, 2),
        (IpsecFlags.PEER_NAME_IS_RAW_FORMAT | IpsecFlags.OPTIONAL_PEER_NAME_VERIFICATION, 3),
    ],
)
def test_the_flags_of_names_are_the_sockets(daemon: FakeDaemon, flags: IpsecFlags, told: int) -> None:
    with socket.socket() as one, socket.socket() as other:
        wsasec.secure(one, IpsecSettings(ipsec_flags=flags))
        wsasec.secure(other)
        for sock in one, other:
            wsasec.set_peer_target_name(sock, "a")
        assert [question.flags for question in daemon.questions] == [told, 0]
        assert wsasec._wsasec.profile_of(one) == wsasec._wsasec.profile_of(other)


def test_names_that_have_no_form(daemon: FakeDaemon) -> None:
    def named(units: list[int]) -> bytes:
        return struct.pack("=I4x128sI", 0, b"", 2 * len(units)) + struct.pack(
            f"={len(units)}H", *units
        ).ljust(4, b"\0")

    with socket.socket() as sock:
        wsasec.secure(sock)
        for units in [], [0], [97, 0, 98], [0xD800], [0xDC00, 0xD800], [0xD800, 97], [97] * 5000:
            structure = named(units)
            size = max(len(structure), 144)
            given = structure.ljust(size, b"\0")
            assert wsasec.WSASetSocketPeerTargetName(sock, given, size) == wsasec.SOCKET_ERROR, units
            assert wsasec.WSAGetLastError() == Winsock.WSAEINVAL
        assert not daemon.questions
        structure = named([0xD83D, 0xDE00])
        assert wsasec.WSASetSocketPeerTargetName(sock, structure, len(structure)) == 0
        assert daemon.questions[0].rest == "\U0001f600".encode()


def test_names_that_could_not_be_enforced(daemon: FakeDaemon) -> None:
    with socket.socket() as plain, socket.socket() as optional:
        wsasec.secure(optional, wsasec.Settings(wsasec.SecurityFlags.ALLOW_INSECURE))
        for sock in plain, optional:
            error = failure(lambda sock=sock: wsasec.set_peer_target_name(sock, "a"))
            assert error.winsock is Winsock.WSAEINVAL
    assert not daemon.questions


def test_names_without_a_daemon(folder: Path) -> None:
    with socket.socket() as sock:
        wsasec.secure(sock)
        assert failure(lambda: wsasec.set_peer_target_name(sock, "a")).winsock is Winsock.WSAENETDOWN
        assert failure(lambda: wsasec.delete_peer_target_name(sock, PEER)).winsock is Winsock.WSAENETDOWN


def test_a_name_of_another(daemon: FakeDaemon) -> None:
    said = b"identity is 'x', 'y' was asked for"
    daemon.handler = lambda question: [question.answer(verdict(-10013, 81, 21, said))]
    with socket.socket(type=DGRAM) as sock:
        wsasec.secure(sock)
        error = failure(lambda: wsasec.set_peer_target_name(sock, "y", peer=PEER))
    assert error.winsock is Winsock.WSAEACCES
    assert "not whom the name asks for: identity is 'x', 'y' was asked for" in str(error)
    assert error.step == "WSASetSocketPeerTargetName"


# Impersonation


def credentials() -> dict[str, str]:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    wanted = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh")
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines) if name in wanted}


@pytest.fixture
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that only root, the stranger, his group and his second group may read."""
    folder = tmp_path_factory.mktemp("files")
    open_to_all(folder)
    made = {}
    for name, owner, group, mode in (
        ("root", 0, 0, 0o600),
        ("stranger", STRANGER, 0, 0o400),
        ("strangers", 0, STRANGERS, 0o040),
        ("friends", 0, FRIENDS, 0o040),
        ("nobody", NOBODY, NOBODY, 0o400),
    ):
        made[name] = folder / name
        made[name].write_text(name)
        made[name].chmod(mode)
        os.chown(made[name], owner, group)
    return made


def readable(files: dict[str, Path]) -> set[str]:
    found = set()
    for name, path in files.items():
        try:
            found.add(path.read_text())
        except PermissionError:
            continue
        assert name in found
    return found


def test_what_the_peer_may_read(
    daemon: FakeDaemon, connection: socket.socket, files: dict[str, Path]
) -> None:
    before = credentials()
    everything = set(files)
    assert readable(files) == everything
    for uid, gid, groups, may in (
        (STRANGER, STRANGERS, [FRIENDS], {"stranger", "strangers", "friends"}),
        (STRANGER, STRANGERS, [], {"stranger", "strangers"}),
        (NOBODY, NOBODY, [], {"nobody"}),
        (NOBODY, NOBODY, [*range(60000, 64000), FRIENDS], {"nobody", "friends"}),
    ):
        daemon.handler = as_account(uid, gid, groups)
        with wsasec.impersonate(connection):
            now = credentials()
            found = readable(files)
            with pytest.raises(PermissionError):
                (files["root"].parent / "new").write_text("x")
        assert found == may
        assert now["CapEff"] == "0" * 16
        assert now["CapPrm"] == before["CapPrm"]
        assert now["Uid"].split() == ["0", str(uid), "0", str(uid)]
        assert now["Gid"].split() == ["0", str(gid), "0", str(gid)]
        assert sorted(map(int, now["Groups"].split())) == sorted(groups)
        assert credentials() == before
        assert readable(files) == everything


def test_what_the_peer_makes_is_the_peers(
    daemon: FakeDaemon, connection: socket.socket, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    daemon.handler = as_account(STRANGER, STRANGERS, [])
    with wsasec.impersonate(connection):
        (tmp_path / "made").write_text("x")
    facts = (tmp_path / "made").stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode) & 0o600) == (STRANGER, STRANGERS, 0o600)


def test_other_threads_are_themselves(
    daemon: FakeDaemon, connection: socket.socket, files: dict[str, Path]
) -> None:
    daemon.handler = as_account(STRANGER, STRANGERS, [])
    asked, answered = threading.Event(), threading.Event()
    found: list[object] = []

    def other() -> None:
        asked.wait(60)
        found.extend([os.geteuid(), os.getegid(), readable(files), credentials()["CapEff"]])
        answered.set()

    thread = threading.Thread(target=other)
    thread.start()
    before = credentials()["CapEff"]
    with wsasec.impersonate(connection):
        asked.set()
        assert answered.wait(60)
        assert os.geteuid() == STRANGER
    thread.join()
    assert found == [0, 0, set(files), before]


def test_many_threads_each_as_another(daemon: FakeDaemon, connection: socket.socket) -> None:
    daemon.handler = lambda question: [
        question.answer(fake_daemon.account(10000 + question.number % 1000, 20000, []))
    ]
    wrong = []

    def work() -> None:
        for _ in range(20):
            with wsasec.impersonate(connection):
                uid = os.geteuid()
                seen = {os.geteuid() for _ in range(10)}
                if not 10000 <= uid < 11000 or seen != {uid}:
                    wrong.append(uid)
            if os.geteuid():
                wrong.append(-1)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert os.geteuid() == 0


def test_it_ends_however_the_block_does(daemon: FakeDaemon, connection: socket.socket) -> None:
    daemon.handler = as_account(NOBODY, NOBODY, [])
    before = credentials()
    for kind in ValueError, KeyboardInterrupt, SystemExit:
        with pytest.raises(kind), wsasec.impersonate(connection):
            raise kind
        assert credentials() == before


def test_by_hand(daemon: FakeDaemon, connection: socket.socket) -> None:
    wsasec.revert_impersonation()  # nothing to revert is no error
    daemon.handler = as_account(NOBODY, NOBODY, [])
    assert wsasec.WSAImpersonateSocketPeer(connection, None, 0) == 0
    try:
        assert os.geteuid() == NOBODY
        assert wsasec.WSAImpersonateSocketPeer(connection, None, 0) == wsasec.SOCKET_ERROR
        assert wsasec.WSAGetLastError() == Winsock.WSAEINVAL
        assert os.geteuid() == NOBODY
    finally:
        assert wsasec.WSARevertImpersonation() == 0
    assert os.geteuid() == 0
    assert wsasec.WSARevertImpersonation() == 0


@pytest.mark.parametrize(
    ("uid", "gid"), [(0, 5), (2**32 - 1, 5), (5, 2**32 - 1)], ids=["root", "no user", "no group"]
)
def test_accounts_that_nobody_gets(daemon: FakeDaemon, connection: socket.socket, uid: int, gid: int) -> None:
    daemon.handler = as_account(uid, gid, [])
    before = credentials()
    assert "another version" in str(failure(lambda: wsasec.impersonate(connection).__enter__()))
    assert credentials() == before


def test_accounts_whose_lengths_are_wrong(daemon: FakeDaemon, connection: socket.socket) -> None:
    good = fake_daemon.account(5, 5, [7, 8])
    at = len(GOOD) + 8
    before = credentials()
    for place in range(3):
        for length in 0, 1, 3, 4097, 0x40000000, 0xFFFFFFFF:
            wrong = bytearray(good)
            if struct.unpack_from("=I", wrong, at + 4 * place)[0] == length:
                continue
            struct.pack_into("=I", wrong, at + 4 * place, length)
            daemon.handler = lambda question, wrong=wrong: [question.answer(bytes(wrong))]
            assert "another version" in str(failure(lambda: wsasec.impersonate(connection).__enter__()))
            assert credentials() == before


def test_no_account(daemon: FakeDaemon, connection: socket.socket) -> None:
    daemon.handler = lambda question: [question.answer(verdict(-10013, 88, 23, b"host/x"))]
    error = failure(lambda: wsasec.impersonate(connection).__enter__())
    assert error.winsock is Winsock.WSAEACCES
    assert error.strerror.endswith(": host/x")
    assert os.geteuid() == 0


def test_not_on_a_non_blocking_socket(daemon: FakeDaemon, connection: socket.socket) -> None:
    connection.settimeout(1)
    error = failure(lambda: wsasec.impersonate(connection).__enter__())
    assert error.winsock is Winsock.WSAEINVAL
    assert "non-blocking" in str(error)
    assert not daemon.questions


def test_datagrams(daemon: FakeDaemon) -> None:
    daemon.handler = as_account(NOBODY, NOBODY, [])
    with socket.socket(type=DGRAM) as sock:
        wsasec.secure(sock)
        with wsasec.impersonate(sock, peer=PEER):
            assert os.geteuid() == NOBODY
    assert daemon.questions[0].peer[:8] == pack_address(socket.AF_INET, PEER)[:8]


def test_the_flag_of_a_query(daemon: FakeDaemon, connection: socket.socket) -> None:
    daemon.handler = as_association
    assert not wsasec.query(connection).impersonated
    with wsasec.impersonate(connection):
        assert wsasec.query(connection).impersonated
        daemon.handler = lambda question: [
            question.answer(fake_daemon.association([b"", b"", b"c", *STRINGS[3:]]))
        ]
        assert not wsasec.query(connection).impersonated  # somebody else
    daemon.handler = as_association
    assert not wsasec.query(connection).impersonated


def test_it_asks_as_itself_again(daemon: FakeDaemon, connection: socket.socket) -> None:
    """A thread that acts as a peer uses no connection of the process itself, nor the reverse."""
    daemon.handler = as_association
    wsasec.query(connection)
    assert daemon.connections == 1
    with wsasec.impersonate(connection):
        wsasec.query(connection)
        assert daemon.connections == 2
    wsasec.query(connection)
    assert daemon.connections == 2


def in_a_child(work: Callable[[], bool]) -> bool:
    """For what takes privileges away for good."""
    child = os.fork()
    if not child:
        status = 2
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def test_without_privilege(daemon: FakeDaemon, connection: socket.socket) -> None:
    daemon.handler = as_account(STRANGER, STRANGERS, [])

    def work() -> bool:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        before = credentials()
        try:
            wsasec.impersonate(connection).__enter__()
        except SecurityError as error:
            return "needs CAP_SETUID and CAP_SETGID" in str(error) and credentials() == before
        return False

    assert in_a_child(work)
