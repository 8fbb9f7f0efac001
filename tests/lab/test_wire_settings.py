"""What the settings mean on the wire."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from collections.abc import Callable

import pytest
from wire import Stream, Wire, is_readable, run_streams, wait_for, xfrm_stat

import wsasec
from wsasec import IpsecFlags, IpsecSettings, SecurityFlags, Settings
from wsasec.lab import Lab
from wsasec.profiles import DEFAULT, Profile

pytestmark = pytest.mark.lab

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
HOSTS = {"10.9.0.1", "10.9.0.2", "fd00:9::1", "fd00:9::2"}

BLUE = Profile("blue", uuid.UUID(int=0xB10E), reqid=0x5702, mark=0x58000000, mask=0xFF000000)
INTEGRITY = Profile(
    "integrity", uuid.UUID(int=0x1E6), reqid=0x5703, mark=0x59000000, mask=0xFF000000, encrypting=False
)


def exchange(wire: Wire, settings: object) -> None:
    """Move data over TCP and UDP, both ways."""
    client, server, _ = wire.connection(settings)
    run_streams(Stream(client, server, 50_000), Stream(server, client, 50_000))
    first, second = wire.datagram_pair(settings)
    for sender, receiver in ((first, second), (second, first)):
        sender.send(b"datagram")
        assert receiver.recv(100) == b"datagram"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(SecurityFlags.GUARANTEE_ENCRYPTION),
        Settings(SecurityFlags.GUARANTEE_ENCRYPTION | SecurityFlags.ALLOW_INSECURE),
        IpsecSettings(),
        IpsecSettings(qm_policy=DEFAULT, mm_policy=DEFAULT),
        IpsecSettings(ipsec_flags=IpsecFlags.ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED),
    ],
    ids=["none", "guarantee", "guarantee-and-allow", "ipsec", "named-policy", "first-unencrypted"],
)
def test_required(make_wire, settings):
    """All that does not allow clear text for good: protected."""
    with make_wire() as wire:
        exchange(wire, settings)


def test_allow_insecure_without_associations(make_wire):
    with make_wire(keys=False, esp=False, clear_from=HOSTS) as wire:
        exchange(wire, Settings(SecurityFlags.ALLOW_INSECURE))
    assert wire.capture.counts.clear_by_state["DATA"] > 0
    assert wire.capture.counts.clear_by_state["UDP"] == 2


def test_allow_insecure_with_associations(make_wire):
    """Protected, as there is something to protect with; without the guard only the last ACKs are clear."""
    with make_wire(clear_from=HOSTS) as wire:
        exchange(wire, Settings(SecurityFlags.ALLOW_INSECURE))
    assert set(wire.capture.counts.clear_by_state) <= {"ACK"}


def test_allow_insecure_accepts_both(make_wire):
    """A plain peer and a secured one at the same listener."""
    with make_wire(clear_from=HOSTS) as wire:
        listener = wire.listener(wire.b, settings=Settings(SecurityFlags.ALLOW_INSECURE))
        for client in (wire.plain(wire.a), wire.secured(wire.a)):
            wire.connect(client, listener.getsockname())
            # The answers to the plain peer are protected, too: there is an association, and it takes both.
            client.sendall(b"hello")
            server = wire.accept(listener)
            assert server.recv(100) == b"hello"
            # The last ACK of the server, which has no guard, would be in clear: a secured client takes none.
            client.close()
            assert server.recv(100) == b""
            server.close()


def test_skip_filter_instantiation(make_wire):
    """The administrator's policy is in charge; without one it is a plain socket."""
    with make_wire(esp=False, clear_from=HOSTS) as wire:
        exchange(wire, IpsecSettings(ipsec_flags=IpsecFlags.SKIP_FILTER_INSTANTIATION))
        assert wire.a.policies() == ""
    assert wire.capture.counts.clear_by_state["DATA"] > 0


def test_listener_policy_is_inherited(make_wire):
    """An accepted socket does not take what its listener would not: clear data, once connected."""
    with make_wire(esp=None, settle=False, clear_from={"10.9.0.1", "fd00:9::1"}) as wire:
        client, server, _ = wire.connection()
        # The client's policies go, as a program with privileges can do; the server's must not.
        level, name = (socket.IPPROTO_IP, 17) if wire.family == socket.AF_INET else (socket.IPPROTO_IPV6, 35)
        client.setsockopt(level, name, None, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
        client.sendall(b"suddenly in clear")
        wait_for(lambda: xfrm_stat(wire.b, "XfrmInTmplMismatch") >= 1, "it is dropped")
        assert not is_readable(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_socket_options(make_wire):
    """As data for other libraries: the same protection."""
    with make_wire() as wire:
        ends = []
        for namespace in (wire.a, wire.b):
            with namespace.entered():
                options = wsasec.socket_options(family=wire.family)
            sock = wire.plain(namespace)
            for option in options:
                sock.setsockopt(*option)
            ends.append(sock)
        client, listener = ends
        wire.bind(listener, wire.b).listen()
        wire.connect(client, listener.getsockname())
        server = wire.accept(listener)
        run_streams(Stream(client, server, 10_000), Stream(server, client, 10_000))


# --- profiles ---


def test_integrity_only_profile(make_wire, use_profiles: Callable[..., None]):
    use_profiles(INTEGRITY, DEFAULT)
    with make_wire(profile=INTEGRITY, integrity_only=True) as wire:
        exchange(wire, None)
        refused = wire.plain(wire.a)
        with pytest.raises(wsasec.SecurityError) as caught:
            wsasec.secure(refused, Settings(SecurityFlags.GUARANTEE_ENCRYPTION))
        assert (caught.value.winsock, caught.value.profile) == (wsasec.Winsock.WSAEINVAL, "integrity")
    assert wire.capture.counts.inner["DATA"] > 0
    assert wire.capture.counts.inner["UDP"] == 2


def _add_profile(wire: Wire, profile: Profile) -> None:
    """Give the two hosts associations of a second profile."""
    other = Lab(profile, keys=False)
    other.a, other.b = wire.a, wire.b
    other.add_sas()


def _moved(wire: Wire, profile: Profile) -> int:
    return sum(sa.packets for end in (wire.a, wire.b) for sa in wire.sas(end) if sa.reqid == profile.reqid)


def test_two_profiles(make_wire, use_profiles: Callable[..., None]):
    """Each has its own associations, and neither's sockets take the other's packets."""
    use_profiles(DEFAULT, BLUE)
    blue = IpsecSettings(qm_policy=BLUE)
    with make_wire() as wire:
        _add_profile(wire, BLUE)
        exchange(wire, None)
        assert _moved(wire, DEFAULT) > 0
        assert _moved(wire, BLUE) == 0
        wire.close_sockets()
        wire.settle()  # no acknowledgement is still to come
        before = _moved(wire, DEFAULT)
        receiver = wire.datagram(wire.b, blue)
        sender = wire.datagram(wire.a, blue)
        for _ in range(10):
            sender.sendto(b"blue", receiver.getsockname())
            assert receiver.recv(100) == b"blue"
        assert _moved(wire, DEFAULT) == before
        assert _moved(wire, BLUE) == 20
        client, server, _ = wire.connection(blue)
        run_streams(Stream(client, server, 10_000), Stream(server, client, 10_000))


def test_wrong_profile(make_wire, use_profiles: Callable[..., None]):
    use_profiles(DEFAULT, BLUE)
    blue = IpsecSettings(qm_policy=BLUE)
    with make_wire(esp=None) as wire:
        _add_profile(wire, BLUE)
        listener = wire.listener(wire.b)
        with wire.secured(wire.a, settings=blue) as client, pytest.raises(TimeoutError):
            wsasec.connect(client, listener.getsockname(), 0.5)
        receiver = wire.datagram(wire.b)
        mismatches = xfrm_stat(wire.b, "XfrmInTmplMismatch")
        wire.datagram(wire.a, blue).sendto(b"blue", receiver.getsockname())
        wait_for(lambda: xfrm_stat(wire.b, "XfrmInTmplMismatch") > mismatches, "it is dropped")
        assert not is_readable(receiver)
        assert not is_readable(listener)
    assert wire.capture.counts.esp > 0


def test_profile_without_associations(make_wire, use_profiles: Callable[..., None]):
    """Those of another profile are no substitute."""
    use_profiles(DEFAULT, BLUE)
    with make_wire(esp=False) as wire:
        sock = wire.secured(wire.a, settings=IpsecSettings(qm_policy=BLUE))
        with pytest.raises(wsasec.SecurityError) as caught:
            wsasec.connect(sock, (wire.host(wire.b), 4711), 0.1)
        assert "in profile blue" in str(caught.value)


# --- other processes ---

_CHILD = """
import socket, sys, wsasec
family, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with socket.socket(family) as sock:
    wsasec.secure(sock)
    print("ready", flush=True)
    wsasec.connect(sock, (host, port), 10)
    sock.sendall(b"from a child")
    print(sock.recv(100).decode())
"""


def test_descriptor_passed_on(make_wire):
    """A child that inherits a secured socket sends protected, too."""
    with make_wire() as wire:
        client, server, _ = wire.connection()
        subprocess.run(
            [sys.executable, "-c", f"import os; os.write({client.fileno()}, b'inherited')"],
            pass_fds=[client.fileno()],
            timeout=30,
            check=True,
        )
        assert server.recv(100) == b"inherited"
        server.sendall(b"answer")
        assert client.recv(100) == b"answer"


def test_other_process(make_wire):
    with make_wire() as wire:
        listener = wire.listener(wire.b)
        child = wire.a.popen(
            [sys.executable, "-c", _CHILD, str(int(wire.family)), *map(str, listener.getsockname()[:2])],
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            assert child.stdout.readline() == "ready\n"
            server = wire.accept(listener)
            assert server.recv(100) == b"from a child"
            server.sendall(b"from its parent")
            assert child.communicate(timeout=30)[0] == "from its parent\n"
        assert child.returncode == 0
