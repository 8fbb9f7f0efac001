"""Whether a charon of others can be shared: found out before anything of it is changed."""

from __future__ import annotations

from .abilities import require_abilities
from .algorithms import require_algorithms
from .credentials import Credentials
from .groups import Group
from .neighbours import require_apart
from .reason import CharonError
from .session import Session
from .whose import require_ours

__all__ = ["require_shareable"]


def require_shareable(
    session: Session, where: str, groups: list[Group], credentials: Credentials, deadline: float
) -> int:
    """Find out, and return how many negotiations may be waited for at the same time.

    It works in the network namespace of the calling thread.

    Args:
        session: with charon.
        where: its socket, for errors.
        groups: what is to be loaded.
        credentials: of the groups.
        deadline: for all of it.

    Raises:
        CharonError: it cannot be shared, and why.
        MessageError: an answer of charon's has another form.
    """
    try:
        require_ours(session)
        at_once = require_abilities(session, deadline)
        require_algorithms(session, groups, deadline)
        require_apart(session, groups, credentials, deadline)
    except CharonError as error:
        raise CharonError(error.reason, f"{where}: {error.detail}") from None
    return at_once
