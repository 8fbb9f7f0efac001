"""Secured connections for asyncio; uvloop's loops, too."""

from .connecting import connect

__all__ = ["connect"]
