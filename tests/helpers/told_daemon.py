"""A key daemon that does as it is told: a process of its own, on a real socket.

It is told by a JSON object: "secure": "real", "refuse" or "die"; "after": so many messages before it dies;
"verdict": [code, reason, step, detail] for NEGOTIATE, null for success; "open": on success it takes the
policies off the socket, so that connect() finds its way without an association; "delay": seconds until it
answers NEGOTIATE, while it goes on; "hold_delay": the same for HOLD; "by_host": those four by host. It writes
down each question as a line of JSON: [kind, descriptors, host, body's length].
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from wsasec.daemon import protocol

IP_XFRM_POLICY = 17
XFRM_POLICY_OUT = 1


def number_of(text: str, enum: str) -> int:
    """Take the number of a name from the header."""
    header = (Path(__file__).parents[2] / "include/wsasec.h").read_text()
    inside = header[header.index(f"enum {enum} {{") :].split("};")[0].splitlines()[1:]
    names = [line.split(",")[0].split("=")[0].split("/*")[0].strip() for line in inside]
    return [name for name in names if name].index(text)


def block(sock: socket.socket) -> None:
    """Close the gate of an IPv4 socket: an outbound policy that lets nothing pass."""
    policy = bytearray(168)
    struct.pack_into("=H", policy, 40, socket.AF_INET)  # sel.family
    struct.pack_into("=4Q", policy, 56, *[2**64 - 1] * 4)  # lft: no limits
    policy[160:164] = bytes((XFRM_POLICY_OUT, 1, 0, 0))  # dir, action BLOCK
    sock.setsockopt(socket.IPPROTO_IP, IP_XFRM_POLICY, bytes(policy))


class FakeDaemon:
    """Runs it in the network namespace of the calling thread, while the program finds it by WSASEC_RUN."""

    def __init__(self, folder: Path, **told: Any) -> None:
        self._folder = folder
        self._told = told

    def __enter__(self) -> FakeDaemon:
        inode = Path("/proc/thread-self/ns/net").stat().st_ino
        place = self._folder / f"net-{inode}"
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._log = place / "log"
        self._log.write_text("")
        (place / "control").unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(place), json.dumps(self._told)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self._before = os.environ.get(protocol.VARIABLE)
        os.environ[protocol.VARIABLE] = str(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del os.environ[protocol.VARIABLE]
        else:
            os.environ[protocol.VARIABLE] = self._before
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def questions(self) -> list[list[Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def kinds(self) -> Counter[str]:
        return Counter(kind for kind, *_ in self.questions())


class _Server:
    def __init__(self, place: Path, told: dict[str, Any]) -> None:
        self.told = told
        self.log = (place / "log").open("a")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(place / "control"))
        (place / "control").chmod(0o666)
        self.listener.listen(64)
        self.later: list[tuple[float, socket.socket, bytes]] = []
        self.messages = 0

    def run(self) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        clients: dict[int, socket.socket] = {}
        while True:
            first = min((due for due, *_ in self.later), default=None)
            wait = None if first is None else max(0.0, first - time.monotonic()) * 1000
            for number, _ in poll.poll(wait):
                if number == self.listener.fileno():
                    client = self.listener.accept()[0]
                    clients[client.fileno()] = client
                    poll.register(client, select.POLLIN)
                elif not self.hear(clients[number]):
                    poll.unregister(number)
                    clients.pop(number).close()
            now = time.monotonic()
            for entry in [entry for entry in self.later if entry[0] <= now]:
                self.later.remove(entry)
                try:
                    entry[1].send(entry[2])
                except OSError:
                    continue

    def hear(self, client: socket.socket) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(client, protocol.LARGEST, protocol.DESCRIPTORS)
        except OSError:
            return False
        if not data:
            return False
        _, kind, _, number, length = protocol.HEADER.unpack_from(data)
        body = data[protocol.HEADER.size :]
        assert len(body) == length
        try:
            self.answer(client, protocol.Kind(kind), number, body, fds)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def answer(
        self, client: socket.socket, kind: protocol.Kind, number: int, body: bytes, fds: list[int]
    ) -> None:
        host = ""
        if kind is not protocol.Kind.SECURE:
            *_, peer = protocol.QUESTION.unpack_from(body)
            family = struct.unpack_from("=H", peer)[0]
            at = (4, 8) if family == socket.AF_INET else (8, 24)
            host = socket.inet_ntop(family, peer[slice(*at)])
        print(json.dumps([kind.name, len(fds), host, len(body)]), file=self.log, flush=True)
        self.messages += 1
        delay = 0.0
        if kind is protocol.Kind.SECURE:
            answer = self.secure(body, fds)
        else:
            told = self.told | self.told.get("by_host", {}).get(host, {})
            verdict = told.get("verdict") if kind is protocol.Kind.NEGOTIATE else None
            answer = protocol.VERDICT.pack(
                *(verdict[:3] if verdict else (0, 0, 0)), (verdict[3] if verdict else "").encode()
            )
            if kind is protocol.Kind.HOLD:
                delay = told.get("hold_delay", 0.0)
            if kind is protocol.Kind.NEGOTIATE:
                delay = told.get("delay", 0.0)
                if not verdict and told.get("open"):
                    with socket.socket(fileno=os.dup(fds[0])) as sock:
                        sock.setsockopt(socket.IPPROTO_IP, IP_XFRM_POLICY, None, 0)
        header = protocol.HEADER.pack(protocol.MAGIC, kind | protocol.Kind.ANSWER, 0, number, len(answer))
        self.later.append((time.monotonic() + delay, client, header + answer))

    def secure(self, body: bytes, fds: list[int]) -> bytes:
        import wsasec
        from wsasec import _wsasec

        if self.told.get("secure") == "die" and self.messages > self.told.get("after", 0):
            os._exit(0)
        if self.told.get("secure") == "refuse":
            first = struct.pack("=iiHHHH", -10013, 0, *self.told["refusal"], 0, 0)
            codes = [-10013] * len(fds)
            return protocol.SECURED.pack(first, len(fds), 0) + array.array("i", codes).tobytes()
        assert body[72:84] == bytes(12), "strings"
        first = bytes(16)
        codes = []
        for fd in fds:
            code = _wsasec.set_socket_security(fd, body, len(body))
            codes.append(-code)
            if code and not any(first):
                # As a failed check has it: the class of errors that leave a socket as it was.
                first = struct.pack("=iiHHHH", -code, 0, 4, 13, 0, 0)
        del wsasec
        return protocol.SECURED.pack(first, len(fds), 0) + array.array("i", codes).tobytes()


if __name__ == "__main__":
    from wsasec import _wsasec

    _wsasec.be_broker()
    _Server(Path(sys.argv[1]), json.loads(sys.argv[2])).run()
