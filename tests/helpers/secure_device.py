"""A secure device without an engine: a TUN device whose packets the test has, with rules and a voucher."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsasec import Profile
from wsasec.engine.one_call import OneCall
from wsasec.lab import Namespace

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x1, 0x1000
_NETLINK_NETFILTER = 12
_NFT_MSG_GETGEN, _NFT_MSG_NEWGEN = 0x0A10, 0x0A0F
_NFTA_GEN_ID = 1


def run(*argv: str, text: str | None = None) -> str:
    """Run a program in this thread's network namespace."""
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True, timeout=60).stdout


def generation() -> int:
    """Number of the last change of nftables in this thread's network namespace."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as sock:
        sock.settimeout(20.0)
        sock.send(struct.pack("=IHHIIBBH", 20, _NFT_MSG_GETGEN, 0x1, 1, 0, 0, 0, 0))
        answer = sock.recv(4096)
    assert struct.unpack_from("=H", answer, 4) == (_NFT_MSG_NEWGEN,), answer.hex()
    length, kind = struct.unpack_from("=HH", answer, 20)
    assert (length, kind) == (8, _NFTA_GEN_ID)
    return int(struct.unpack_from(">I", answer, 24)[0])


def alias(profile: Profile, number: int) -> str:
    return f"wsasec/1 reqid={profile.reqid} mark={profile.mark:#010x}/{profile.mask:#010x} nft={number}"


def _rules(name: str, profile: Profile) -> str:
    mark = f"meta mark & {profile.mask:#x} == {profile.mark:#x}"
    return f"""
table inet {name} {{
    chain whole {{
        type filter hook prerouting priority -500;
        iifname {name} ip frag-off & 0x3fff != 0 drop
        iifname {name} exthdr frag exists drop
    }}
    chain marking {{
        type filter hook prerouting priority -300;
        iifname {name} meta mark set {profile.mark:#x}
    }}
    chain leaving {{
        type filter hook output priority 0;
        {mark} oifname != {name} drop
    }}
    chain arriving {{
        type filter hook input priority 0;
        iifname != {name} socket mark & {profile.mask:#x} == {profile.mark:#x} drop
        iifname {name} socket mark & {profile.mask:#x} != {profile.mark:#x} reject
    }}
}}
"""


class SecureDevice:
    """A device of a profile in this thread's network namespace; it is vouched for until something changes."""

    def __init__(self, profile: Profile, *, peers: tuple[str, ...] = (), table: int = 57) -> None:
        tun = Path("/dev/net/tun")
        if not tun.exists():
            pytest.skip(f"no {tun}: modprobe tun")
        self.profile = profile
        self.name = profile.device
        self.fd = os.open(tun, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        request = struct.pack("16sH22x", self.name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(self.fd, _TUNSETIFF, request)
        for family in ("ipv4", "ipv6"):
            Path(f"/proc/sys/net/{family}/fwmark_reflect").write_text("1\n")
        Path(f"/proc/sys/net/ipv4/conf/{self.name}/src_valid_mark").write_text("1\n")
        run("ip", "link", "set", self.name, "up")
        for version in ("-4", "-6"):
            run("ip", version, "rule", "add", "oif", self.name, "lookup", str(table))
            mark = f"{profile.mark:#x}/{profile.mask:#x}"
            run("ip", version, "rule", "add", "fwmark", mark, "lookup", str(table))
            run(
                "ip",
                version,
                "route",
                "add",
                "unreachable",
                "default",
                "metric",
                "4278198272",
                "table",
                str(table),
            )
        for peer in peers:
            run("ip", "route", "add", peer, "dev", self.name, "table", str(table))
        run("nft", "-f", "-", text=_rules(self.name, profile))
        self.vouch()

    @property
    def index(self) -> int:
        return socket.if_nametoindex(self.name)

    def say(self, text: str) -> None:
        run("ip", "link", "set", self.name, "alias", text)

    def vouch(self) -> None:
        self.say(alias(self.profile, generation()))

    def read(self) -> bytes | None:
        """Return a packet that went into the device, or None."""
        try:
            return os.read(self.fd, 65535)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Remove the device, and leave the rules."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def one_call(profile: Profile, index: int) -> OneCall:
    """Have sockets on a device secured by one call."""
    try:
        return OneCall(profile, index)
    except OSError as error:
        pytest.skip(f"no program for setsockopt() can be had: {error}")


@contextmanager
def cable(one: SecureDevice, other: SecureDevice) -> Iterator[None]:
    """Carry the packets of one device to the other, as two engines do between them."""
    wake, end = os.pipe()
    ways = {one.fd: other.fd, other.fd: one.fd}

    def carry() -> None:
        while True:
            for fd in select.select([*ways, wake], [], [])[0]:
                if fd == wake:
                    return
                try:
                    os.write(ways[fd], os.read(fd, 65535))
                except (BlockingIOError, OSError):
                    continue  # what arrives in an engine without a peer is lost, too

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield
    finally:
        os.close(end)
        thread.join()
        os.close(wake)


@contextmanager
def pair(profile: Profile) -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with a wire that is clear, and with a device each between which packets are carried.

    The addresses are 10.9.0.1 and 10.9.0.2, fd09::1 and fd09::2.
    """
    with (
        Namespace("left", v4="10.9.0.1", v6="fd09::1") as left,
        Namespace("right", v4="10.9.0.2", v6="fd09::2") as right,
    ):
        with left.entered():
            run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", right.path)
        devices = []
        try:
            for here, there in ((left, right), (right, left)):
                with here.entered():
                    run("ip", "address", "add", f"{here.v4}/24", "dev", "wire")
                    run("ip", "address", "add", f"{here.v6}/64", "dev", "wire", "nodad")
                    run("ip", "link", "set", "wire", "up")
                    device = SecureDevice(profile)
                    devices.append(device)
                    for peer, source in ((there.v4, here.v4), (there.v6, here.v6)):
                        run("ip", "route", "add", peer, "dev", device.name, "src", source, "table", "57")
            with cable(*devices):
                yield left, right
        finally:
            for device in devices:
                device.close()
