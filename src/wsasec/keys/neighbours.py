"""Others' connections in a charon that is shared: whether they and ours would get into each other's way."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ..config.model import Authentication
from ..kernel.policies import policies
from .connections import group_of
from .credentials import Credentials
from .groups import Group
from .listing import list_certificates
from .messages import Section, section, text, texts
from .reason import CharonError, Reason
from .session import Session

__all__ = ["require_apart"]

# charon numbers associations of its own from 1 on, and uses those again that are free.
_FIRST_REQID: Final = 1 << 14

# Whom these let in, no certificate of ours could.
_CLOSED: Final = ("pre-shared key", "XAuth")
_CLOSED_EAP: Final = ("EAP_MSCHAPV2", "EAP_MD5", "EAP_GTC", "EAP_SIM", "EAP_AKA", "EAP_RADIUS")


def _refuse(detail: str) -> CharonError:
    return CharonError(Reason.NO_CHARON, detail)


def _require_no_secrets(groups: list[Group]) -> None:
    """Charon takes any secret that has the peer's identity or its own among its owners, whoever loaded it."""
    for group in groups:
        if group.identity.authentication is Authentication.PSK:
            raise _refuse(
                f"profile '{group.name}': not with a pre-shared key: whoever knows one of its own could be "
                "taken for a peer, and the other way round; use certificates or raw keys"
            )
        if group.uses_anonymous_key():
            raise _refuse(
                f"profile '{group.name}': not without identities: "
                "its own connections could take peers without one"
            )


def _reqids_of_others(session: Session, deadline: float) -> set[int]:
    """Return those of associations that others have, and of policies that would have them negotiated."""
    taken: set[int] = set()

    def each(message: Section) -> None:
        for name, ike in message.items():
            if isinstance(ike, dict) and group_of(name) is None:
                children = section(ike, "child-sas")
                found = [text(section(children, child), "reqid") for child in children]
                taken.update(int(reqid) for reqid in found if reqid.isdigit())

    session.stream("list-sas", {"noblock": "yes"}, "list-sa", each, deadline)
    try:
        for policy in policies():
            if policy.priority:  # not the guard's
                taken.update(policy.reqids)
    except OSError as error:
        raise _refuse(f"the kernel: {error.strerror or error}") from error
    return taken


def _require_reqids(session: Session, groups: list[Group], deadline: float) -> None:
    taken = _reqids_of_others(session, deadline)
    for profile in (p.profile for group in groups for p in group.profiles):
        if profile.reqid < _FIRST_REQID:
            raise _refuse(
                f"profile '{profile.name}': reqid {profile.reqid}: its own are numbered from 1 on; "
                f"take one from {_FIRST_REQID} on"
            )
        if profile.reqid in taken:
            raise _refuse(
                f"profile '{profile.name}': reqid {profile.reqid} is that of another connection, which would "
                "answer for its sockets: take another one"
            )


def _takes_any(connection: Section) -> bool:
    """Whether a connection takes peers by what anybody has loaded, and not only by what it names itself."""
    for name in connection:
        if not name.startswith("remote-"):
            continue
        remote = section(connection, name)
        kind = text(remote, "class")
        closed = kind in _CLOSED or (kind == "EAP" and text(remote, "eap-type") in _CLOSED_EAP)
        if not closed and not texts(remote, "certs") and not texts(remote, "cacerts"):
            return True
    return False


def _require_no_wider_trust(
    session: Session, trusted: Collection[bytes], pinned: bool, deadline: float
) -> None:
    there = {each.der for each in list_certificates(session, deadline, None) if each.ca}
    if not pinned and there.issuperset(trusted):
        return
    found: list[str] = []

    def each(message: Section) -> None:
        found.extend(
            name
            for name, value in message.items()
            if isinstance(value, dict) and group_of(name) is None and _takes_any(value)
        )

    session.stream("list-conns", None, "list-conn", each, deadline)
    if found:
        raise _refuse(
            f"its connection '{found[0]}' takes peers of any CA that is loaded, and would take those of "
            "[trust], too: name its own in remote.cacerts or remote.certs"
        )


def require_apart(session: Session, groups: list[Group], credentials: Credentials, deadline: float) -> None:
    """Find out.

    It works in the network namespace of the calling thread.

    Raises:
        CharonError: they would, and how to have it otherwise; or charon does not answer.
        MessageError: an answer of charon's has another form.
    """
    _require_no_secrets(groups)
    _require_reqids(session, groups, deadline)
    pinned = any(group.first.trust.pinned for group in groups)
    _require_no_wider_trust(session, credentials.all_authorities(), pinned, deadline)
