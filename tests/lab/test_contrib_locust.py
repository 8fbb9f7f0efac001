"""Locust's users on the wire, and Locust's distributed mode: the example, as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from http_host import web_server

pytestmark = pytest.mark.lab

EXAMPLE = Path(__file__).parents[2] / "examples" / "locust"
SECONDS = 75
DISTRIBUTED_SECONDS = 150

_USERS = """
import sys
from gevent import spawn, sleep
from locust import task
from locust.env import Environment
from wsasec.contrib.locust import SecuredFastHttpUser, SecuredHttpUser

class Visitor({kind}):
    connection_timeout = float(sys.argv[3])

url, requests = sys.argv[1], int(sys.argv[2])
Visitor.host = url
environment = Environment(user_classes=[Visitor])
ticks = 0

def tick():
    global ticks
    while True:
        sleep(0.01)
        ticks += 1

results = []
environment.events.request.add_listener(lambda exception, **_: results.append(exception))
spawn(tick)
user = Visitor(environment)
options = {{"timeout": Visitor.connection_timeout}} if "{kind}" == "SecuredHttpUser" else {{}}
for _ in range(requests):
    user.client.get("/", **options)
errors = [error for error in results if error is not None]
print(len(results), len(errors), ticks)
for error in errors:
    print(error)
"""

KINDS = pytest.mark.parametrize("kind", ["SecuredHttpUser", "SecuredFastHttpUser"])


def visit(wire, kind, url, requests=3, seconds=20.0):
    """Let a user make some requests; return how many were made, failed, the hub's ticks, and the errors."""
    done = wire.a.run(
        [sys.executable, "-c", _USERS.format(kind=kind), url, str(requests), str(seconds)], timeout=SECONDS
    )
    numbers, *errors = done.stdout.splitlines()
    return *map(int, numbers.split()), errors


@KINDS
def test_users(make_wire, kind):
    with make_wire() as wire, web_server(wire) as (server, url):
        made, failed, _, errors = visit(wire, kind, url)
        assert (made, failed, errors) == (3, 0, [])
        assert server.served == 1


@KINDS
def test_no_association_no_request(make_wire, kind):
    """The request fails and says why; other greenlets run while it waits."""
    with make_wire(keys=False, esp=False) as wire, web_server(wire) as (server, url):
        made, failed, ticks, errors = visit(wire, kind, url, requests=1, seconds=1.0)
        assert (made, failed, server.served) == (1, 1, 0)
        assert "no security association" in errors[0]
        assert ticks > 10


@KINDS
def test_not_secured_no_request(make_wire, kind):
    """Without CAP_NET_ADMIN."""
    with make_wire(esp=False) as wire, web_server(wire) as (server, url):
        program = _USERS.format(kind=kind)
        done = wire.a.run(
            [
                *("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"),
                *(sys.executable, "-c", program, url, "1", "20"),
            ],
            timeout=SECONDS,
        )
        numbers, error, *_ = done.stdout.splitlines()
        assert numbers.split()[:2] == ["1", "1"]
        assert "CAP_NET_ADMIN" in error
        assert server.served == 0


@pytest.mark.parametrize("test_seconds", [DISTRIBUTED_SECONDS + 30])
def test_distributed(make_wire):
    """A master and two workers: both do their share, all of it protected."""
    with make_wire() as wire:
        environment = os.environ | {
            "WSASEC_LAB_B_V4": wire.host(wire.b),
            "WSASEC_LAB_B_NETNS": wire.b.path,
        }
        process = wire.a.popen(
            [sys.executable, str(EXAMPLE / "run.py"), "40", "20"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            output = process.communicate(timeout=DISTRIBUTED_SECONDS)[0]
        assert process.returncode == 0, output
        workers = re.findall(r"^worker (\S+): (\d+) requests, (\d+) failures$", output, re.MULTILINE)
        assert len({name for name, _, _ in workers}) == 2, output
        assert all(int(requests) >= 20 and int(failures) == 0 for _, requests, failures in workers), output
        for name in ("/visitor", "/fast-visitor"):
            assert re.search(rf"^GET +{name} ", output, re.MULTILINE), output
