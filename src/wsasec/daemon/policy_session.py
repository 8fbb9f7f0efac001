"""The program's end of a session of `wsasec.policy` on Linux: the methods that Windows' has, too."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from ..constants import Winsock
from ..errors import SecurityError
from .client import Client, DaemonError

__all__ = ["PolicySession"]

_STEP: Final = "key daemon"
_REMEDY: Final = (
    "policies are profiles of /etc/wsasec/wsasec.toml here: change [profile.NAME] there, then wsasec reload"
)

Subnet = tuple[bytes, int] | None


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except DaemonError as error:
        raise SecurityError(str(error), winsock=error.code, hint=error.hint, step=_STEP) from None


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _within(address: bytes, subnet: Subnet) -> bool:
    return subnet is None or (
        len(address) == len(subnet[0])
        and ipaddress.ip_address(address) in ipaddress.ip_network((subnet[0], subnet[1]))
    )


def _tuples(value: Any) -> Any:
    """Make tuples of JSON's lists."""
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


class PolicySession:
    """A session with the key daemon of this network namespace. Not for two threads at once.

    All methods raise SecurityError, and ValueError after close().
    """

    def __init__(self, dynamic: bool) -> None:
        """Begin it.

        Args:
            dynamic: makes no difference as long as sessions cannot add anything.
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

    def close(self) -> None:
        """End it; more than once is no error."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, verb: str, **more: Any) -> dict[str, Any]:
        if self._client is None:
            raise ValueError("the session is closed")
        with _failures():
            return self._client.control(verb, **more)

    def _refuse(self, step: str) -> NoReturn:
        if self._client is None:
            raise ValueError("the session is closed")
        raise SecurityError(
            "sessions add and delete no policies on Linux",
            winsock=Winsock.WSAEOPNOTSUPP,
            hint=_REMEDY,
            step=step,
        )

    def add(self, policy: tuple[Any, ...]) -> None:  # noqa: ARG002 - as Windows' has it
        """Refuse: WSAEOPNOTSUPP."""
        self._refuse("add policy")

    def delete(self, key: bytes) -> None:  # noqa: ARG002 - as Windows' has it
        """Refuse: WSAEOPNOTSUPP."""
        self._refuse("delete policy")

    def policies(self) -> list[tuple[Any, ...]]:
        """Return policies, see `wsasec.config.described`."""
        found = self._ask("policies")["policies"]
        return [(uuid.UUID(key).bytes_le, *_tuples(rest)) for key, *rest in found]

    def associations(self, local: Subnet, remote: Subnet) -> list[dict[str, Any]]:
        """Return a dict for each. local, remote: None, or (address as bytes, prefix)."""
        found = [_association(each) for each in self._ask("security-associations")["associations"]]
        return [one for one in found if _within(one["local"], local) and _within(one["remote"], remote)]

    def ike_association(self, number: int, lookup: bytes | None) -> dict[str, Any]:  # noqa: ARG002 - as above
        """Return a dict. lookup: counts for nothing here."""
        found = self._ask("ike-association", number=number)["association"]
        addresses = {end: _packed(found[end]) for end in ("local", "remote")}
        rest = {key: _tuples(value) for key, value in found.items()}
        return rest | addresses | {"policy": uuid.UUID(found["policy"]).bytes_le}


def _association(found: dict[str, Any]) -> dict[str, Any]:
    addresses = {end: _packed(found[end]) for end in ("local", "remote")}
    return {key: _tuples(value) for key, value in found.items()} | addresses | {"lookup": bytes(16)}
