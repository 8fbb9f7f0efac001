"""One profile; where profiles come from is in `wsasec.profiles`."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["CONGESTION_CONTROL", "Profile"]

_U32: Final = 0xFFFFFFFF
ESP: Final = 50
AH: Final = 51
Carrier: TypeAlias = Literal["policy", "device", "auto"]
# In the order of C's enum wsasec_carrier.
CARRIERS: Final[tuple[Carrier, ...]] = ("policy", "device", "auto")
CONGESTION_CONTROL: Final = r"[A-Za-z0-9_-]{1,15}"
"""The name of one: TCP_CA_NAME_MAX of include/net/tcp.h is 16, with the zero at its end."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile.

    Attributes:
        name: 1 to 63 letters, digits, dots, dashes and underscores.
        guid: the provider context key that selects it (``AuthipQMPolicyKey``).
        reqid: ties socket policies to SAs; 1 to 2**32-1. Only SAs of this profile may carry it: the kernel
            selects SAs by reqid alone, so the reqid is the guarantee of the algorithm.
        mark: firewall mark of the guard, within ``mask``, not zero.
        mask: the bits of the mark that belong to wsasec.
        encrypting: False if SAs of this profile may be integrity-only.
        protocol: of its SAs, a number of IP: 50 for ESP, 51 for AH, which does not encrypt.
        carrier: on Linux, what carries the packets of its sockets: "policy", the kernel's own IPsec;
            "device", the secure device ``ws<reqid>`` of wsasec's engine, which always encrypts; or "auto",
            the kernel's own where it has ESP, else the device.
        congestion_control: of TCP connections on a device, by the kernel's name for it; "" for the one that
            net.ipv4.tcp_congestion_control names.

    """

    name: str
    guid: uuid.UUID
    reqid: int
    mark: int
    mask: int
    encrypting: bool = True
    protocol: int = ESP
    carrier: Carrier = "policy"
    congestion_control: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is not 1 to 63 letters, digits, dots, dashes, underscores")
        if self.guid.int == 0:
            raise ValueError("guid: the zero GUID means 'no policy' and cannot name a profile")
        for key in ("reqid", "mark", "mask"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _U32:
                raise ValueError(f"{key}: {value!r} is not a number from 1 to {_U32:#x}")
        if self.mark & ~self.mask:
            raise ValueError(f"mark: {self.mark:#x} has bits outside mask {self.mask:#x}")
        if self.protocol not in (ESP, AH):
            raise ValueError(f"protocol: {self.protocol!r} is neither {ESP} (ESP) nor {AH} (AH)")
        if self.protocol == AH and self.encrypting:
            raise ValueError("protocol: AH does not encrypt")
        if self.carrier not in CARRIERS:
            raise ValueError(f"carrier: {self.carrier!r} is none of {', '.join(map(repr, CARRIERS))}")
        if self.carrier != "policy" and not self.encrypting:
            raise ValueError("carrier: a device always encrypts, by ESP; this profile may be integrity-only")
        self._check_congestion_control()

    def _check_congestion_control(self) -> None:
        name = self.congestion_control
        if name and self.carrier == "policy":
            raise ValueError("congestion_control: it is for carriers 'device' and 'auto'")
        if name and not re.fullmatch(CONGESTION_CONTROL, name):
            raise ValueError(
                f"congestion_control: {name!r} is not 1 to 15 letters, digits, dashes, underscores"
            )

    @property
    def device(self) -> str:
        """Name of its secure device."""
        return f"ws{self.reqid}"
