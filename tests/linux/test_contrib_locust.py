"""Locust's users where there is no SA, in processes of their own: Locust changes all of a process."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

SECONDS = 60

_BEFORE = """
import sys, warnings
import wsasec
warnings.simplefilter("ignore", wsasec.SecurityWarning)
from locust.env import Environment
from wsasec.contrib.geventhttpclient import SecuredHTTPClientPool
from wsasec.contrib.locust import SecuredFastHttpUser, SecuredHttpUser
from wsasec.contrib.urllib3 import SecuredPoolManager

port = sys.argv[1]
environment = Environment()
errors = []
environment.events.request.add_listener(lambda exception, **_: errors.append(str(exception)))

class Visitor(SecuredHttpUser):
    host = f"http://127.0.0.1:{port}"

class FastVisitor(SecuredFastHttpUser):
    host = f"http://127.0.0.1:{port}"
    connection_timeout = 0.2
"""


def run(program: str) -> list[str]:
    """Run a program beside a plain listener, to which it must not connect; return the lines it printed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", _BEFORE + program, port],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        return done.stdout.splitlines()


def test_a_request_without_association_fails() -> None:
    (visitor, fast) = run("""
Visitor(environment).client.get("/", timeout=0.2)
FastVisitor(environment).client.get("/")
print(*errors, sep="\\n")
""")
    assert "no security association with 127.0.0.1" in visitor
    assert "no security association with 127.0.0.1" in fast


def test_no_way_round() -> None:
    """Not by TLS, a redirection to another host (which is the same adapter), nor a proxy."""
    lines = run("""
user, fast = Visitor(environment), FastVisitor(environment)
user.client.get(f"https://127.0.0.1:{port}/", timeout=0.2)
fast.client.get(f"https://127.0.0.1:{port}/")
user.client.get("/", timeout=0.2, proxies={"http": f"http://127.0.0.1:{port}"})
user.client.get("/", timeout=0.2, proxies={"http": f"socks5://127.0.0.1:{port}"})
print(*errors, sep="\\n")
print(sorted(user.client.adapters))
""")
    assert len(lines) == 5
    assert all("no security association" in line for line in lines[:2])
    assert all("a secured connection ends at the proxy" in line for line in lines[2:4])
    assert lines[4] == "['http://', 'https://']"


def test_shared_pools() -> None:
    """They may be shared if they are secured, and otherwise there is no user."""
    assert run("""
from geventhttpclient.client import HTTPClientPool
from urllib3 import PoolManager

def tried(kind):
    try:
        kind(environment)
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error)
    else:
        print("made")

for manager in (PoolManager(), SecuredPoolManager()):
    Visitor.pool_manager = manager
    tried(Visitor)
for pool in (HTTPClientPool(), SecuredHTTPClientPool()):
    FastVisitor.client_pool = pool
    tried(FastVisitor)
FastVisitor.client_pool = None
FastVisitor.proxy_host, FastVisitor.proxy_port = "127.0.0.1", int(port)
tried(FastVisitor)
""") == [
        "TypeError pool_manager is a PoolManager, not a SecuredPoolManager",
        "made",
        "TypeError client_pool is a HTTPClientPool, not a SecuredHTTPClientPool",
        "made",
        "ValueError proxy_host: a secured connection ends at the proxy, what follows is in clear",
    ]


def test_settings_of_shared_pools() -> None:
    """Those of the pool are in force: others would be ignored."""
    lines = run("""
from wsasec import SecurityFlags, Settings

def strict():
    return Settings(SecurityFlags.GUARANTEE_ENCRYPTION)

Visitor.pool_manager = SecuredPoolManager(settings=strict())
FastVisitor.client_pool = SecuredHTTPClientPool(settings=strict())
for settings in None, strict(), Settings():
    for kind in Visitor, FastVisitor:
        kind.settings = settings
        try:
            kind(environment)
        except ValueError as error:
            print(error)
        else:
            print("made")
""")
    assert lines[:4] == ["made"] * 4
    assert lines[4:] == [
        f"the settings of the user are not those of {pool}, which would be in force"
        for pool in ("pool_manager", "client_pool")
    ]


def test_a_pool_of_another_kind() -> None:
    """A later geventhttpclient may make its connections otherwise: then none."""
    assert run("""
from geventhttpclient import client
from geventhttpclient.connectionpool import ConnectionPool

class Other(ConnectionPool):
    pass

client.ConnectionPool = Other
try:
    FastVisitor(environment).client.get("/")
except TypeError as error:
    print(error)
""") == ["connections of Other cannot be secured"]


def test_settings() -> None:
    """A profile that there is not: it is the settings that say so."""
    lines = run("""
import uuid
from wsasec import IpsecSettings
Visitor.settings = FastVisitor.settings = IpsecSettings(qm_policy=uuid.UUID(int=77))
Visitor(environment).client.get("/", timeout=0.2)
FastVisitor(environment).client.get("/")
print(*errors, sep="\\n")
""")
    assert len(lines) == 2
    assert all("settings" in line for line in lines)
