"""Load on a server, by thousands of secured connections that are driven from C.

    python examples/load_generator.py --host 10.0.0.2 --port 27017 --connections 2000 --seconds 10

The server is to give back what it gets, as examples/asyncio_echo.py does, or wsasec.Listener(mode="echo").
"""

from __future__ import annotations

import argparse
import socket
import sys

import wsasec


def main() -> int:
    """Do it; see above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--host", default="127.0.0.1", help="the server's address (%(default)s)")
    parser.add_argument("--port", type=int, default=27017, help="%(default)s")
    parser.add_argument("--connections", type=int, default=1000, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="%(default)s")
    parser.add_argument("--bytes", type=int, default=64, help="of a request, and of its answer (%(default)s)")
    options = parser.parse_args()
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        with wsasec.SocketBatch(options.connections, family=family, nodelay=True) as batch:
            connected = batch.connect((options.host, options.port), timeout=30.0)
            print(f"{connected.connected} connections, {connected.rate:,.0f} a second")
            result = wsasec.traffic.requests(batch, seconds=options.seconds, request_bytes=options.bytes)
            print(f"{result.requests_per_second:,.0f} requests a second; latency {result.latency}")
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
