"""Keeps what belongs to a secure device in place, and vouches for it: all of it, or nothing."""

from __future__ import annotations

import errno
import logging
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final, TypeAlias

from ..kernel.links import LinkSocket
from ..kernel.nftables import NftSocket
from ..kernel.notifications import (
    NETFILTER_GROUPS,
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    ROUTE_GROUPS,
    Change,
    Notifications,
)
from ..kernel.routing import table_of_change
from ..profile import Profile
from . import alias
from .device import Device, device_name
from .one_call import OneCall
from .routes import Routes
from .rules import Rules
from .sysctls import Sysctls

__all__ = ["Keeper", "NotSecureError", "remove"]

_log = logging.getLogger(__name__)

_Sources: TypeAlias = tuple[Notifications, Notifications]

_ROUNDS: Final = 5
# Nothing tells of sysctls, and the kernel removes some routes a moment after it told why.
_SETTLE: Final = 0.1
_LOOK: Final = 2.0
_AGAIN: Final = 0.5
# Routes of other tables may change all the time (BGP): what follows from them is looked at this often.
_CALM: Final = 0.25


class NotSecureError(RuntimeError):
    """What belongs to a secure device is not in place; the message says what, and why."""


class Keeper:
    """Keeps the rules, routes and settings of a secure device in place, in a thread of its own.

    The thread is told of changes by the kernel, looks at the whole set, and repairs what is not right. If all
    is right it says so in the device's alias (`alias`), with the generation of nftables at which it looked.
    If it cannot be made right the alias is emptied: no socket can be secured then. A device that was removed
    is made again, with its number.

    Attributes:
        device: what it keeps.
        one_call: why sockets are not secured by one call; "" where they are.
    """

    def __init__(
        self,
        device: Device,
        *,
        on_replaced: Callable[[Device], None] | None = None,
        one_call: bool = True,
    ) -> None:
        """Describe it.

        Args:
            device: what it keeps; nobody else removes it while it is kept.
            one_call: whether to have sockets secured by one call (`one_call`), where the kernel can.
            on_replaced: called by the thread when the device was made again: its queues are others now, and
                an engine has to get them. What it raises is said in the log.

        Raises:
            ValueError: no routing table can be had for the profile's reqid.
        """
        self.device = device
        self._on_replaced = on_replaced
        self._wants_one_call = one_call
        self.one_call = "it was not asked for"
        self._rules = Rules(device.profile)
        self._routes = Routes(device.profile)
        self._sysctls = Sysctls(device.profile)
        self._changed = threading.Condition()
        self._faults: list[str] = ["it was not looked at yet"]
        self._stopping = False
        self._wake = -1
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Keeper:
        """Start it, and wait until it vouches; remove everything again if it cannot."""
        try:
            self.start()
            self.wait()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def faults(self) -> list[str]:
        """What was not right when it last looked; [] while it vouches."""
        with self._changed:
            return list(self._faults)

    def start(self) -> None:
        """Put everything in place, in the network namespace of this thread, and keep it there from now on.

        It returns at once; `wait` tells when it vouches.

        Raises:
            OSError: the kernel has no nftables, or CAP_NET_ADMIN is missing.
        """
        if self._thread is not None:
            raise RuntimeError("it runs already")
        self._stopping = False
        with ExitStack() as stack:
            # Told of everything from now on, so that nothing is missed while it is put in place.
            rules = stack.enter_context(Notifications(NETLINK_NETFILTER, NETFILTER_GROUPS))
            routes = stack.enter_context(Notifications(NETLINK_ROUTE, ROUTE_GROUPS, self._can_wait))
            nft = stack.enter_context(NftSocket())
            nft.generation()
            # Held all the time: also a process that has run out of descriptors takes its voucher back.
            links = stack.enter_context(LinkSocket())
            self._have_one_call(stack)
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            held = stack.pop_all()
            thread = threading.Thread(
                target=self._work,
                args=(held, rules, routes, nft, links),
                name=f"wsasec-keeper-{self.device.name}",
                daemon=True,
            )
            try:
                thread.start()
            except BaseException:
                held.close()
                os.close(self._wake)
                self._wake = -1
                raise
            self._thread = thread

    def _have_one_call(self, stack: ExitStack) -> None:
        if not self._wants_one_call:
            return
        try:
            stack.enter_context(OneCall(self.device.profile, self.device.ifindex))
        except OSError as error:
            # All is as secure without it.
            self.one_call = str(error)
            _log.info("%s: a socket is secured by several calls: %s", self.device.name, error)
        else:
            self.one_call = ""

    def wait(self, timeout: float = 30.0) -> None:
        """Wait until it vouches.

        Raises:
            NotSecureError: it does not by then; the message says what is not right.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._faults, timeout):
                raise NotSecureError(f"{self.device.name} is not secure: {'; '.join(self._faults)}")

    def can_use(self, profile: Profile) -> bool:
        """Whether `use` takes a profile: it differs in nothing that a socket on the device has of it."""
        own = self.device.profile
        return replace(profile, congestion_control=own.congestion_control) == own

    def use(self, profile: Profile) -> None:
        """Keep the device by another profile from now on; `wait` tells when it is so.

        Raises:
            ValueError: it cannot be kept by that one (`can_use`).
        """
        if not self.can_use(profile):
            raise ValueError(f"{self.device.name} is of another profile")
        with self._changed:
            self.device.profile = profile
            self._routes = Routes(profile)
            self._faults = ["its profile is another one now"]
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """End the thread and empty the alias: nobody watches any more. The rest stays in place."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        thread.join()
        os.close(self._wake)
        self._wake = -1

    def remove(self, *, hold: bool = False) -> None:
        """Stop, and remove rules and routes; the device stays, down. OSError, NftError: something stays.

        Sockets that are bound to the device are cut off first. fwmark_reflect stays on.

        Args:
            hold: whether rules that hold whatever has the mark take the place of these. Without, sockets with
                the mark that are not bound to the device send in clear.
        """
        self.stop()
        _take_down(self.device.name, self._routes, self._rules, hold=hold)

    def hold(self) -> None:
        """Stop, and let nothing with the mark come in or go out; the device and its routes stay. NftError."""
        self.stop()
        self._rules.hold()

    def _work(
        self,
        held: ExitStack,
        rules: Notifications,
        routes: Notifications,
        nft: NftSocket,
        links: LinkSocket,
    ) -> None:
        with held:
            poll = select.poll()
            for what in (rules, routes, self._wake):
                poll.register(what, select.POLLIN)
            try:
                sources, told = (rules, routes), Change.MAJOR
                while not self._stopping:
                    began = time.monotonic()
                    faults = self._round(nft, links, sources)
                    # Where there is much to look at, no more than half of the time goes into it.
                    calm = max(_CALM, time.monotonic() - began)
                    # What was told of meanwhile may have been the beginning: look once again, then.
                    soon = {Change.NONE: _LOOK, Change.MINOR: calm, Change.MAJOR: _SETTLE}[told]
                    told = self._wait_for_change(poll, sources, _AGAIN if faults else soon, calm)
                reason = "its keeper was stopped"
            except BaseException as error:  # noqa: BLE001 - a keeper that ends must not vouch, whatever it was
                _log.exception("the keeper of %s ended", self.device.name)
                reason = f"the keeper ended: {error}"
            self._withdraw(links, [reason])

    def _can_wait(self, kind: int, payload: memoryview) -> bool:
        table = table_of_change(kind, payload)
        return table is not None and table != self._routes.table

    def _wait_for_change(self, poll: select.poll, sources: _Sources, longest: float, calm: float) -> Change:
        """Wait for a change, seconds at the longest; what can wait is taken some time after the last look.

        Returns:
            What there was.
        """
        looked = time.monotonic()
        until, told = looked + longest, Change.NONE
        while not self._stopping and (left := until - time.monotonic()) > 0:
            told_by = poll.poll(left * 1000)
            if not told_by:
                break
            if (self._wake, select.POLLIN) in told_by:
                os.eventfd_read(self._wake)
                return Change.MAJOR
            change = _drain(sources)
            if change is Change.MAJOR:
                return change
            if change is Change.MINOR:
                told = change
                until = min(until, looked + calm)
        return told

    def _round(self, nft: NftSocket, links: LinkSocket, sources: _Sources) -> list[str]:
        """Look at everything, repair it, vouch for it; return what stays wrong."""
        faults: list[str] = []
        routes = self._routes
        try:
            for _ in range(_ROUNDS):
                # What was told up to here is seen by this look, and so is what was repaired before it.
                _drain(sources)
                generation = nft.generation()
                faults = self._look(nft, links)
                if not faults:
                    if nft.generation() != generation:
                        continue
                    self._vouch(links, generation)
                    with self._changed:
                        if routes is self._routes:  # else it was looked at by the profile before
                            self._say([])
                    return []
                self._repair(nft, faults)
        except (OSError, subprocess.SubprocessError) as error:
            faults = [*faults, str(error)]
        faults = faults or ["the rules of nftables change all the time"]
        self._withdraw(links, faults)
        return faults

    def _look(self, nft: NftSocket, links: LinkSocket) -> list[str]:
        device = self.device
        if not device.is_there():
            return [f"the device {device.name} is gone"]
        faults = self._rules.faults(nft)
        faults += self._routes.faults(device.ifindex)
        faults += self._sysctls.faults()
        found = links.link(device.name)
        if found is None or not found.up:
            faults.append(f"the device {device.name} is down")
        elif found.queues != len(device.queues):
            # The kernel gives each queue its share of the packets: that process has them unencrypted.
            faults.append(f"another process has a queue of the device {device.name}: end it")
        return faults

    def _repair(self, nft: NftSocket, faults: list[str]) -> None:
        """Make all right that is not. The device is the last to come up: nothing goes through it before."""
        _log.debug("%s is to be repaired: %s", self.device.name, "; ".join(faults))
        if self._rules.faults(nft):
            self._rules.install(nft)
        self._routes.repair(0)
        replaced = not self.device.is_there()
        if replaced:
            self.device.recreate()
        self._sysctls.repair()
        self.device.set_up()
        self._routes.repair(self.device.ifindex)
        if replaced and self._on_replaced is not None:
            try:
                self._on_replaced(self.device)
            except Exception:  # noqa: BLE001 - whatever it does; the device is kept all the same
                _log.exception("the new queues of %s were not taken", self.device.name)

    def _vouch(self, links: LinkSocket, generation: int) -> None:
        text = str(alias.voucher(self.device.profile, generation))
        found = links.link(self.device.name)
        if found is None or not self.device.is_there():
            raise OSError(errno.ENODEV, f"the device {self.device.name} is gone")
        if found.alias != text:
            links.set_alias(self.device.name, text)

    def _withdraw(self, links: LinkSocket, faults: list[str]) -> None:
        """Take the voucher back; who sees that it is gone is told by `wait` that it is, and why."""
        with self._changed:
            self._empty(links)
            self._say(faults)

    def _empty(self, links: LinkSocket) -> None:
        try:
            found = links.link(self.device.name)
            if found is not None and found.alias:
                links.set_alias(self.device.name, "")
        except OSError as error:
            _log.warning("the alias of %s was not emptied: %s", self.device.name, error)

    def _say(self, faults: list[str]) -> None:
        with self._changed:
            if faults and faults != self._faults and not self._stopping:
                _log.warning("%s is not secure: %s", self.device.name, "; ".join(faults))
            self._faults = faults
            self._changed.notify_all()


def _drain(sources: _Sources) -> Change:
    return max(each.drain() for each in sources)


def _take_down(device: str, routes: Routes, rules: Rules, *, hold: bool) -> None:
    """Cut off the sockets of a device first, then take away what held them back."""
    with LinkSocket() as links:
        try:
            if links.link(device) is not None:  # another's may have its name beside its own
                links.set_up(device, up=False)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
    routes.remove()
    if hold:
        rules.hold()
    else:
        rules.remove()


def remove(profile: Profile) -> None:
    """Remove what is left of a profile where no daemon runs: its device, rules and routes.

    Sockets with its mark that were not bound to the device, or left it, are held by nothing then.

    In the network namespace of this thread; nothing, where there is nothing. A device of this name that is no
    TUN device is another's, and stays.

    Raises:
        OSError, NftError: something stays.
    """
    _take_down(device_name(profile), Routes(profile), Rules(profile), hold=False)
    with LinkSocket() as links:
        found = links.link(device_name(profile))
        if found is not None and found.kind == "tun":
            links.remove(found.name)
