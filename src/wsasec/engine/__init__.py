"""The ESP engine and its secure devices, seen from Python: what opens, configures and watches them.

A profile that is carried by a device has a TUN device ``ws<reqid>`` in a network namespace. Sockets bound to
it are secured: what they send goes into the engine, a program without privileges, which encrypts it and sends
it through sockets that this package opens. Binding alone leaves gaps; a set of rules, routes and settings
closes them, and a thread watches over it (`Keeper`). All of it is in the network namespace of the calling
thread.

    missing() -> list[str]                  # why there can be no secure device here; [] if there can

    device = Device.create(profile, threads=2, mtu=inner_mtu(1500))
    keeper = Keeper(device); keeper.start() # the whole set, then the voucher in the device's alias
    keeper.wait(10.0)                       # until it vouches; raises NotSecureError with the reasons
    transports = [udp(AF_INET, count=2), udp(AF_INET6, count=2)]      # or raw(AF_INET)
    engine = Engine.start([device], transports, control=path)
    engine.control.add_sa(Association(...))
    engine.stop(); keeper.remove(); device.remove()

    remove(profile)                         # what a process that was killed left, and what holds its sockets
"""

import sys

if sys.platform == "win32":
    raise ImportError("wsasec.engine is for Linux: it is made of TUN devices and nftables")

from .alias import Voucher
from .control import Control
from .device import Device, device_name, inner_mtu
from .keeper import Keeper, NotSecureError, remove
from .messages import (
    Acquire,
    Address,
    Algorithm,
    Association,
    AssociationName,
    AssociationState,
    Direction,
    EngineError,
    Event,
    Expire,
    Hello,
    Limits,
    Lost,
    Mapping,
    MessageError,
    Secret,
    Totals,
    TransportKind,
    Type,
)
from .missing import missing
from .process import Ended, Engine, EngineStartError
from .transports import PORT, Transport, raw, udp, unbound

__all__ = [
    "PORT",
    "Acquire",
    "Address",
    "Algorithm",
    "Association",
    "AssociationName",
    "AssociationState",
    "Control",
    "Device",
    "Direction",
    "Ended",
    "Engine",
    "EngineError",
    "EngineStartError",
    "Event",
    "Expire",
    "Hello",
    "Keeper",
    "Limits",
    "Lost",
    "Mapping",
    "MessageError",
    "NotSecureError",
    "Secret",
    "Totals",
    "Transport",
    "TransportKind",
    "Type",
    "Voucher",
    "device_name",
    "inner_mtu",
    "missing",
    "raw",
    "remove",
    "udp",
    "unbound",
]
