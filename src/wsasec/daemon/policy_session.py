"""The program's end of a session of `wsasec.policy` on Linux: the methods that Windows' has, too."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from .. import profiles
from ..constants import Winsock
from ..errors import SecurityError
from ..policy.policies import QUICK
from ..profile import Profile
from .client import Client, DaemonError
from .policy_text import read, tuples, written

__all__ = ["PolicySession"]

_STEP: Final = "key daemon"
_REMEDY: Final = (
    "main modes are the configuration's: see [profile.NAME] in /etc/wsasec/wsasec.toml, then wsasec reload"
)
_QUICK: Final = frozenset(QUICK.values())

Subnet = tuple[bytes, int] | None


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except DaemonError as error:
        raise SecurityError(str(error), winsock=error.code, hint=error.hint, step=_STEP) from None


def _within(address: bytes, subnet: Subnet) -> bool:
    return subnet is None or (
        len(address) == len(subnet[0])
        and ipaddress.ip_address(address) in ipaddress.ip_network((subnet[0], subnet[1]))
    )


class PolicySession:
    """A session with the key daemon of this network namespace. Not for two threads at once.

    All methods raise SecurityError, and ValueError after close().
    """

    def __init__(self, dynamic: bool) -> None:
        """Begin it.

        Args:
            dynamic: whether what is added ends with it, or with the process.
        """
        self._client: Client | None = None
        with _failures():
            client = Client()
            try:
                client.control("policy-session", dynamic=dynamic)
            except BaseException:
                client.close()
                raise
        self._client = client
        self._added: dict[uuid.UUID, Profile] = {}
        self._dynamic = dynamic

    def close(self) -> None:
        """End it; more than once is no error."""
        client, self._client = self._client, None
        if client is None:
            return
        with client, suppress(DaemonError):  # it has ended, and with it all that was added
            client.control("end-session")
        if self._dynamic:
            _forget(self._added)

    def _ask(self, verb: str, **more: Any) -> dict[str, Any]:
        if self._client is None:
            raise ValueError("the session is closed")
        with _failures():
            return self._client.control(verb, **more)

    def add(self, policy: tuple[Any, ...]) -> None:
        """Add a quick-mode policy as `wsasec.policy` describes it, and have this process know its profile."""
        kind, authentications = policy[2], policy[-2]
        if kind not in _QUICK or authentications:
            # Not sent: there may be a secret in it.
            why = "main modes" if kind not in _QUICK else "users, by extended"
            raise SecurityError(
                f"sessions add no {why} on Linux",
                winsock=Winsock.WSAEOPNOTSUPP,
                hint=_REMEDY,
                step="add policy",
            )
        said = self._ask("add-policy", policy=written(policy))
        profile_name, guid, *numbers = said["profile"]
        made = Profile(profile_name, uuid.UUID(guid), *numbers)
        try:
            active = profiles.active()
            profiles.use(profiles.Profiles({**active.by_name, made.name: made}, active.default))
        except BaseException as error:
            self._ask("delete-policy", guid=guid)
            if isinstance(error, ValueError):
                raise SecurityError(
                    "a profile that this program has put in use cannot be told from the policy",
                    winsock=Winsock.WSAEINVAL,
                    hint="give the policy another GUID, or leave that profile out",
                    step="add policy",
                ) from None
            raise
        self._added[made.guid] = made

    def delete(self, key: bytes) -> None:
        """Delete a policy that was added, by its GUID."""
        guid = uuid.UUID(bytes_le=key)
        self._ask("delete-policy", guid=guid.hex)
        self._added.pop(guid, None)
        _forget([guid])

    def policies(self) -> list[tuple[Any, ...]]:
        """Return policies, see `wsasec.config.described`."""
        return [read(policy) for policy in self._ask("policies")["policies"]]

    def associations(self, local: Subnet, remote: Subnet) -> list[dict[str, Any]]:
        """Return a dict for each. local, remote: None, or (address as bytes, prefix)."""
        said = self._ask("security-associations")["associations"]
        found = [_association(each) | {"lookup": bytes(16)} for each in said]
        return [one for one in found if _within(one["local"], local) and _within(one["remote"], remote)]

    def ike_association(self, number: int, lookup: bytes | None) -> dict[str, Any]:  # noqa: ARG002 - as above
        """Return a dict. lookup: counts for nothing here."""
        found = self._ask("ike-association", number=number)["association"]
        return _association(found) | {"policy": uuid.UUID(found["policy"]).bytes_le}


def _forget(guids: Collection[uuid.UUID]) -> None:
    """Have this process know no profiles of these any more."""
    active = profiles.active()
    kept = {name: each for name, each in active.by_name.items() if each.guid not in guids}
    if len(kept) < len(active):
        profiles.use(profiles.Profiles(kept, active.default))


def _association(found: dict[str, Any]) -> dict[str, Any]:
    addresses = {end: ipaddress.ip_address(found[end]).packed for end in ("local", "remote")}
    return {key: tuples(value) for key, value in found.items()} | addresses
