"""Policies of sessions as JSON: as `wsasec.policy` describes them, but for the GUID, which is text."""

from __future__ import annotations

import uuid
from typing import Any

__all__ = ["read", "tuples", "written"]


def tuples(value: Any) -> Any:
    """Make tuples of JSON's lists."""
    return tuple(tuples(each) for each in value) if isinstance(value, list) else value


def written(policy: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a policy as JSON can hold it."""
    key, *rest = policy
    return uuid.UUID(bytes_le=key).hex, *rest


def read(said: Any) -> tuple[Any, ...]:
    """Return the policy of what was written. ValueError, TypeError: it is none."""
    key, *rest = said
    return uuid.UUID(key).bytes_le, *tuples(rest)
