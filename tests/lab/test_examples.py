"""The secure echo: its two programs, as they stand, on the wire."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES = ["hello", "in the lab", "äöü", "x" * 1000]
SECONDS = 40

KINDS = pytest.mark.parametrize("options", [[], ["--udp"]], ids=["tcp", "udp"])


def program(name: str, wire, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *arguments, "--host", wire.host(wire.b)]


@contextmanager
def server(wire, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server at host b, and its port."""
    process = wire.b.popen(
        program("secure_echo_server.py", wire, "--port", "0", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            first = process.stdout.readline()
            assert first.startswith("listening on "), first + process.stdout.read()
            yield process, first.rpartition(":")[2].strip()
        finally:
            process.kill()


def client(wire, port: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return wire.a.run(
        program("secure_echo_client.py", wire, "--port", port, *arguments),
        check=False,
        timeout=SECONDS,
    )


def echoes(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.removeprefix("echo: ") for line in done.stdout.splitlines() if line.startswith("echo: ")]


@KINDS
def test_echo(make_wire, options):
    """All that they say is in ESP, and both say so."""
    with make_wire() as wire:
        with server(wire, *options) as (process, port):
            done = client(wire, port, "--encrypt", *options, *LINES)
            assert (done.returncode, echoes(done), done.stderr) == (0, LINES, "")
            process.kill()
            said = process.stdout.read()
        for text in (done.stdout, said):
            assert "security: encrypted" in text
        assert "error" not in said
        if options:
            assert f"datagram from {'[' * (wire.family == socket.AF_INET6)}{wire.host(wire.a)}" in said


@KINDS
def test_nobody_has_authenticated(make_wire, options):
    """Without a key daemon nobody knows who the client is: nothing is done in its name, nor said to it."""
    with (
        make_wire(esp=None if options else True) as wire,
        server(wire, "--impersonate", *options) as (process, port),
    ):
        done = client(wire, port, *options, "--timeout", "1", "secret")
        assert done.returncode == 1
        assert echoes(done) == []
        process.kill()
        assert "no key daemon runs" in process.stdout.read()


@KINDS
def test_a_name_is_not_taken_without_being_checked(make_wire, options):
    with make_wire(esp=False) as wire, server(wire, *options) as (_, port):
        done = client(wire, port, *options, "--peer-name", "host/b.example", "secret")
        assert (done.returncode, done.stdout) == (1, "")
        assert "no key daemon runs" in done.stderr


@KINDS
def test_no_association_nothing_sent(make_wire, options):
    with make_wire(keys=False, esp=False) as wire, server(wire, *options) as (_, port):
        done = client(wire, port, *options, "--timeout", "1", "secret")
        assert (done.returncode, done.stdout) == (1, "")
        assert "no security association with" in done.stderr


def test_asyncio_and_load(make_wire):
    """The asyncio server, its client, and the load generator, which drives it."""
    with make_wire() as wire:
        process = wire.b.popen(
            [sys.executable, str(EXAMPLES / "asyncio_echo.py"), "serve", "--host", wire.host(wire.b)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            try:
                assert process.stdout.readline() == "listening on port 27017\n"
                asked = wire.a.run(program("asyncio_echo.py", wire, "ask", *LINES), check=False)
                assert (asked.returncode, asked.stdout.splitlines()) == (0, LINES), asked.stderr
                load = ["load_generator.py", wire, "--connections", "50", "--seconds", "0.3"]
                driven = wire.a.run(program(*load), check=False, timeout=SECONDS)
                assert driven.returncode == 0, driven.stderr
                assert "50 connections" in driven.stdout
                assert "requests a second" in driven.stdout
            finally:
                process.kill()
