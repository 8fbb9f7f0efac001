"""A web server at host b, secured, in threads of the test's own process."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wire import TIMEOUT, Wire

BODY = b"protected all the way\n" * 500


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that the end of the server waits for them
    served = 0

    def process_request(self, request: Any, address: Any) -> None:
        self.served += 1
        super().process_request(request, address)


def url_of(wire: Wire, port: int) -> str:
    host = wire.host(wire.b)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def web_server(wire: Wire) -> Iterator[tuple[_Server, str]]:
    """Serve BODY at every path; gives the server, which counts connections, and its URL."""
    server = _Server(("", 0), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = wire.listener(wire.b)
    server.socket.settimeout(None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server, url_of(wire, server.socket.getsockname()[1])
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()
