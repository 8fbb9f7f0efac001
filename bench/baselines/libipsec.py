"""strongSwan's ESP in user space, by its plugin kernel-libipsec: charon and a TUN device at each end.

The two are told over VICI what to negotiate, with a secret drawn for the run.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from wsasec.kernel.links import LinkSocket
from wsasec.lab import Lab, Namespace

from .tunnel import AbsentError, Tunnel, inside, running, tried

__all__ = ["connection", "libipsec", "settings"]

_CHARON: Final = Path("/usr/lib/ipsec/charon")
_PLUGIN: Final = Path("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so")
_ADDRESSES: Final = ("10.20.0.1", "10.20.0.2")
_NAMES: Final = ("a.bench", "b.bench")
_TIMEOUT: Final = 10.0
_SETTINGS: Final = """\
charon {{
  load = random nonce openssl kdf pem pubkey kernel-libipsec kernel-netlink socket-default vici
  plugins {{
    kernel-libipsec {{
      load = yes
    }}
    vici {{
      socket = unix://{folder}/vici
    }}
  }}
}}
"""


def settings(folder: Path) -> str:
    """Write the strongswan.conf of a charon whose VICI socket is in a folder."""
    return _SETTINGS.format(folder=folder)


def connection(number: int, wire: tuple[str, str]) -> dict[str, Any]:
    """Describe for VICI how the host of this number reaches the other, given the addresses on the wire."""
    other = 1 - number

    def end(which: int) -> dict[str, Any]:
        return {"auth": "psk", "id": _NAMES[which]}

    child = {
        "mode": "tunnel",
        "local_ts": [f"{_ADDRESSES[number]}/32"],
        "remote_ts": [f"{_ADDRESSES[other]}/32"],
        "esp_proposals": ["aes256gcm16-noesn"],
    }
    return {
        "bench": {
            "version": "2",
            "local_addrs": [wire[number]],
            "remote_addrs": [wire[other]],
            "proposals": ["aes256gcm16-prfsha384-ecp256"],
            "local": end(number),
            "remote": end(other),
            "children": {"bench": child},
        }
    }


def _session(path: Path) -> Any:
    import vici  # type: ignore[import-untyped]

    control = socket.socket(socket.AF_UNIX)
    try:
        control.settimeout(_TIMEOUT)
        control.connect(str(path))
        return vici.Session(control), control
    except BaseException:
        control.close()
        raise


def _missing() -> str | None:
    if not _CHARON.exists():
        return "strongSwan is missing: apt-get install strongswan-charon"
    if not _PLUGIN.exists():
        return "kernel-libipsec is missing: apt-get install libcharon-extra-plugins"
    if not Path("/dev/net/tun").exists():
        return "kernel-libipsec needs /dev/net/tun: modprobe tun"
    try:
        import vici  # noqa: F401
    except ImportError:
        return "charon is spoken to by vici: pip install 'wsasec[keys]'"
    return None


def _load(session: Any, number: int, wire: tuple[str, str], secret: str) -> None:
    session.load_shared({"id": "bench", "type": "IKE", "data": secret, "owners": list(_NAMES)})
    session.load_conn(connection(number, wire))


def _initiate(session: Any) -> None:
    """Negotiate, and read to the end what is said about it."""
    said = [
        entry.get("msg", b"").decode(errors="replace")
        for entry in session.initiate(
            {"child": "bench", "ike": "bench", "timeout": str(int(_TIMEOUT * 1000))}
        )
    ]
    if not any("CHILD_SA" in line and "established" in line for line in said):
        raise AbsentError(f"charon could not negotiate: {' / '.join(said[-2:])}")


def _give(host: Namespace, address: str) -> None:
    with host.entered(), LinkSocket() as links:
        links.add_address("lo", address, 32)


@contextmanager
def libipsec(lab: Lab) -> Iterator[Tunnel]:
    """Join the hosts of a lab without keys; what goes to the addresses of what is yielded goes through.

    Raises:
        AbsentError: strongSwan, its plugin, a package, or a TUN device is missing, or nothing was negotiated.
        OSError: the kernel refused an address.
    """
    if reason := _missing():
        raise AbsentError(reason)
    hosts = (lab.a, lab.b)
    wire = (lab.a.v4, lab.b.v4)
    secret = secrets.token_hex(32)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="wsasec-bench-")))
        pids, sessions = [], []
        for number, host in enumerate(hosts):
            _give(host, _ADDRESSES[number])
            own = folder / _NAMES[number]
            own.mkdir()
            (own / "strongswan.conf").write_text(settings(own))
            environment = {
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "STRONGSWAN_CONF": str(own / "strongswan.conf"),
            }
            process = stack.enter_context(running(host, [str(_CHARON)], environment))
            session, control = tried(process, "charon", lambda path=own / "vici": _session(path))  # type: ignore[misc]
            stack.callback(control.close)
            _load(session, number, wire, secret)
            pids.append(process.pid)
            sessions.append(session)
        try:
            _initiate(sessions[0])
        except Exception as error:
            if type(error).__module__.startswith("vici"):
                raise AbsentError(f"charon could not negotiate: {error}") from error
            raise
        a, b = (inside(host, address) for host, address in zip(hosts, _ADDRESSES, strict=True))
        yield Tunnel(a, b, tuple(pids))
