"""What passes the wire over negotiated associations: the tests of the wire once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any

import pytest
from ike_hosts import certified, host, key_profile, soon
from test_wire_attack import *  # noqa: F403 - collected here, too, with the fixture below
from test_wire_close import *  # noqa: F403
from test_wire_guard import *  # noqa: F403
from test_wire_mtu import *  # noqa: F403
from test_wire_tcp import *  # noqa: F403
from test_wire_udp import *  # noqa: F403
from wire import Wire, open_wire

from wsasec.config.model import Trust
from wsasec.keys.reason import Reason
from wsasec.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture
def make_wire(
    no_namespaces: None, deadline: None, family: Any, papers: Any, tmp_path: Any
) -> Callable[..., AbstractContextManager[Wire]]:
    """As everywhere, but charon makes the associations, where a test needs any and does not read them."""

    @contextmanager
    def make(**options: Any) -> Iterator[Wire]:
        if options.keys() & {"integrity_only", "keys", "profile"}:
            with open_wire(family, **options) as wire:
                yield wire
            return
        others = options.pop("prepare", None)
        with ExitStack() as stack:

            def negotiate(lab: Lab) -> None:
                trust = Trust(ca=(papers.ca.certificate,))
                a = key_profile(certified("a.example", papers.a), trust)
                b = key_profile(certified("b.example", papers.b), trust)
                on_a = stack.enter_context(host(lab.a, tmp_path, a))
                stack.enter_context(host(lab.b, tmp_path, b))
                for address in (lab.b.v4, lab.b.v6):
                    outcome = on_a.initiate("default", ip_address(address), soon(30))
                    assert outcome.reason is Reason.NONE, outcome.detail
                if others is not None:
                    others(lab)

            with open_wire(family, ike=True, keys=False, prepare=negotiate, **options) as wire:
                yield wire

    return make
