"""A host with a secure device that no engine serves."""

from __future__ import annotations

from dataclasses import dataclass

from wsasec.engine import Device, Keeper
from wsasec.lab import Lab


@dataclass
class Host:
    """The first host of the lab. The thread of the test works in its namespace."""

    lab: Lab
    device: Device
    keeper: Keeper

    @property
    def queue(self) -> int:
        return self.device.queues[0]
