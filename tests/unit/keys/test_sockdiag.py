"""Requests about TCP connections, as the kernel's own header lays them out."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from wsasec.kernel import sockdiag
from wsasec.kernel.netlink import HEADER, Message
from wsasec.kernel.sockdiag import TcpConnection, TcpTable

PROGRAM = """\
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
int main(void)
{
    struct inet_diag_req_v2 request = {.sdiag_family = AF_INET6, .sdiag_protocol = IPPROTO_TCP};
    request.idiag_states = ~0u;
    request.id.idiag_sport = htons(40000);
    request.id.idiag_dport = htons(443);
    memset(request.id.idiag_src, 1, 16);
    memset(request.id.idiag_dst, 2, 16);
    request.id.idiag_if = 7;
    request.id.idiag_cookie[0] = 0x44332211;
    request.id.idiag_cookie[1] = 0x88776655;
    fwrite(&request, sizeof request, 1, stdout);
    const int numbers[] = {NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, SOCK_DESTROY,
                           __builtin_offsetof(struct inet_diag_msg, idiag_state)};
    fwrite(numbers, sizeof numbers, 1, stdout);
    return 0;
}
"""
COOKIE = 0x8877665544332211
CONNECTION = TcpConnection(COOKIE, socket.AF_INET6, bytes([1] * 16), 40000, bytes([2] * 16), 443, 7)


class Kernel:
    """Answers requests, and remembers them."""

    def __init__(self, state: int | None = 1, error: int = errno.ENOENT) -> None:
        self.state = state
        self.error = error
        self.requests: list[tuple[int, int]] = []

    def _note(self, message: Message, kind: int) -> None:
        low, high = struct.unpack_from("=II", message, len(message) - 8)
        self.requests.append((kind, low | high << 32))

    def ask(self, message: Message, kind: int, what: str) -> list[tuple[int, bytes]]:
        self._note(message, kind)
        if self.state is None:
            raise FileNotFoundError(errno.ENOENT, what)
        return [(20, bytes([2, self.state]) + bytes(70))]

    def request(self, message: Message, kind: int, flags: int, what: str) -> None:
        self._note(message, kind)
        if self.error:
            raise OSError(self.error, what)

    def close(self) -> None:
        self.requests.clear()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> TcpTable:
    monkeypatch.setattr(sockdiag, "NetlinkSocket", lambda _: Kernel())
    return TcpTable()


def use(table: TcpTable, kernel: Kernel) -> Kernel:
    table._netlink = kernel  # type: ignore[assignment]
    return kernel


def test_the_layout(tmp_path: Path) -> None:
    source = tmp_path / "request.c"
    source.write_text(PROGRAM)
    subprocess.run(["cc", "-o", str(tmp_path / "request"), str(source)], check=True)
    said = subprocess.run([str(tmp_path / "request")], check=True, capture_output=True).stdout
    assert bytes(sockdiag._request(CONNECTION, COOKIE)[HEADER.size :]) == said[:-16]
    assert struct.unpack("=4i", said[-16:]) == (4, 20, 21, 1)


def test_the_trial_is_by_another_cookie(table: TcpTable) -> None:
    """Never by that of the socket, nor by the one that stands for any."""
    for cookie in (COOKIE, 0, 1, 2**64 - 2, 2**64 - 3):
        kernel = use(table, Kernel())
        connection = TcpConnection(cookie, socket.AF_INET, bytes(4), 1, bytes(4), 2, 0)
        assert table.can_destroy(connection)
        (asked, tried) = kernel.requests
        assert asked == (20, cookie)
        assert tried[0] == 21
        assert tried[1] not in (cookie, 2**64 - 1)


@pytest.mark.parametrize("state", [None, 6, 7, 10])
def test_what_is_not_there_is_not_tried(table: TcpTable, state: int | None) -> None:
    kernel = use(table, Kernel(state))
    assert not table.has(CONNECTION)
    assert not table.can_destroy(CONNECTION)
    assert [kind for kind, _ in kernel.requests] == [20, 20]


def test_a_kernel_that_cannot(table: TcpTable) -> None:
    use(table, Kernel(error=errno.EOPNOTSUPP))
    assert table.has(CONNECTION)
    assert not table.can_destroy(CONNECTION)
    with pytest.raises(OSError):
        table.destroy(CONNECTION)
    use(table, Kernel(error=errno.EPERM))
    with pytest.raises(PermissionError):
        table.can_destroy(CONNECTION)
    use(table, Kernel(error=0))  # it minds no cookies
    assert not table.can_destroy(CONNECTION)


def test_destroying(table: TcpTable) -> None:
    kernel = use(table, Kernel(error=0))
    assert table.destroy(CONNECTION)
    assert kernel.requests == [(21, COOKIE)]
    use(table, Kernel(error=errno.ENOENT))
    assert not table.destroy(CONNECTION)


def test_no_sock_diag(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: int) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "no such protocol")

    monkeypatch.setattr(sockdiag, "NetlinkSocket", none)
    table = TcpTable()
    assert not table.has(CONNECTION)
    assert not table.can_destroy(CONNECTION)
    with pytest.raises(OSError):
        table.destroy(CONNECTION)
    table.close()
