"""What the negotiator answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from .reason import Reason, one_line

__all__ = ["Association", "Verdict", "failed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it was done.

    Attributes:
        reason: Reason.NONE if it was.
        detail: what there is to say of a failure: one line, no secret.
    """

    reason: Reason = Reason.NONE
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether it was done."""
        return self.reason is Reason.NONE


def failed(reason: Reason, detail: str = "") -> Verdict:
    """Return a failure; the detail may have come from a peer."""
    return Verdict(reason, one_line(detail))


@dataclass(frozen=True, slots=True)
class Association:
    """What protects a connection now: the members of struct wsasec_daemon_association.

    Attributes:
        verdict: whether the rest is there.
        secured: both directions have an SA, and the socket is one that must use it.
        encrypted: secured, and by an SA that encrypts.
        protocol: 50: ESP, 51: AH.
        mm_sa_id: charon's number of the IKE SA; 0: keys that were not negotiated, or not by this charon.
        qm_sa_id: charon's number of the association; 0 likewise.
        bytes_in: that came in.
        bytes_out: that went out.
        packets_in: that came in.
        packets_out: that went out.
        age: seconds since the outbound SA was installed.
        rekey_in: seconds; 0: not known.
        spi_in: in the host's byte order.
        spi_out: in the host's byte order.
        encryption_bits: of the key; 0: no encryption.
        integrity_bits: of the tag; for an AEAD of its own tag.
        esn: whether sequence numbers are extended.
        reqid: the profile's.
        mode: "transport", always, if it is secured.
        encryption: name of the algorithm, as the kernel has it; "" for none.
        integrity: the same; "" for an AEAD.
        identity: the peer's; "" where nobody authenticated it.
        own_identity: this host's.
        profile: its name.
        certificate: the peer's, DER; b"" if there is none, or if several have this identity.
    """

    verdict: Verdict = field(default_factory=Verdict)
    secured: bool = False
    encrypted: bool = False
    protocol: int = 0
    mm_sa_id: int = 0
    qm_sa_id: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0
    age: int = 0
    rekey_in: int = 0
    spi_in: int = 0
    spi_out: int = 0
    encryption_bits: int = 0
    integrity_bits: int = 0
    esn: bool = False
    reqid: int = 0
    mode: str = ""
    encryption: str = ""
    integrity: str = ""
    identity: str = ""
    own_identity: str = ""
    profile: str = ""
    certificate: bytes = b""
