"""HTTP libraries that take socket options or make their sockets by a function: protected on the wire."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest
import requests
import urllib3
import uvloop
from http_host import BODY, web_server
from urllib3.connection import HTTPConnection
from wire import TIMEOUT, Wire

import wsasec
from wsasec.contrib.urllib3 import SecuredPoolManager

pytestmark = pytest.mark.lab

# The first of its loops makes a pipe that stays for the life of the process.
uvloop.new_event_loop().close()


def options(wire: Wire) -> list[Any]:
    with wire.a.entered():
        return HTTPConnection.default_socket_options + wsasec.socket_options(family=wire.family)


def test_urllib3(make_wire):
    with make_wire() as wire, web_server(wire) as (server, url):
        with urllib3.PoolManager(socket_options=options(wire), retries=False, timeout=TIMEOUT) as pools:
            for _ in range(3):
                with wire.a.entered():
                    assert pools.request("GET", f"{url}/").data == BODY
        assert server.served == 1


def test_requests(make_wire):
    with make_wire() as wire, web_server(wire) as (server, url):

        class Secured(requests.adapters.HTTPAdapter):
            def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
                super().init_poolmanager(*arguments, **more, socket_options=options(wire))

        with requests.Session() as session:
            session.trust_env = False  # no proxy between
            session.mount("http://", Secured())
            with wire.a.entered():
                assert session.get(f"{url}/", timeout=TIMEOUT).content == BODY
        assert server.served == 1


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_aiohttp(make_wire, runner):
    def make(info: Any) -> socket.socket:
        family, kind, proto, *_ = info
        sock = socket.socket(family, kind, proto)
        wsasec.secure(sock)
        return sock

    async def main(wire: Wire, url: str) -> None:
        connector = aiohttp.TCPConnector(socket_factory=make)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            with wire.a.entered():
                async with session.get(f"{url}/") as answer:
                    assert await answer.read() == BODY

    with make_wire() as wire, web_server(wire) as (server, url):
        runner(main(wire, url))
        assert server.served == 1


def test_secured_pool_manager_waits_for_the_association(make_wire):
    """Which plain socket options cannot: there connect() fails at once."""
    with make_wire(keys=False) as wire, web_server(wire) as (server, url):
        with (
            SecuredPoolManager(retries=False, timeout=0.2) as pools,
            wire.a.entered(),
            pytest.raises(urllib3.exceptions.NewConnectionError, match="no security association"),
        ):
            pools.request("GET", f"{url}/")
        assert server.served == 0
        wire.lab.add_sas()
        with SecuredPoolManager(retries=False, timeout=TIMEOUT) as pools:
            for _ in range(3):
                with wire.a.entered():
                    assert pools.request("GET", f"{url}/").data == BODY
        assert server.served == 1
