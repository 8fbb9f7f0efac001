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

# With associations of their own kind, or with none: they would be the same tests once more.
del test_either_side_closes_first, test_forged_segment, test_handshake, test_lost_handshake  # noqa: F821
del test_narrow_path_behind_a_router, test_peer_sends_after_close  # noqa: F821
del test_peer_sends_to_destroyed_socket, test_port_unreachable  # noqa: F821
del test_reflection_back_it_does_its_work, test_reset_by_linger, test_reset_for_unread_data  # noqa: F821
del test_reset_from_closed_port, test_reset_of_listener_that_never_accepted  # noqa: F821


@pytest.fixture
def make_wire(
    no_namespaces: None, deadline: None, family: Any, papers: Any, tmp_path: Any
) -> Callable[..., AbstractContextManager[Wire]]:
    """As everywhere, but charon makes the associations."""

    @contextmanager
    def make(**options: Any) -> Iterator[Wire]:
        assert not options.keys() & {"integrity_only", "keys", "profile", "prepare"}, (
            "it is the same test as elsewhere"
        )
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

            with open_wire(family, ike=True, keys=False, prepare=negotiate, **options) as wire:
                yield wire

    return make
