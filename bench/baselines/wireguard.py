"""WireGuard in user space, by wireguard-go: a TUN device and a process at each end.

It is set up over its own socket, by the cross-platform configuration protocol of
https://www.wireguard.com/xplatform/, with keys drawn for the run.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsasec.kernel.links import LinkSocket
from wsasec.lab import Lab, Namespace

from .tunnel import AbsentError, Tunnel, inside, running, tried

__all__ = ["configuration", "wireguard"]

_DEVICE: Final = "wg0"
_PORT: Final = 51820
_SOCKETS: Final = "run/wireguard"  # of any wireguard-go (wireguard-go, ipc/uapi_unix.go)
_ADDRESSES: Final = ("10.10.0.1", "10.10.0.2")
_PREFIX: Final = 24
_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Pair:
    """A Curve25519 key pair, in hexadecimal as the protocol has it. The private one is in no repr."""

    private: str
    public: str

    def __repr__(self) -> str:
        return f"_Pair(public={self.public})"


def _draw() -> _Pair:
    try:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    except ImportError:
        raise AbsentError("wireguard-go needs keys: pip install 'wsasec[keys]'") from None
    key = X25519PrivateKey.generate()
    return _Pair(key.private_bytes_raw().hex(), key.public_key().public_bytes_raw().hex())


def configuration(private: str, peer: str, endpoint: str, allowed: str) -> str:
    """Write what a device is told: its key and its one peer.

    Args:
        private: its own key, hexadecimal.
        peer: the peer's public key, hexadecimal.
        endpoint: the peer's address on the wire.
        allowed: the peer's address inside.
    """
    lines = (
        "set=1",
        f"private_key={private}",
        f"listen_port={_PORT}",
        "replace_peers=true",
        f"public_key={peer}",
        f"endpoint={endpoint}:{_PORT}",
        f"allowed_ip={allowed}/32",
    )
    return "\n".join(lines) + "\n\n"


def _tell(pid: int, text: str) -> None:
    """Configure the device of a process, whose socket is in its own /run."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(_TIMEOUT)
        control.connect(str(Path("/proc", str(pid), "root", _SOCKETS, f"{_DEVICE}.sock")))
        control.sendall(text.encode())
        answer = b""
        while not answer.endswith(b"\n\n"):
            more = control.recv(4096)
            if not more:
                break
            answer += more
    if answer.strip() != b"errno=0":
        raise AbsentError(
            f"wireguard-go refused its configuration: {answer.decode(errors='replace').strip()}"
        )


def _set_up(host: Namespace, address: str) -> None:
    with host.entered(), LinkSocket() as links:
        links.add_address(_DEVICE, address, _PREFIX)
        links.set_up(_DEVICE)


@contextmanager
def wireguard(lab: Lab) -> Iterator[Tunnel]:
    """Join the hosts of a lab without keys; what goes to the addresses of what is yielded goes through.

    Raises:
        AbsentError: wireguard-go, a package, or a TUN device is missing.
        OSError: the kernel refused an address.
    """
    program = shutil.which("wireguard-go")
    if program is None:
        raise AbsentError("wireguard-go is missing: apt-get install wireguard-go")
    if not Path("/dev/net/tun").exists():
        raise AbsentError("wireguard-go needs /dev/net/tun: modprobe tun")
    hosts = (lab.a, lab.b)
    pairs = _draw(), _draw()
    environment = {**os.environ, "WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "silent"}
    with ExitStack() as stack:
        pids = []
        for number, host in enumerate(hosts):
            other = 1 - number
            text = configuration(
                pairs[number].private, pairs[other].public, hosts[other].v4, _ADDRESSES[other]
            )
            process = stack.enter_context(running(host, [program, "-f", _DEVICE], environment))
            tried(process, "wireguard-go", lambda pid=process.pid, text=text: _tell(pid, text))  # type: ignore[misc]
            _set_up(host, _ADDRESSES[number])
            pids.append(process.pid)
        a, b = (inside(host, address) for host, address in zip(hosts, _ADDRESSES, strict=True))
        yield Tunnel(a, b, tuple(pids))
