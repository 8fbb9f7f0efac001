"""Fixtures for secure devices: two hosts on a wire, the first with a device that no engine serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_host import Host

from wsasec.engine import Device, Keeper, missing
from wsasec.lab import Lab, Namespace
from wsasec.profiles import DEFAULT


@pytest.fixture(autouse=True)
def possible(realm: Namespace) -> None:
    if lack := missing():
        pytest.skip("; ".join(lack))


@pytest.fixture
def lab(possible: None) -> Iterator[Lab]:
    """Two hosts on a wire; the thread works in the namespace of the first."""
    with Lab(keys=False) as lab, lab.a.entered():
        yield lab


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    device = Device.create(DEFAULT, bulk=False)
    try:
        with Keeper(device) as keeper:
            yield Host(lab, device, keeper)
    finally:
        device.remove()
