"""An engine and a peer that wishes it no good; the engine is built with sanitizers."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

# The helpers beside this file; tests are no package, and pytest (importmode=importlib) adds no path.
sys.path.insert(0, str(Path(__file__).parent))

from peer import Peer


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> int:
    """Both address families."""
    return int(request.param)


@pytest.fixture
def make_peer(make_rig: Any, sanitized: Callable[[str], Path], family: int) -> Iterator[Callable[..., Peer]]:
    """Return what makes an engine and its peer; see `peer.Peer`."""
    with ExitStack() as stack:

        def make(**options: Any) -> Peer:
            rig = make_rig(sanitized("address"), alone=True)
            return stack.enter_context(Peer(rig, family, **options))

        yield make


@pytest.fixture
def peer(make_peer: Callable[..., Peer]) -> Peer:
    """A peer with AES-256-GCM and extended sequence numbers."""
    return make_peer()
