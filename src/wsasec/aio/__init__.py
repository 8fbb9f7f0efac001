"""Secured connections and servers for asyncio, in the shape of asyncio's own; uvloop's loops, too.

reader, writer = await wsasec.aio.open_connection("10.0.0.2", 443)
server = await wsasec.aio.start_server(handle, "10.0.0.2", 443)
"""

from .connecting import connect
from .connections import create_connection, open_connection
from .securing import secure
from .server import Server, create_server, start_server

__all__ = [
    "Server",
    "connect",
    "create_connection",
    "create_server",
    "open_connection",
    "secure",
    "start_server",
]
