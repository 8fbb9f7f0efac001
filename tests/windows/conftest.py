"""Tests on Windows, or what is like it: with the double of fwpuclnt.dll or, where marked so, another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# The helpers beside this file; tests are no package, and pytest (importmode=importlib) adds no path.
sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from double import Double

HERE = Path(__file__).parent

if sys.platform != "win32":
    collect_ignore_glob = ["test_*.py"]
    MISSING = "not on Windows"
else:
    import double as helper

    MISSING = "" if helper.load() else "the fwpuclnt.dll that is loaded is not the double"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.windows)
        if MISSING and not any(map(item.get_closest_marker, ("stub", "real"))):
            item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture(scope="session")
def loaded_double() -> Double:
    if MISSING:
        pytest.skip(MISSING)
    return helper.Double()


@pytest.fixture
def double(loaded_double: Double) -> Iterator[Double]:
    """The double, which knows nothing of earlier tests."""
    loaded_double.reset()
    yield loaded_double
    loaded_double.reset()
