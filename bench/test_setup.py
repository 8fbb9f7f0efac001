"""Setting sockets up, asking about them, closing them: every method, number, family and type."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from wsasec.bench.calls import FAMILIES, TYPES, open_watch, prepare
from wsasec.bench.clock import pinned, quiet
from wsasec.bench.descriptor_limit import raise_descriptor_limit, room_for
from wsasec.bench.methods import METHODS, Method, missing
from wsasec.bench.stages import Work

_KINDS = [(family, kind) for family in FAMILIES for kind in TYPES]
_CASES = [(kind, method) for kind in _KINDS for method in METHODS if method.main or kind == _KINDS[0]]


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize(
    ("kind", "method"), _CASES, ids=[f"{'-'.join(kind)}-{method.key}" for kind, method in _CASES]
)
def test_setup(kind: tuple[str, str], method: Method, sockets: int, rounds: int, benchmark: Any) -> None:
    """One round is one call over all sockets; making and closing what it starts from is not timed."""
    if reason := missing(method):
        pytest.skip(reason)
    if room_for(sockets, raise_descriptor_limit()) < sockets:
        pytest.skip(f"the descriptor limit has no room for {sockets:,} sockets; raise it with `ulimit -Hn`")
    calls = prepare(*kind)
    benchmark.group = f"{method.group}, {sockets:,} sockets, {'-'.join(kind)}"
    benchmark.extra_info["sockets"] = sockets
    with open_watch() as watch, ExitStack() as left, quiet(), pinned(single=not method.parallel):
        runner = method.make(calls, watch.fileno())

        def begin() -> tuple[tuple[Work], dict[str, Any]]:
            left.close()
            return (left.enter_context(method.stage(calls, sockets)),), {}

        benchmark.pedantic(runner, setup=begin, rounds=rounds, warmup_rounds=1, iterations=1)
