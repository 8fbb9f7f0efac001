"""From all samples of a run to figures and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .device_summary import summarize_device
from .key_summary import summarize_keys
from .memory import summarize_memory
from .setup_summary import summarize_setup
from .targets import evaluate
from .wire_summary import summarize_connect, summarize_loopback, summarize_traffic

__all__ = ["summarized"]

Found = dict[str, Any]


def _setup(data: Mapping[str, Any]) -> Found:
    found: Found = {}
    if "cells" in data:
        found["summary"] = summarize_setup(data)
    if "memory_samples" in data:
        found["memory"] = summarize_memory(data["memory_samples"])
    return found


_PARTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]] = {
    "setup": _setup,
    "loopback": lambda data: {"summary": summarize_loopback(data)},
    "connect": lambda data: {"summary": summarize_connect(data)},
    "traffic": summarize_traffic,
    "keys": lambda data: {"summary": summarize_keys(data)},
    "device": summarize_device,
}


def summarized(results: Mapping[str, Any]) -> Found:
    """Return results with the figures that their samples come to, and the targets."""
    parts = {
        part: {**results[part], **make(results[part])} for part, make in _PARTS.items() if part in results
    }
    found = {**results, **parts}
    return {**found, "targets": evaluate(found)}
