"""Programs on two hosts with key daemons: names, answers, identities, and programs without privileges."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from daemon_hosts import Host, open_folder, two_hosts
from ike_hosts import soon
from wire import receive, wait_for

import wsasec
from wsasec.daemon.place import folder as folder_of_daemon
from wsasec.keys.listing import list_ike_sas, terminate_ike
from wsasec.keys.session import connect as vici

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).parents[3] / "examples"
MANY = 300
# Capabilities that securing sockets takes are gone, and cannot be had again.
UNPRIVILEGED = [
    "setpriv",
    "--reuid",
    "nobody",
    "--regid",
    "nogroup",
    "--clear-groups",
    "--no-new-privs",
    "--",
]


@pytest.fixture
def test_seconds() -> int:
    return 150


def check_tied(sock: socket.socket) -> tuple[int, int] | None:
    """Return the ids to which a connection was tied; None if this kernel cannot abort it, and says so."""
    try:
        tied = wsasec.query(sock, ipsec2=True, abort_on_change=True)
    except wsasec.SecurityError as error:
        if error.winsock == wsasec.Winsock.WSAEOPNOTSUPP and "CONFIG_INET_DIAG_DESTROY" in str(error):
            return None
        raise
    return tied.mm_sa_id, tied.qm_sa_id


def have_up(a: Host, b: Host) -> None:
    """Start both daemons: both let everyone secure sockets, and b knows a's account."""
    rules = "\n[[access]]\neveryone = true\nprofiles = ['default']\n"
    a.configure(rules)
    b.configure(rules + "\n[[account]]\nidentity = 'a.example'\naccount = 'nobody'\n")
    a.up()
    b.up()


@pytest.fixture
def up(hosts):
    """Both hosts with their daemons."""
    lab, a, b = hosts
    have_up(a, b)
    return lab, a, b


@pytest.fixture(scope="module")
def lasting(esp):
    """Both hosts with their daemons, for all tests that change nothing about them."""
    with open_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WSASEC_RUN", str(folder / "run"))
        with two_hosts(folder) as (lab, a, b):
            have_up(a, b)
            yield lab, a, b


@pytest.fixture
def strangers(no_namespaces, lasting, deadline):
    """Both hosts with their daemons, which have not negotiated yet, or not any more."""
    lab, a, b = lasting
    yield lab, a, b
    for namespace in (lab.a, lab.b):
        with namespace.entered(), closing(vici(folder_of_daemon() / "charon/own/vici", soon())) as session:
            for ike in list_ike_sas(session, soon(), wait=True):
                terminate_ike(session, ike.unique_id, soon())
    wait_for(lambda: not any(sa.usable for end in (lab.a, lab.b) for sa in end.sas()), "no keys are left")


@contextmanager
def listener(lab, type_=socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with lab.b.socket(type=type_) as sock:
        wsasec.secure(sock)
        sock.bind((lab.b.v4, 0))
        if type_ == socket.SOCK_STREAM:
            sock.listen(MANY)
        yield sock


@contextmanager
def client(lab, type_=socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with lab.a.entered(), socket.socket(type=type_) as sock:
        wsasec.secure(sock)
        yield sock


def test_names_and_answers(up):
    """A name that is true connects, one that is not sends nothing; and query() tells what there is."""
    lab, _, _ = up
    with lab.capture() as wire, listener(lab) as door:
        for name in ("b.example", "host/b.example", "B.EXAMPLE"):
            with client(lab) as sock:
                wsasec.set_peer_target_name(sock, name)
                with pytest.raises(PermissionError):
                    sock.connect(door.getsockname())
                wsasec.connect(sock, door.getsockname(), timeout=20)
                server, _ = wsasec.accept(door)
                with server:
                    found = wsasec.query(sock, ipsec2=True)
                    assert (found.secured, found.encrypted) == (True, True)
                    assert (found.peer, found.own, found.profile) == ("b.example", "a.example", "default")
                    assert found.association.protocol == 50
                    assert found.association.encryption_bits == 256
                    assert found.association.esn
                    assert found.mm_sa_id
                    assert found.qm_sa_id
                    assert found.certificate
                    with lab.b.entered():
                        back = wsasec.query(server)
                    assert (back.peer, back.encrypted) == ("a.example", True)
                    # They are the same associations, seen from both ends.
                    assert back.association.spi_in == found.association.spi_out
                    asked = check_tied(sock)
                    assert asked is None or asked == (found.mm_sa_id, found.qm_sa_id)
                    sock.sendall(b"still there")
        door.setblocking(False)
        for name in ("c.example", "host/other", "b.example.org"):
            with client(lab) as sock:
                wsasec.set_peer_target_name(sock, name)
                with pytest.raises(wsasec.SecurityError, match=r"b\.example") as caught:
                    wsasec.connect(sock, door.getsockname(), timeout=20)
                assert caught.value.winsock == wsasec.Winsock.WSAEACCES
                with pytest.raises(PermissionError):
                    sock.connect(door.getsockname())
        with pytest.raises(BlockingIOError):  # nobody was there
            door.accept()
    assert wire.counts.clear == 0, wire.counts


def test_datagram_names(up):
    """Held against the peer when they are set; each has its own address."""
    lab, _, _ = up
    with (
        lab.capture() as wire,
        listener(lab, socket.SOCK_DGRAM) as door,
        client(lab, socket.SOCK_DGRAM) as sock,
    ):
        peer = door.getsockname()
        with pytest.raises(wsasec.SecurityError, match=r"b\.example"):
            wsasec.set_peer_target_name(sock, "c.example", peer=peer)
        with pytest.raises(PermissionError):
            sock.sendto(b"secret", peer)
        wsasec.delete_peer_target_name(sock, peer)
        wsasec.set_peer_target_name(sock, "b.example", peer=peer)
        sock.sendto(b"hello", peer)
        door.settimeout(10)
        data, sender = door.recvfrom(100)
        assert data == b"hello"
        assert wsasec.query(sock, peer=peer).peer == "b.example"
        with lab.b.entered():
            assert wsasec.query(door, peer=sender).peer == "a.example"
    assert wire.counts.clear == 0, wire.counts


def test_many_sockets_make_one_negotiation(strangers):
    """However many go to a new peer at once."""
    lab, a, _ = strangers
    with lab.b.entered():
        server = wsasec.Listener((lab.b.v4, 0))
    with server:
        with lab.a.entered():
            batch = wsasec.SocketBatch(MANY)
        with batch:
            report = batch.connect(server.address, timeout=30)
            assert report.connected == MANY
            wait_for(lambda: len(a.status()["peers"]) == 1, "the one peer is listed")
            inbound = {sa.spi for sa in lab.a.sas() if sa.dst == lab.a.v4}
            assert len(inbound) == 1


def test_why_there_are_no_keys(hosts):
    """No daemon at the other end, and one that takes no proposal of this one's."""
    lab, a, b = hosts
    a.up()
    with client(lab) as sock, pytest.raises(wsasec.SecurityError) as caught:
        wsasec.connect(sock, (lab.b.v4, 5000), timeout=20)
    assert "does not answer IKE" in str(caught.value)
    b.configure('\n[profile.default]\nike_proposals = ["aes256-sha512-modp4096"]\n')
    b.up()

    def refusal() -> wsasec.SecurityError | None:
        with client(lab) as sock, pytest.raises(wsasec.SecurityError) as caught:
            wsasec.connect(sock, (lab.b.v4, 5000), timeout=20)
        # On a busy machine b, which is just up, may not be heard within charon's repetitions (3.6 s).
        return None if "does not answer IKE" in str(caught.value) else caught.value

    found = wait_for(refusal, "b says what it does not take", 60)
    assert "none of the proposals" in str(found)
    assert found.winsock == wsasec.Winsock.WSAEACCES


def test_negotiate_beforehand(hosts):
    """Then a plain connect() does."""
    lab, a, b = hosts
    have_up(a, b)
    with listener(lab) as door, client(lab) as sock:
        with pytest.raises(BlockingIOError):
            sock.connect(door.getsockname())
        with lab.a.entered():
            wsasec.negotiate(door.getsockname(), timeout=20)
        sock.connect(door.getsockname())


SCRIPT = """
import socket, sys, wsasec
address = (sys.argv[1], int(sys.argv[2]))
socks = [socket.socket() for _ in range(20)]
wsasec.secure_many(socks)
for sock in socks:
    wsasec.connect(sock, address, timeout=20)
assert wsasec.query(socks[0]).peer == "b.example"
batch = wsasec.SocketBatch(20)
batch.connect(address, timeout=20)
socks[0].sendall(b"hello")
print("done", flush=True)
"""


def test_a_program_without_privileges(strangers):
    """The daemon secures its sockets; it says who the peer is; all is in ESP."""
    lab, _, _ = strangers
    with lab.capture() as wire, listener(lab) as door:
        host, port = door.getsockname()
        process = lab.a.popen(
            [*UNPRIVILEGED, sys.executable, "-c", SCRIPT, host, str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "done\n")
        server, _ = wsasec.accept(door)
        with server:
            assert receive(server, 5) == b"hello"
    assert wire.counts.clear == 0, wire.counts


def test_a_program_that_may_not(hosts):
    """Without a rule only root may."""
    lab, a, _ = hosts
    a.up()
    code = "import socket, wsasec; wsasec.secure(socket.socket())"
    done = lab.a.run([*UNPRIVILEGED, sys.executable, "-c", code], check=False)
    assert done.returncode == 1
    assert "does not allow this user" in done.stderr


@pytest.fixture
def folder(passable) -> Path:
    """Files that nobody may read, and root alone."""
    made = passable / "files"
    made.mkdir()
    made.chmod(0o755)
    for name, mode in (("open.txt", 0o644), ("roots.txt", 0o600), ("nobodys.txt", 0o600)):
        file = made / name
        file.write_text(f"this is {name}\n")
        file.chmod(mode)
    os.chown(made / "nobodys.txt", pwd.getpwnam("nobody").pw_uid, 0)
    return made


def test_the_file_server(strangers, folder):
    """The example: what the client's account may not read it does not get, though the server is root."""
    lab, _, _ = strangers
    process = lab.b.popen(
        [sys.executable, str(EXAMPLES / "file_server.py"), "--host", lab.b.v4, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def get(name: str) -> tuple[int, str]:
        words = ["--host", lab.b.v4, "--name", "b.example", name]
        done = lab.a.run([sys.executable, str(EXAMPLES / "file_client.py"), *words], check=False, timeout=60)
        return done.returncode, done.stdout or done.stderr

    with process:
        try:
            assert process.stdout.readline() == "listening on port 27016\n"
            assert get("open.txt") == (0, "this is open.txt\n")
            assert get("nobodys.txt") == (0, "this is nobodys.txt\n")
            assert get("roots.txt") == (1, "refused: Permission denied\n")
            assert get("open.txt") == (0, "this is open.txt\n")  # the server is itself again
        finally:
            process.kill()


def test_nobody_is_mapped(strangers):
    """The other way round there is no account: the client cannot be acted as."""
    lab, _, _ = strangers
    with listener(lab) as door, client(lab) as sock:
        wsasec.connect(sock, door.getsockname(), timeout=20)
        sock.settimeout(None)
        server, _ = wsasec.accept(door)
        with server, lab.a.entered(), pytest.raises(wsasec.SecurityError) as caught:
            wsasec.impersonate(sock).__enter__()
        assert caught.value.winsock == wsasec.Winsock.WSAEACCES
        assert "no local account" in str(caught.value)


def test_flushed_associations(strangers):
    """Nothing in clear, and the connection goes on within seconds."""
    lab, _, _ = strangers
    with lab.capture() as wire, listener(lab) as door, client(lab) as sock:
        wsasec.connect(sock, door.getsockname(), timeout=20)
        sock.settimeout(20)
        server, _ = wsasec.accept(door)
        with server:
            server.settimeout(20)
            for namespace in (lab.a, lab.b):
                namespace.run(["ip", "xfrm", "state", "flush"])
            begun = time.monotonic()
            sent = wait_for(lambda: _sends(sock), "something was sent", 20)
            assert receive(server, sent) == b"x" * sent
            assert time.monotonic() - begun < 5
    assert wire.counts.clear == 0, wire.counts


def _sends(sock: socket.socket) -> int:
    try:
        return os.write(sock.fileno(), b"x" * 100)
    except BlockingIOError:
        return 0
