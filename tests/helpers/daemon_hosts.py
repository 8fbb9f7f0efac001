"""Hosts with a key daemon, as `wsasec up` starts it, in the lab's namespaces."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from certificates import Authority

from wsasec.daemon.client import Client, NotUpError
from wsasec.lab import Lab, Namespace

CONFIG = """\
[identity]
certificate = "{name}.crt"
key = "{name}.key"

[trust]
ca = ["ca.crt"]
"""


class Host:
    """A network namespace with a configuration."""

    def __init__(self, namespace: Namespace, folder: Path, name: str) -> None:
        self.namespace = namespace
        self.name = name
        self.config = folder / f"{name}.toml"
        self.config.write_text(CONFIG.format(name=name))
        self.config.chmod(0o600)

    def wsasec(self, *words: str, code: int = 0) -> str:
        done = self.namespace.run([sys.executable, "-m", "wsasec", *words], check=False, timeout=60)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def configure(self, more: str) -> None:
        """Add lines to the configuration."""
        self.config.write_text(self.config.read_text() + more)

    def up(self, code: int = 0) -> str:
        return self.wsasec("up", "--config", str(self.config), code=code)

    def down(self) -> None:
        """As the verb, without a process for it; that it is not up does not matter."""
        with suppress(NotUpError), self.namespace.entered(), Client() as client:
            client.stop()

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.wsasec("status", "--json"))
        return status


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that other users can go through, as they cannot through pytest's own."""
    with TemporaryDirectory(prefix="wsasec-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextmanager
def two_hosts(folder: Path, lab: Lab | None = None) -> Iterator[tuple[Lab, Host, Host]]:
    """Make a.example and b.example, which trust each other; what is up in the end is taken down.

    They trust m.example, too, of whom there is only a certificate. The environment's WSASEC_RUN names a
    folder that is theirs alone. Other users, of whom charon is one, go through the folder.

    Args:
        folder: for their files.
        lab: one without keys that nobody has entered; None for one of its own.
    """
    authority = Authority(folder, "ca")
    for name in ("a.example", "b.example", "m.example"):
        authority.issue(name)
    with lab or Lab(keys=False) as lab:
        a, b = Host(lab.a, folder, "a.example"), Host(lab.b, folder, "b.example")
        try:
            yield lab, a, b
        finally:
            for host in (a, b):
                host.down()
