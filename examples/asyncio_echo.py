"""An asyncio server whose connections are protected by IPsec, and a client of it, in one file.

    python examples/asyncio_echo.py serve --host 10.0.0.2
    python examples/asyncio_echo.py ask --host 10.0.0.2 hello

The same as with asyncio's own functions, but for the module's name.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import wsasec

PIECE = 65_536


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give back what comes."""
    try:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def serve(host: str, port: int) -> None:
    """Serve until the program is ended."""
    server = await wsasec.aio.start_server(answer, host, port)
    print(f"listening on port {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


async def ask(host: str, port: int, words: list[str]) -> None:
    """Send each word as a line, and show what comes back."""
    reader, writer = await wsasec.aio.open_connection(host, port)
    for word in words:
        writer.write(word.encode() + b"\n")
        print((await reader.readline()).decode().rstrip("\n"))
    writer.close()
    await writer.wait_closed()


def main() -> int:
    """Do it; see above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("what", choices=("serve", "ask"))
    parser.add_argument("--host", default="127.0.0.1", help="address (%(default)s)")
    parser.add_argument("--port", type=int, default=27017, help="%(default)s")
    parser.add_argument("words", nargs="*", help="for the server")
    options = parser.parse_args()
    try:
        if options.what == "serve":
            asyncio.run(serve(options.host, options.port))
        else:
            asyncio.run(ask(options.host, options.port, options.words))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
