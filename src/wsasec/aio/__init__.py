"""Secured connections for asyncio, in the shape of asyncio's own; uvloop's loops, too.

reader, writer = await wsasec.aio.open_connection("10.0.0.2", 443)
"""

from .connecting import connect
from .connections import create_connection, open_connection

__all__ = [
    "connect",
    "create_connection",
    "open_connection",
]
