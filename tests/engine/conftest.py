"""Two hosts with an engine each, without rules and keys: what the program itself does."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from real_time import need_real_time

from wsasec.engine import Algorithm, Association, AssociationName, Control, Direction, Secret, TransportKind
from wsasec.engine import tun as queues
from wsasec.lab import Lab, LabError

ROOT = Path(__file__).parent.parent.parent
ENGINE = ROOT / "src/engine"
REQID = 7
DEVICE = "ws7"
PORT = 4500
SANITIZERS = {
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}


def installed() -> Path:
    """The program of the package that is tested."""
    import wsasec.engine

    path = Path(wsasec.engine.__file__).parent / "wsasec-engine"
    if not path.exists():
        pytest.skip("this build has no engine: apt-get install libssl-dev")
    return path


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What makes the program with a sanitizer, once."""
    made: dict[str, Path] = {}

    def make(sanitizer: str) -> Path:
        if not ENGINE.is_dir():
            pytest.skip("the C sources are not beside the tests: run from the source tree")
        if not shutil.which("gcc") or not Path("/usr/include/openssl/evp.h").exists():
            pytest.skip("no compiler, or no OpenSSL headers: apt-get install gcc libssl-dev")
        if sanitizer not in made:
            folder = tmp_path_factory.mktemp(sanitizer)
            command = [
                "gcc",
                "-std=c11",
                "-D_GNU_SOURCE",
                "-g",
                "-O1",
                "-pthread",
                *SANITIZERS[sanitizer],
            ]
            command += [f"-I{ENGINE}", f"-I{ROOT / 'include'}", *map(str, sorted(ENGINE.glob("*.c")))]
            subprocess.run([*command, "-o", str(folder / "engine"), "-lcrypto"], check=True, timeout=600)
            made[sanitizer] = folder / "engine"
        return made[sanitizer]

    return make


class Host:
    """A namespace with a device, sockets and an engine; the launcher's part is played here."""

    def __init__(
        self,
        namespace: Any,
        program: Path,
        threads: int,
        arguments: list[str],
        log: Path,
        *,
        real_time: bool,
        bulk: bool,
    ) -> None:
        self.namespace = namespace
        self.v4 = namespace.v4
        self.v6 = namespace.v6
        self.log = log
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = os.environ | {
            "TSAN_OPTIONS": "exitcode=66 halt_on_error=0",
            "ASAN_OPTIONS": "detect_leaks=0",  # it ends with what it has
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        with its, log.open("wb") as stderr:
            command = [
                *(("chrt", "--rr", "1") if real_time else ()),
                *(str(program), "--control-fd", str(its.fileno()), "--threads", str(threads), *arguments),
            ]
            self.process = subprocess.Popen(command, pass_fds=[its.fileno()], stderr=stderr, env=environment)
        self.control = Control(ours, timeout=60.0)
        self._open(threads, bulk=bulk)

    def _open(self, threads: int, *, bulk: bool) -> None:
        opened: list[Any] = []
        try:
            with self.namespace.entered():
                fds = [queues.attach(DEVICE) for _ in range(threads * (1 + bulk))]
                queues.set_offload(fds[0])
                sockets = {
                    family: [self._socket(family) for _ in range(threads)]
                    for family in (socket.AF_INET, socket.AF_INET6)
                }
            opened = [each for several in sockets.values() for each in several]
            self.control.add_device(REQID, 0, DEVICE, 1400, fds, bulk=bulk)
            for family, several in sockets.items():
                self.control.add_transport(
                    TransportKind.UDP, family, PORT, [each.fileno() for each in several]
                )
            with self.namespace.entered():
                raw = [
                    (family, socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ESP))
                    for family in (socket.AF_INET, socket.AF_INET6)
                ]
            opened += [each for _, each in raw]
            for family, each in raw:
                self.control.add_transport(TransportKind.RAW, family, 0, [each.fileno()])
        finally:
            for fd in fds:
                os.close(fd)
            for each in opened:
                each.close()
        self.control.start()

    @staticmethod
    def _socket(family: int) -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("", PORT))
        return made

    def route_to(self, peer: Host) -> None:
        for family, address, own in (("-4", peer.v4, self.v4), ("-6", peer.v6, self.v6)):
            for command in (
                f"ip {family} route add {address} dev {DEVICE} src {own} table 57",
                f"ip {family} rule add oif {DEVICE} lookup 57",
            ):
                self.namespace.run(command.split())
        for name in ("all", DEVICE):
            self.namespace.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)

    def set_up(self) -> None:
        self.namespace.run(["ip", "link", "set", DEVICE, "mtu", "1400", "up"])

    def socket(
        self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET, port: int = 0
    ) -> socket.socket:
        """A socket on the device."""
        made = self.namespace.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, DEVICE.encode())
        made.bind((self.v4 if family == socket.AF_INET else self.v6, port))
        made.settimeout(60)
        return made

    def end(self) -> None:
        """Stop it; it must end without a word of a sanitizer."""
        if self.process.poll() is None:
            self.control.stop()
        code = self.process.wait(60)
        self.control.close()
        said = self.log.read_text(errors="replace")
        assert code == 0, said
        assert "Sanitizer" not in said, said
        assert "runtime error" not in said, said


class Rig:
    def __init__(self, a: Host, b: Any) -> None:
        self.a = a
        self.b = b
        self.spi = 0x1000

    def association(
        self, source: str, destination: str, direction: Direction, key: bytes, spi: int, **more: Any
    ) -> Association:
        name = AssociationName(
            ipaddress.ip_address(source), ipaddress.ip_address(destination), spi, direction
        )
        more = {"ports": (PORT, PORT), "algorithm": Algorithm.AES_256_GCM} | more
        return Association(name, REQID, key=Secret(key), **more)

    def add(
        self, sender: Host, receiver: Host, family: int = socket.AF_INET, outbound: Any = None, **more: Any
    ) -> tuple[Association, Association]:
        """One direction, with a new key: the receiver first."""
        self.spi += 1
        algorithm = more.get("algorithm", Algorithm.AES_256_GCM)
        key = secrets.token_bytes(algorithm.key_length)
        ends = (sender.v4, receiver.v4) if family == socket.AF_INET else (sender.v6, receiver.v6)
        inward = self.association(*ends, Direction.INBOUND, key, self.spi, **more)
        outward = self.association(*ends, Direction.OUTBOUND, key, self.spi, **more, **(outbound or {}))
        receiver.control.add_sa(inward)
        sender.control.add_sa(outward)
        return outward, inward

    def both(self, family: int = socket.AF_INET, **more: Any) -> None:
        self.add(self.a, self.b, family, **more)
        self.add(self.b, self.a, family, **more)


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """What makes two hosts with an engine each."""
    with ExitStack() as stack:

        def make(
            program: Path | None = None,
            threads: int = 1,
            arguments: tuple[str, ...] = (),
            *,
            alone: bool = False,
            real_time: bool = False,
            bulk: bool = False,
        ) -> Rig:
            """Alone: b is a namespace only, and what it sends is the test's."""
            if real_time:
                need_real_time()
            if not Path("/dev/net/tun").exists():
                pytest.skip("no /dev/net/tun: modprobe tun")
            path = program or installed()
            try:
                lab = stack.enter_context(Lab(keys=False))
            except LabError as error:
                pytest.skip(str(error))
            hosts = []
            for namespace in (lab.a,) if alone else (lab.a, lab.b):
                log = tmp_path / f"{namespace.name}.log"
                host = Host(*(namespace, path, threads, list(arguments), log), real_time=real_time, bulk=bulk)
                stack.callback(host.end)
                host.set_up()
                hosts.append(host)
            rig = Rig(hosts[0], lab.b if alone else hosts[1])
            rig.a.route_to(rig.b)
            if not alone:
                rig.b.route_to(rig.a)
            return rig

        yield make


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()


@contextmanager
def listening(host: Host, family: int = socket.AF_INET) -> Iterator[tuple[socket.socket, int]]:
    with host.socket(family=family) as listener:
        listener.listen()
        yield listener, listener.getsockname()[1]
