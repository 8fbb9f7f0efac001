"""Who has the associations that charon makes: the kernel, or an engine; and what tells of them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ..config.model import Config
from ..profiles import carrier_of
from .acquire import Acquire, AcquireListener
from .changes import Changes
from .installed import Installed
from .pairs import Sas
from .plugin import fitting_plugin

if TYPE_CHECKING:
    from .tied import Heard

__all__ = ["Acquires", "Carrier", "EngineCarrier", "KernelCarrier", "MixedError", "on_device"]


class MixedError(ValueError):
    """A configuration asks for what one daemon cannot carry; the text says what."""


class Acquires(Protocol):
    """What `AcquireListener` has, and says what it does."""

    def start(self) -> None:
        """Begin."""

    def look_again(self) -> None:
        """Have all that is waited for told again."""

    def close(self) -> None:
        """End it."""


class Carrier(Protocol):
    """One of the two. All that it makes is of the network namespace of the calling thread."""

    @property
    def plugin(self) -> Callable[[], Path] | None:
        """What says where charon's plugin is; None: it needs none."""

    def sockets(self) -> list[socket.socket]:
        """Return sockets that charon is started with for the plugin, the caller's. Raises OSError."""

    def sas(self) -> Sas:
        """Return its associations."""

    def installed(self) -> Installed:
        """Return what is to be closed by the caller. Raises CharonError."""

    def acquires(self, callback: Callable[[Acquire], None], every: float | None) -> Acquires:
        """Return what hears which associations are waited for. Raises OSError."""

    def changes(self) -> Heard:
        """Return what hears that associations have changed. Raises OSError."""


class KernelCarrier:
    """Linux' own IPsec."""

    plugin: Final = None

    def sockets(self) -> list[socket.socket]:
        """As `Carrier`."""
        return []

    def sas(self) -> Sas:
        """As `Carrier`."""
        return Sas()

    def installed(self) -> Installed:
        """As `Carrier`."""
        return Installed()

    def acquires(self, callback: Callable[[Acquire], None], every: float | None) -> Acquires:
        """As `Carrier`."""
        return AcquireListener(callback, every)

    def changes(self) -> Heard:
        """As `Carrier`."""
        return Changes()


class EngineCarrier:
    """An engine, or several one after the other, at one path."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Describe it.

        Args:
            path: that of the control socket.
            threads: of the engine, for each direction.
        """
        from .engine_table import EngineTable

        self.path = path
        self._threads = threads
        self._table = EngineTable(path)

    @property
    def plugin(self) -> Callable[[], Path]:
        """As `Carrier`."""
        return fitting_plugin

    def sockets(self) -> list[socket.socket]:
        """As `Carrier`: with long queues, one for each thread that receives and each family."""
        from ..engine.transports import unbound

        return unbound(self._threads)

    def close(self) -> None:
        """Close the connection to the engine."""
        self._table.close()

    def sas(self) -> Sas:
        """As `Carrier`."""
        return Sas(lambda: self._table)

    def installed(self) -> Installed:
        """As `Carrier`."""
        return Installed(lambda: self._table)

    def acquires(self, callback: Callable[[Acquire], None], every: float | None) -> Acquires:
        """As `Carrier`; however often: an engine asks again itself, as packets come."""
        del every
        from .engine_events import EngineAcquires

        return EngineAcquires(self.path, callback)

    def changes(self) -> Heard:
        """As `Carrier`."""
        from .engine_events import EngineChanges

        return EngineChanges(self.path)


_KNOWN: Final = {"aes256gcm16", "aes128gcm16", "chacha20poly1305", "esn", "noesn"}
_GROUPS: Final = ("x25519", "curve25519", "x448", "ecp", "modp")


def on_device(config: Config) -> bool:
    """Whether an engine carries the profiles of a configuration, all of them.

    Raises:
        MixedError: some only; or they are such as it cannot carry.
        SecurityError: the kernel does not say whether it has ESP, see `carrier_of`.
    """
    devices = [each for each in config.profiles.values() if carrier_of(each.profile) == "device"]
    if not devices:
        return False
    if len(devices) != len(config.profiles):
        one = devices[0].profile.name
        other = next(name for name, each in config.profiles.items() if each not in devices)
        raise MixedError(
            f"profile '{one}' is carried by a device and profile '{other}' by the kernel: a key daemon does "
            "one of the two; give all profiles the same carrier"
        )
    if config.vici is not None:
        raise MixedError(
            "[daemon] vici: a charon of others has no plugin for the engine; leave it out, or use carrier = "
            '"policy"'
        )
    for each in devices:
        if each.ah_proposals:
            raise MixedError(f"profile '{each.profile.name}': a device has ESP only, no AH")
        for word in "-".join(each.esp_proposals).split("-"):
            if word not in _KNOWN and not word.startswith(_GROUPS):
                raise MixedError(
                    f"profile '{each.profile.name}' proposes {word}: a device has aes256gcm16, aes128gcm16 "
                    "and chacha20poly1305 only"
                )
    return True
