"""What charon has, asked and ended over a session; errors are CharonError, and MessageError of forms."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from .associations import Address, Certificate, IkeSa
from .messages import Section, encode
from .parsing import certificate, ike_sas
from .session import GRACE, RefusedError, Session

__all__ = ["end_child", "list_certificates", "list_ike_sas", "terminate_child", "terminate_ike"]


def _remote(peer: Address) -> bytes:
    """Return how a message says that this is the peer's address: as charon writes it, by inet_ntop()."""
    family = socket.AF_INET if peer.version == 4 else socket.AF_INET6
    return encode({"remote-host": socket.inet_ntop(family, peer.packed)})


def list_ike_sas(
    session: Session,
    deadline: float,
    *,
    wait: bool,
    connection: str = "",
    unique_id: int = 0,
    peer: Address | None = None,
) -> list[IkeSa]:
    """Return our IKE SAs.

    Args:
        session: with charon.
        deadline: for all of it.
        wait: for those that charon is working on just now; else they are left out.
        connection: name of the one whose IKE SAs are asked for; "" for all.
        unique_id: of the one that is asked for; 0 for all.
        peer: address of the one whose IKE SAs are returned; None for all. charon lists all the same.
    """
    found: list[IkeSa] = []
    # Whatever value "noblock" has, to have it means yes.
    message: dict[str, object] = {} if wait else {"noblock": "yes"}
    message |= {"ike": connection} if connection else {}
    message |= {"ike-id": unique_id} if unique_id else {}
    session.stream(
        "list-sas",
        message,
        "list-sa",
        lambda each: found.extend(ike_sas(each)),
        deadline,
        having=b"" if peer is None else _remote(peer),
    )
    return [ike for ike in found if peer in (None, ike.remote)]


def list_certificates(session: Session, deadline: float, subject: str | None) -> list[Certificate]:
    """Return X.509 certificates: all, or those which an identity is in."""
    found: list[Certificate] = []

    def each(message: Section) -> None:
        listed = certificate(message)
        if listed is not None:
            found.append(listed)

    message = {"type": "X509"} | ({"subject": subject} if subject is not None else {})
    session.stream("list-certs", message, "list-cert", each, deadline)
    return found


def _terminate(session: Session, message: dict[str, object], deadline: float) -> bool:
    # Forced: the peer is told, and not waited for.
    try:
        session.request("terminate", message | {"force": "yes", "timeout": -1}, deadline)
    except RefusedError as error:
        if "no matching" in error.detail:
            return False
        raise
    return True


def terminate_ike(session: Session, unique_id: int, deadline: float) -> bool:
    """End an IKE SA and its associations at once; False if it is gone already."""
    return _terminate(session, {"ike-id": unique_id}, deadline)


def terminate_child(session: Session, unique_id: int, deadline: float) -> bool:
    """End one pair of associations at once; False if it is gone already."""
    return _terminate(session, {"child-id": unique_id}, deadline)


def end_child(session: Session, unique_id: int, deadline: float) -> None:
    """End one pair of associations, and wait for the peer's answer, until shortly before the deadline.

    Whatever pair is begun meanwhile by the same IKE SA is said to have failed when the old one goes: charon
    takes the end of any of its pairs for the end of the new one.
    """
    left = max(1, int((deadline - GRACE - time.monotonic()) * 1000))
    # Refused: it is gone already, or was not answered.
    with suppress(RefusedError):
        session.request("terminate", {"child-id": unique_id, "timeout": left}, deadline)
