"""A charon of the system, which has nothing to do with wsasec: root's, with a configuration of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsasec.keys.messages import Section
from wsasec.keys.reason import CharonError
from wsasec.keys.session import Session, connect
from wsasec.lab import Namespace

PLUGINS = (
    "random nonce x509 revocation constraints pubkey pem openssl pkcs1 pkcs8 kdf hmac kernel-netlink "
    "socket-default vici"
)
CONF = """\
charon {{
  load = {plugins}
  {more}
  plugins {{
    vici {{
      socket = unix://{vici}
    }}
  }}
  filelog {{
    all {{
      path = {log}
      flush_line = yes
    }}
  }}
}}
"""


@dataclass
class SystemCharon:
    """It, and what it has.

    Attributes:
        vici: path of its socket.
        log: path of its log.
        process: its own.
    """

    vici: Path
    log: Path
    process: subprocess.Popen[bytes] | None

    @contextmanager
    def session(self) -> Iterator[Session]:
        session = connect(self.vici, time.monotonic() + 10)
        try:
            yield session
        finally:
            session.close()

    def ask(self, command: str, message: dict[str, Any] | None = None) -> Section:
        with self.session() as session:
            return session.request(command, message, time.monotonic() + 10)

    def listed(self, command: str, event: str, message: dict[str, Any] | None = None) -> list[Section]:
        found: list[Section] = []
        with self.session() as session:
            session.stream(command, message, event, found.append, time.monotonic() + 10)
        return found

    def names(self) -> dict[str, list[bytes]]:
        """Return all that can be listed of what was loaded."""
        lists = {
            "get-conns": "conns",
            "get-keys": "keys",
            "get-shared": "keys",
            "get-authorities": "authorities",
        }
        return {command: sorted(self.ask(command)[key]) for command, key in lists.items()}


@contextmanager
def system_charon(
    namespace: Namespace, folder: Path, *, plugins: str = PLUGINS, more: str = ""
) -> Iterator[SystemCharon]:
    """Run one in a namespace; its files get into a folder. There can be one in the system."""
    conf, vici, log = (folder / f"system.{name}" for name in ("conf", "vici", "log"))
    conf.write_text(CONF.format(plugins=plugins, more=more, vici=vici, log=log))
    process = namespace.popen(
        ["/usr/lib/ipsec/charon"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "STRONGSWAN_CONF": str(conf)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                connect(vici, deadline).close()
                break
            except CharonError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "charon does not listen"
                time.sleep(0.02)
        yield SystemCharon(vici, log, process)
    finally:
        process.terminate()
        process.wait()
        vici.unlink(missing_ok=True)
