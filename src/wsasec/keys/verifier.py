"""Holding a name against whoever is at an address, and pinning him there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from ..config.model import KeyProfile
from ..kernel.xfrm import SA
from .associations import Address, IkeSa
from .known import PROVEN, Known
from .layer import IkeLayer
from .named import PeerName
from .names import matches
from .negotiations import Negotiations
from .pairs import Pair, Sas
from .pins import Pin, PinKey, Pins
from .reason import CharonError, Reason
from .verdict import Verdict, failed

__all__ = ["Verifier"]

_ROUNDS: Final = 4


class Verifier:
    """Verifies names. Thread-safe.

    A name is verified if its principal is pinned at the address, so that charon takes nobody else there, and
    if all SAs that are there already are the principal's.
    """

    def __init__(
        self,
        ike: IkeLayer,
        sas: Sas,
        negotiations: Negotiations,
        known: Known,
        pins: Pins,
        reqids: Callable[[str], Collection[int]],
    ) -> None:
        """Describe it; `reqids` returns those of a group's profiles."""
        self._ike = ike
        self._sas = sas
        self._negotiations = negotiations
        self._known = known
        self._pins = pins
        self._reqids = reqids

    def verify(
        self, name: PeerName, profile: KeyProfile, own: Address, peer: Address, deadline: float
    ) -> Verdict:
        """Have SAs with a peer, and see that he goes by a name; then the name has a pin there.

        Its socket's lock must be held.
        """
        if peer.is_link_local:
            # charon's connections and lists know no scopes: the pin might be for a host on another link.
            return failed(Reason.NO_IDENTITY, f"nobody can be pinned at the link-local address {peer}")
        try:
            for _ in range(_ROUNDS):
                verdict = self._negotiations.run(profile, own, peer, deadline)
                if not verdict.good:
                    return verdict
                found = self._look(name, profile, own, peer, deadline)
                if found is not None:
                    return found
        except CharonError as error:
            return failed(error.reason, error.detail)
        except KeyError:
            return failed(Reason.NO_CHARON, f"profile {profile.profile.name} is not loaded")
        except OSError as error:
            return failed(Reason.SYSTEM, error.strerror or str(error))
        return failed(Reason.NO_IDENTITY, f"no IKE association is known that made the keys for {peer}")

    def _look(
        self, name: PeerName, profile: KeyProfile, own: Address, peer: Address, deadline: float
    ) -> Verdict | None:
        """Return what is to be said, or None if something changed under way."""
        key = self._ike.group(profile.profile.name), peer
        with self._pins.at(key, deadline) as pin:
            pair = self._sas.find(profile.profile.reqid, own, peer)
            if pair is None:
                return None
            if self._known_to_be(pin, name, pair):
                self._own(pin, key, name)
                return Verdict()
            return self._look_closely(name, pin, key, pair, deadline)

    def _known_to_be(self, pin: Pin, name: PeerName, pair: Pair) -> bool:
        """Whether the principal goes by this name and has been at this address ever since that was found."""
        if pin.principal is None or not pin.owners or name.name not in pin.names:
            return False
        maker = self._known.cached(pair)
        return maker is not None and maker[0].remote_id == pin.principal

    def _look_closely(
        self, name: PeerName, pin: Pin, key: PinKey, pair: Pair, deadline: float
    ) -> Verdict | None:
        peer = key[1]
        self._known.ask(peer, deadline)
        maker = self._known.maker(pair, peer, deadline)
        if maker is None:
            self._remove_unknown(key, deadline)
            return None
        ike = maker[0]
        identity = ike.remote_id
        if not matches(name.name, identity, self._known.certificates(ike, deadline)):
            return failed(
                Reason.OTHER_IDENTITY, f"identity is '{identity}', '{name.name.text}' was asked for"
            )
        if pin.principal != identity or not pin.owners:
            if pin.owners and pin.principal is not None:
                # It came before the pin took hold, or cannot be.
                self._ike.terminate(ike.unique_id, deadline)
                return None
            self._set(pin, key, identity, deadline)
        self._own(pin, key, name)
        if not self._alone(pin, key, deadline):
            return None
        pin.names.add(name.name)
        return Verdict()

    def _set(self, pin: Pin, key: PinKey, identity: str, deadline: float) -> None:
        if pin.principal is not None:
            self._ike.unpin(*key, deadline)
            pin.principal = None
        pin.names.clear()
        self._ike.pin(*key, identity, deadline)
        pin.principal = identity

    def _own(self, pin: Pin, key: PinKey, name: PeerName) -> None:
        """Have the pin last as long as the name."""
        if name.pin == key:
            return
        if name.pin is not None:
            self._pins.release(name.pin, name.program)
        name.pin = key
        self._pins.own(key, pin, name.program)

    def _alone(self, pin: Pin, key: PinKey, deadline: float) -> bool:
        """Whether all SAs at an address are the principal's; what is others' is ended, for another look."""
        foreign, unknown = self._others(pin.principal, key, deadline)
        for ike in foreign:
            self._ike.terminate(ike.unique_id, deadline)
        self._sas.remove(unknown)
        return not foreign and not unknown

    def _remove_unknown(self, key: PinKey, deadline: float) -> None:
        _, unknown = self._others(None, key, deadline)
        self._sas.remove(unknown)

    def _others(self, principal: str | None, key: PinKey, deadline: float) -> tuple[list[IkeSa], list[SA]]:
        """Return IKE SAs with others than the principal, and SAs that charon does not know."""
        group, peer = key
        ikes, unknown = self._known.unmade(self._sas.every(self._reqids(group), peer), peer, deadline)
        others = [ike for ike in ikes if ike.group == group and ike.remote_id != principal]
        # One that charon deletes keeps its associations until the peer has answered.
        return [ike for ike in others if ike.state in PROVEN or ike.children], unknown
