"""The settings of the kernel that a secure device needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..profile import Profile
from .device import device_name

__all__ = ["Sysctls", "has_ipv6"]

# Of the namespace. Answers that the kernel makes itself take over the mark of what they answer.
_REFLECT: Final = "fwmark_reflect"

# Of the device.
_IPV4: Final = {
    # The reverse path is looked for by the mark, too. Without it rp_filter drops all that comes out.
    "src_valid_mark": "1",
    # This host's own addresses can be at both ends.
    "accept_local": "1",
    "route_localnet": "1",
    # Only for this host. The rules of nftables see to it, too.
    "forwarding": "0",
}
_IPV6: Final = {
    # Where new devices have none by default, others may have it.
    "disable_ipv6": "0",
    # Nobody behind it is a router.
    "accept_ra": "0",
    "accept_redirects": "0",
    "router_solicitations": "0",
    "forwarding": "0",
}


def _folder(version: int) -> Path:
    return Path(f"/proc/sys/net/ipv{version}")


def has_ipv6() -> bool:
    """Whether the kernel has IPv6."""
    return _folder(6).exists()


@dataclass(frozen=True, slots=True)
class _Setting:
    path: Path
    value: str

    @property
    def name(self) -> str:
        return ".".join(self.path.parts[3:])

    def right(self) -> bool:
        return self.path.read_text().strip() == self.value


class Sysctls:
    """The settings in one network namespace: that of the thread that uses this.

    Those of the device go with it. fwmark_reflect stays on: others rely on it, and it changes nothing for
    packets without a mark.
    """

    def __init__(self, profile: Profile) -> None:
        self._device = device_name(profile)

    def _wanted(self) -> list[_Setting]:
        wanted = [_Setting(_folder(4) / _REFLECT, "1")]
        wanted += [
            _Setting(_folder(4) / "conf" / self._device / name, value) for name, value in _IPV4.items()
        ]
        if has_ipv6():
            wanted.append(_Setting(_folder(6) / _REFLECT, "1"))
            of_device = _folder(6) / "conf" / self._device
            wanted += [_Setting(of_device / name, value) for name, value in _IPV6.items()]
        return wanted

    def faults(self) -> list[str]:
        """Say which are not as they should be; also where there is no device."""
        found = []
        for setting in self._wanted():
            try:
                if not setting.right():
                    found.append(f"sysctl {setting.name} is not {setting.value}")
            except OSError as error:
                found.append(f"sysctl {setting.name} cannot be read: {error.strerror}")
        return found

    def repair(self) -> None:
        """Set those that are not as they should be. OSError names the one that cannot be set."""
        for setting in self._wanted():
            try:
                if not setting.right():
                    setting.path.write_text(setting.value + "\n")
            except OSError as error:
                text = f"sysctl {setting.name} cannot be set: {error.strerror}"
                raise OSError(error.errno, text) from error
