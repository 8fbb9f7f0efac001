"""Connections that asked to be aborted when their keys are renewed: by charons and SAs that are real."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from certificates import Authority
from disconnected import disconnect
from ike_hosts import certified, config, host, key_profile, soon
from wire import wait_for

import wsasec
from wsasec.config.model import KeyProfile, Trust
from wsasec.daemon.protocol import AbortFlag
from wsasec.kernel.sockdiag import TcpConnection, TcpTable
from wsasec.keys.ike import Ike
from wsasec.keys.negotiator import Negotiator
from wsasec.keys.reason import Reason
from wsasec.keys.sockets import tcp_connection
from wsasec.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_namespaces", "deadline")]

MAIN, QUICK = AbortFlag.MM_SA_ID, AbortFlag.QM_SA_ID
GONE = (errno.ECONNABORTED, errno.ECONNRESET)


def profile(authority: Authority, name: str) -> KeyProfile:
    return key_profile(certified(name, authority.issue(name)), Trust(ca=(authority.certificate,)))


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Any]:
    """a has a negotiator, b a charon and an echo."""
    authority = Authority(tmp_path, "ca")
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(keys=False))
        mine = profile(authority, "a.example")
        a = stack.enter_context(host(lab.a, tmp_path, mine))
        b = stack.enter_context(host(lab.b, tmp_path, profile(authority, "b.example")))
        negotiator = Negotiator(a, config(mine))
        with lab.a.entered():
            negotiator.start()
        stack.callback(negotiator.close)
        with lab.b.entered():
            echo = stack.enter_context(wsasec.Listener((lab.b.v4, 0), mode="echo"))
        with lab.a.entered():
            assert a.initiate("default", ip_address(lab.b.v4), soon()).reason is Reason.NONE
        yield SimpleNamespace(lab=lab, a=a, b=b, negotiator=negotiator, address=echo.address)


@contextmanager
def connected(hosts: Any) -> Iterator[socket.socket]:
    with hosts.lab.a.entered(), socket.socket() as sock:
        sock.settimeout(10)
        wsasec.secure(sock)
        sock.connect(hosts.address)
        yield sock


def talk(sock: socket.socket) -> None:
    sock.sendall(b"hello")
    assert sock.recv(5, socket.MSG_WAITALL) == b"hello"


def error_of(sock: socket.socket) -> int:
    """Return what the next call fails with, as soon as there is something to say."""
    try:
        return 0 if sock.recv(1) else -1
    except OSError as error:
        return error.errno or 0


def ask(hosts: Any, sock: socket.socket, flags: AbortFlag) -> Reason:
    with hosts.lab.a.entered():
        return hosts.negotiator.association_of(sock.fileno(), None, soon(), flags).verdict.reason


class Disconnecting:
    """Aborts without SOCK_DESTROY: by the other call that sends a reset, on a descriptor."""

    def __init__(self) -> None:
        self.copies: dict[int, socket.socket] = {}

    def know(self, sock: socket.socket) -> None:
        connection = tcp_connection(sock.fileno())
        assert connection is not None
        self.copies[connection.cookie] = sock.dup()

    def destroy(self, connection: TcpConnection) -> bool:
        found = self.copies.pop(connection.cookie, None)
        if found is None:  # as with the kernel: another thread was faster
            return False
        with found as copy:
            disconnect(copy)
        return True

    def close(self) -> None:
        for copy in self.copies.values():
            copy.close()


@pytest.fixture
def know(hosts: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[socket.socket], None]]:
    """Let a kernel without CONFIG_INET_DIAG_DESTROY abort those sockets that are made known."""
    with connected(hosts) as sock, hosts.lab.a.entered():
        connection = tcp_connection(sock.fileno())
        assert connection is not None
        table = TcpTable()
        try:
            assert table.has(connection)
            able = table.can_destroy(connection)
            talk(sock)
        finally:
            table.close()
        if not able:
            assert ask(hosts, sock, QUICK) is Reason.NO_ABORT
    made = Disconnecting()
    if not able:
        monkeypatch.setattr(TcpTable, "can_destroy", TcpTable.has)
        monkeypatch.setattr(TcpTable, "destroy", lambda _, connection: made.destroy(connection))
    yield (lambda _: None) if able else made.know
    hosts.negotiator.close()
    made.close()


def rekey(hosts: Any, on: Ike, what: str) -> None:
    """Have one end renew the quick mode ("child") or the main mode ("ike")."""
    (ike,) = on.associations(soon())
    (number,) = (ike.unique_id,) if what == "ike" else [child.unique_id for child in ike.children]
    with on._session(soon()) as session:
        session.request("rekey", {f"{what}-id": str(number)}, soon())


@pytest.mark.parametrize("who", ["a", "b"])
def test_renewed_keys_abort_who_asked_for_that(hosts: Any, know: Any, who: str) -> None:
    """The quick mode's first, then the main mode's; by the one who asked for, and by the peer."""
    with (
        hosts.lab.capture() as wire,
        connected(hosts) as quick,
        connected(hosts) as main,
        connected(hosts) as bystander,
    ):
        for sock in (quick, main, bystander):
            know(sock)
        assert ask(hosts, quick, QUICK | MAIN) is Reason.NONE
        assert ask(hosts, main, MAIN) is Reason.NONE
        assert ask(hosts, bystander, AbortFlag.NONE) is Reason.NONE
        for sock in (quick, main, bystander):
            talk(sock)
        rekey(hosts, getattr(hosts, who), "child")
        assert error_of(quick) in GONE
        for sock in (main, bystander):
            talk(sock)
        rekey(hosts, getattr(hosts, who), "ike")
        assert error_of(main) in GONE
        talk(bystander)
        # charon does not tell of that; the kernel does.
        assert ask(hosts, bystander, QUICK) is Reason.NONE
        talk(bystander)
        hosts.lab.a.run(["ip", "xfrm", "state", "flush"])
        assert error_of(bystander) in GONE
    assert wire.counts.clear == 0, wire.counts
    assert wire.counts.esp


def test_its_end_and_charons(hosts: Any, know: Any) -> None:
    with hosts.lab.capture() as wire, connected(hosts) as one, connected(hosts) as other:
        for sock in (one, other):
            know(sock)
        assert ask(hosts, one, MAIN) is Reason.NONE
        os.kill(hosts.a.pid, 9)
        assert error_of(one) in GONE
        talk(other)  # its SAs are still there
        wait_for(lambda: not hosts.a.alive, "charon's end")
        assert ask(hosts, other, MAIN) is Reason.NO_CHARON
        with hosts.lab.a.entered():
            hosts.a.start(soon(30))
            assert hosts.a.initiate("default", ip_address(hosts.lab.b.v4), soon()).reason is Reason.NONE
        talk(other)
        assert ask(hosts, other, QUICK) is Reason.NONE
        hosts.negotiator.abort_tied()
        assert error_of(other) in GONE
    assert wire.counts.clear == 0, wire.counts
