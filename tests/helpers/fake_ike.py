"""charon and the kernel's SAs in memory: who is where, whom charon takes there, what comes of it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from ipaddress import ip_address

from wsasec.kernel.xfrm import SA
from wsasec.keys.associations import Address, Certificate, ChildSa, Event, IkeSa, Outcome
from wsasec.keys.pairs import Pair, Sas, chosen
from wsasec.keys.reason import CharonError, Reason

OWN = ip_address("10.9.0.1")
PEER = ip_address("10.9.0.2")


class FakeSas(Sas):
    """The kernel's table."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.table: list[SA] = []
        self.sources: dict[Address, Address | None] = {}

    def source(self, peer: Address, mark: int = 0, device: int = 0) -> Address | None:
        return self.sources.get(peer, OWN)

    def find(self, reqid: int, own: Address, peer: Address) -> Pair | None:
        with self.lock:
            out = chosen(
                [sa for sa in self.table if (sa.src, sa.dst) == (str(own), str(peer))], reqid, time.time()
            )
            back = chosen(
                [sa for sa in self.table if (sa.dst, sa.src) == (str(own), str(peer))], reqid, time.time()
            )
        return Pair(out, back) if out and back else None

    def every(self, reqids: Collection[int], peer: Address) -> list[SA]:
        with self.lock:
            return [sa for sa in self.table if str(peer) in (sa.src, sa.dst) and sa.reqid in reqids]

    def of(self, reqids: Collection[int]) -> list[SA]:
        with self.lock:
            return [sa for sa in self.table if sa.reqid in reqids]

    def remove(self, sas: Iterable[SA]) -> None:
        with self.lock:
            gone = list(sas)
            self.table = [sa for sa in self.table if sa not in gone]

    def add(self, reqid: int, own: Address, peer: Address, spi_in: int, spi_out: int) -> None:
        """Install a pair, the newest."""
        with self.lock:
            for src, dst, spi in ((own, peer, spi_out), (peer, own, spi_in)):
                sa = SA(
                    str(src), str(dst), spi, "esp", "transport", reqid, 0, 0, algorithm="rfc4106(gcm(aes))"
                )
                self.table.insert(
                    0, replace(sa, encryption_bits=256, integrity_bits=128, added=int(time.time()))
                )


class FakeIke:
    """charon: one group, "group", whose reqids are numbered by profile."""

    def __init__(self, sas: FakeSas, reqids: dict[str, int]) -> None:
        self.sas = sas
        self.reqids = reqids
        self.alive = True
        self.identities: dict[Address, str] = {}
        self.shown: list[Certificate] = []
        self.pins: dict[Address, str] = {}
        self.ikes: list[IkeSa] = []
        self.initiated: list[tuple[str, Address]] = []
        self.calls: list[str] = []
        self.numbers = itertools.count(1)
        self.lock = threading.RLock()
        self.callbacks: list[Callable[[Event], None]] = []
        self.gate = threading.Event()  # negotiations wait for it
        self.gate.set()
        self.failure: Outcome | None = None

    def group(self, profile: str) -> str:
        self.reqids[profile]
        return "group"

    def watch(self, callback: Callable[[Event], None]) -> None:
        self.callbacks.append(callback)

    def happen(self, event: Event) -> None:
        for callback in self.callbacks:
            callback(event)

    def _require(self) -> None:
        if not self.alive:
            raise CharonError(Reason.NO_CHARON, "it is dead")

    def initiate(self, profile: str, peer: Address, deadline: float, local: Address | None = None) -> Outcome:
        with self.lock:
            self.initiated.append((profile, peer))
        self.gate.wait(max(0.0, deadline - time.monotonic()))
        with self.lock:
            if not self.alive:
                return Outcome(Reason.NO_CHARON)
            if self.failure is not None:
                return self.failure
            identity = self.identities.get(peer)
            if identity is None:
                return Outcome(Reason.PEER_SILENT, "no answer")
            if self.pins.get(peer, identity) != identity:
                return Outcome(Reason.AUTHENTICATION, "constraint check failed")
            ike = self.establish(profile, peer, identity, local or OWN)
        self.happen(Event("child-updown", True, ike))
        return Outcome(Reason.NONE, ike=ike, child=ike.children[0])

    def establish(self, profile: str, peer: Address, identity: str, local: Address = OWN) -> IkeSa:
        """Have an IKE SA with a child, as if anybody had begun."""
        with self.lock:
            number = next(self.numbers)
            child = ChildSa(
                *(profile, 100 + number, "INSTALLED", self.reqids[profile], "TRANSPORT", "ESP"),
                *(1000 + number, 2000 + number, "AES_GCM_16", 256, "", "", True, 0, 0, 0, 0, 0, 3600, 4000),
                *((), ()),
            )
            ike = IkeSa(
                *("wsasec", "group", number, "ESTABLISHED", 2, True, local, peer, "a.example", identity),
                *("AES_GCM_16", 256, "", "PRF", "ECP_256", 0, 14400, (child,)),
            )
            self.ikes.append(ike)
            self.sas.add(self.reqids[profile], local, peer, child.spi_in, child.spi_out)
            return ike

    def pin(self, group: str, peer: Address, identity: str, deadline: float) -> None:
        self._require()
        with self.lock:
            self.calls.append(f"pin {peer} {identity}")
            if self.pins.get(peer, identity) != identity:
                raise CharonError(Reason.OTHER_IDENTITY, "pinned")
            self.pins[peer] = identity
            for ike in [ike for ike in self.ikes if ike.remote == peer and ike.remote_id != identity]:
                self.terminate(ike.unique_id, deadline)

    def unpin(self, group: str, peer: Address, deadline: float) -> None:
        self._require()
        with self.lock:
            self.calls.append(f"unpin {peer}")
            self.pins.pop(peer, None)

    def pinned(self, group: str, peer: Address) -> str | None:
        return self.pins.get(peer)

    def associations(self, deadline: float, peer: Address | None = None) -> list[IkeSa]:
        self._require()
        with self.lock:
            self.calls.append("list-sas")
            return [ike for ike in self.ikes if peer in (None, ike.remote)]

    def certificates(self, deadline: float, subject: str | None = None) -> list[Certificate]:
        self._require()
        self.calls.append("list-certs")
        return self.shown

    def terminate(self, unique_id: int, deadline: float) -> bool:
        self._require()
        with self.lock:
            gone = [ike for ike in self.ikes if ike.unique_id == unique_id]
            self.ikes = [ike for ike in self.ikes if ike.unique_id != unique_id]
            spis = {spi for ike in gone for child in ike.children for spi in (child.spi_in, child.spi_out)}
            self.sas.remove([sa for sa in self.sas.table if sa.spi in spis])
        for ike in gone:
            self.happen(Event("ike-updown", False, ike))
        return bool(gone)
