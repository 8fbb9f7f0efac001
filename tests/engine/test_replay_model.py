"""The window against replay, compared with what RFC 4303 says of it: a set of numbers, and their highest."""

from __future__ import annotations

import ctypes

import engine_library
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

pytestmark = pytest.mark.long

HALF = 1 << 32
LAST = (1 << 64) - 1

sizes = st.one_of(st.sampled_from([64, 65, 95, 96, 97, 128, 1024, 65535, 65536]), st.integers(64, 65536))
# Near an edge of the window, of a word, of the ring, of a half-space; or anywhere that a lower half leads to.
steps = st.one_of(
    st.integers(-70, 70),
    st.builds(
        lambda edge, off: edge + off,
        st.sampled_from(
            [-65536, -4096, -2048, -1024, -128, 128, 1024, 2048, 4096, 65536, 131072, HALF - 200]
        ),
        st.integers(-70, 70),
    ),
    st.integers(-HALF, HALF - 1),
)


class Replay(RuleBasedStateMachine):
    """A window, and what it should be."""

    library: ctypes.CDLL

    @initialize(
        size=sizes, start=st.sampled_from([0, 0, HALF - 200, HALF - 1, HALF, 5 * HALF, LAST - 300, LAST])
    )
    def begin(self, size: int, start: int) -> None:
        self.size = size
        self.window = engine_library.Window(self.library, size)
        self.seen: set[int] = set()
        self.top = 0
        if start:
            assert self.window.update(start)
            self.note(start)

    def note(self, sequence: int) -> None:
        self.seen.add(sequence)
        self.top = max(self.top, sequence)

    def is_new(self, sequence: int) -> bool:
        """Section 3.4.3: not zero, not left of the window, not seen."""
        return sequence > 0 and sequence > self.top - self.size and sequence not in self.seen

    def from_top(self, step: int) -> int:
        return min(max(self.top + step, 0), LAST)

    @rule(step=steps)
    def checks(self, step: int) -> None:
        sequence = self.from_top(step)
        assert self.window.check(sequence) == self.is_new(sequence)

    @rule(step=steps)
    def notes(self, step: int) -> None:
        sequence = self.from_top(step)
        new = self.is_new(sequence)
        assert self.window.update(sequence) == new
        assert not self.window.check(sequence)
        if new:
            self.note(sequence)

    @rule(first=steps, length=st.integers(1, 300), stride=st.integers(1, 3))
    def notes_many(self, first: int, length: int, stride: int) -> None:
        start = self.from_top(first)
        for sequence in range(start, min(start + length * stride, LAST + 1), stride):
            new = self.is_new(sequence)
            assert self.window.update(sequence) == new
            if new:
                self.note(sequence)

    @rule(data=st.data())
    def repeats(self, data: st.DataObject) -> None:
        if self.seen:
            sequence = data.draw(st.sampled_from(sorted(self.seen)))
            assert not self.window.check(sequence)
            assert not self.window.update(sequence)

    @rule(step=steps)
    def infers(self, step: int) -> None:
        """Appendix A2.1: there is one number with that lower half among the 2**32 from the left edge on."""
        left = max(self.top - self.size + 1, 0)
        low = self.from_top(step) % HALF
        sequence = left + (low - left) % HALF
        # Right of the last number there is none: what is inferred must be refused.
        if sequence <= LAST:
            assert self.window.infer(low) == sequence
        else:
            assert not self.window.check(self.window.infer(low))

    @invariant()
    def has_its_top(self) -> None:
        if hasattr(self, "window"):
            assert self.window.top == self.top
            assert not self.window.check(0)
            assert not self.window.update(0)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return engine_library.load(tmp_path_factory.mktemp("engine"))


def test_as_the_model(library: ctypes.CDLL) -> None:
    class Machine(Replay):
        pass

    Machine.library = library
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


@pytest.mark.parametrize("size", [0, 63, 65537, 2**32 - 1])
def test_no_such_window(library: ctypes.CDLL, size: int) -> None:
    assert library.wse_replay_size(size) == 0
    assert library.wse_replay_init(engine_library.Aligned(64).at, size) == -22
