"""What protects a connection now."""

from __future__ import annotations

import time
from typing import Final

from ..config.model import KeyProfile
from ..kernel.xfrm import SA
from .associations import Address
from .known import Known, Maker, made_by
from .layer import IkeLayer
from .pairs import Pair, Sas
from .reason import CharonError, Reason
from .verdict import Association, Verdict, failed

__all__ = ["Query"]

_ROUNDS: Final = 3
_PROTOCOLS: Final = {"esp": 50, "ah": 51}


class Query:
    """Answers, from what the kernel has, and who made it from what is known of charon. Thread-safe."""

    def __init__(self, ike: IkeLayer, sas: Sas, known: Known) -> None:
        self._ike = ike
        self._sas = sas
        self._known = known

    def association(self, profile: KeyProfile, own: Address, peer: Address, deadline: float) -> Association:
        """Return what protects packets of a profile's sockets between two addresses. Raises OSError.

        That charon does not answer is no failure: then it is not known who made the SAs.
        """
        name, reqid = profile.profile.name, profile.profile.reqid
        pair = self._sas.find(reqid, own, peer)
        if pair is None:
            return Association(failed(Reason.NO_ASSOCIATION), profile=name, reqid=reqid)
        maker, certificate = self._made_by(pair, peer, deadline)
        return _association(name, pair, maker, certificate)

    def _made_by(self, pair: Pair, peer: Address, deadline: float) -> tuple[Maker | None, bytes]:
        if not self._ike.alive:
            return None, b""
        try:
            maker = self._known.maker(pair, peer, deadline)
            if maker is None:
                return None, b""
            certificates = self._known.certificates(maker[0], deadline)
            # Of several with this identity it is not known which the peer has shown.
            return maker, certificates[0] if len(certificates) == 1 else b""
        except CharonError:
            return None, b""

    def one_identity(self, found: Association, peer: Address, deadline: float) -> Verdict:
        """Whether all SAs with a peer are those of one identity: that of an association. Raises OSError."""
        if not found.identity:
            return failed(Reason.NO_IDENTITY)
        # Again: what charon does not know may just have ended, and be gone from the kernel, too.
        for _ in range(_ROUNDS):
            sas = self._sas.every([found.reqid], peer)
            try:
                ikes, unknown = self._known.unmade(sas, peer, deadline)
            except CharonError as error:
                return failed(error.reason, error.detail)
            others = made_by(ike for ike in ikes if ike.remote_id != found.identity)
            if any(sa.spi in others for sa in sas):
                break
            if not unknown:
                return Verdict()
        return failed(
            Reason.NO_IDENTITY, f"others than '{found.identity}' have associations with {peer}, too"
        )


def _association(profile: str, pair: Pair, maker: Maker | None, certificate: bytes) -> Association:
    outward, inward = pair.outward, pair.inward
    ike, child = maker or (None, None)
    return Association(
        secured=True,
        encrypted=outward.encryption_bits > 0 and inward.encryption_bits > 0,
        protocol=_PROTOCOLS.get(outward.proto, 0),
        mm_sa_id=ike.unique_id if ike else 0,
        qm_sa_id=child.unique_id if child else 0,
        bytes_in=inward.bytes,
        bytes_out=outward.bytes,
        packets_in=inward.packets,
        packets_out=outward.packets,
        age=max(0, int(time.time()) - outward.added),
        rekey_in=_rekey_in(outward),
        spi_in=inward.spi,
        spi_out=outward.spi,
        encryption_bits=outward.encryption_bits,
        integrity_bits=outward.integrity_bits,
        esn=outward.esn,
        reqid=outward.reqid,
        mode=outward.mode,
        encryption=outward.algorithm,
        integrity=outward.integrity,
        identity=ike.remote_id if ike else "",
        own_identity=ike.local_id if ike else "",
        profile=profile,
        certificate=certificate,
    )


def _rekey_in(sa: SA) -> int:
    return max(0, sa.added + sa.soft_seconds - int(time.time())) if sa.soft_seconds else 0
