"""What is there on which system: one table, which is true here, and which docs/windows.md has, too."""

from __future__ import annotations

import importlib
import importlib.util
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import wsasec
from wsasec import SecurityError, Winsock

DOCUMENT = Path(__file__).parents[2] / "docs/windows.md"

pytestmark = pytest.mark.filterwarnings("ignore::wsasec.SecurityWarning")

# The public modules whose names are all in the table.
MODULES = ("wsasec", "wsasec.aio", "wsasec.traffic", "wsasec.policy", "wsasec.doctor")

# What is not the same on both systems, and how it says so where it is not. The others are on both.
RAISES, IMPORT = "WSAEOPNOTSUPP", "ImportError"
WINDOWS_ONLY: dict[str, str] = {}
LINUX_ONLY = {
    "wsasec.socket_options": RAISES,
    "wsasec.negotiate": RAISES,
    "wsasec.fleet": IMPORT,
    "wsasec.lab": IMPORT,
}


def named(module: str, names: str) -> list[str]:
    return [f"{module}.{name}" for name in names.split()]


BOTH = {
    *named(
        "wsasec",
        """
        SOCKET_ERROR SOCKET_INFO_CONNECTION_ENCRYPTED SOCKET_INFO_CONNECTION_IMPERSONATED
        SOCKET_INFO_CONNECTION_SECURED SOCKET_QUERY_IPSEC2_ABORT_CONNECTION_ON_FIELD_CHANGE
        SOCKET_QUERY_IPSEC2_FIELD_MASK_MM_SA_ID SOCKET_QUERY_IPSEC2_FIELD_MASK_QM_SA_ID
        SOCKET_SETTINGS_ALLOW_INSECURE SOCKET_SETTINGS_GUARANTEE_ENCRYPTION
        SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED
        SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT
        SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION
        query set_peer_target_name delete_peer_target_name impersonate revert_impersonation
        WSAQuerySocketSecurity WSASetSocketPeerTargetName WSADeleteSocketPeerTargetName
        WSAImpersonateSocketPeer WSARevertImpersonation
        Association BatchError ConfigError
        ConnectError ConnectReport Histogram Impersonation ImpersonationError
        IpsecFlags IpsecSettings Listener ListenerCounts Profile QueryFields QueryFlags SecurityError
        SecurityFlags SecurityProtocol SecurityWarning Settings SocketBatch SocketInfo SocketSecurity Token
        WSAGetLastError WSASetSocketSecurity Winsock accept aio connect get_include get_library_dir
        method_costs raise_descriptor_limit release_namespaces secure secure_many traffic
        policy doctor bench contrib contrib.urllib3 contrib.locust contrib.geventhttpclient
        """,
    ),
    *named(
        "wsasec.aio",
        """
        Server connect create_connection create_server open_connection secure start_server
        """,
    ),
    *named(
        "wsasec.traffic",
        """
        DatagramResult RequestResult StreamResult TrafficCounts TrafficResult datagrams requests stream
        """,
    ),
    *named(
        "wsasec.policy",
        """
        WINDOWS_VISTA_DEFAULT Authentication Direction Encryption Exchange Group IkeAssociation Impersonation
        Integrity MainModeFlags MainModePolicy MainModeProposal Method Policy PolicyPair Proposal Protocol
        QuickModeFlags QuickModePolicy QuickModeProposal Roots SecurityAssociation Session Transform named
        """,
    ),
    *named("wsasec.doctor", "Facts Report Row State collect examine judge"),
}
# Of packages that users have or have not; that they are found is told without them.
OTHERS = {"wsasec.contrib.urllib3", "wsasec.contrib.locust", "wsasec.contrib.geventhttpclient"}

TABLE = dict.fromkeys(BOTH, "both") | dict.fromkeys(LINUX_ONLY, "Linux")
TABLE |= dict.fromkeys(WINDOWS_ONLY, "Windows")


def found(name: str) -> object:
    """Import it, or the module that it is in."""
    module, _, last = name.rpartition(".")
    holder = importlib.import_module(module)
    return getattr(holder, last) if hasattr(holder, last) else importlib.import_module(name)


def calls(sock: socket.socket) -> dict[str, Callable[[], object]]:
    """How that is called which is on one system only."""

    return {
        "wsasec.negotiate": lambda: wsasec.negotiate(sock, ("127.0.0.1", 9)),
        "wsasec.socket_options": lambda: wsasec.socket_options(family=socket.AF_INET),
    }


def refused(name: str, how: str) -> bool:
    """Whether it says, as is documented, that this system has nothing of the kind."""
    if how == IMPORT:
        with pytest.raises(ImportError, match="for Linux"):
            importlib.import_module(name)
        return True
    with socket.socket() as sock:
        with pytest.raises(SecurityError) as caught:
            calls(sock)[name]()
        return caught.value.winsock is Winsock.WSAEOPNOTSUPP


def test_every_public_name_is_in_the_table() -> None:
    assert not BOTH & set(LINUX_ONLY) | BOTH & set(WINDOWS_ONLY)
    names = {f"{module}.{name}" for module in MODULES for name in importlib.import_module(module).__all__}
    assert names <= set(TABLE)
    submodules = {"doctor", "bench", "fleet", "lab", "contrib"}
    assert set(TABLE) - names == {f"wsasec.{name}" for name in submodules} | OTHERS


@pytest.mark.parametrize("name", sorted(BOTH))
def test_on_both(name: str) -> None:
    if name in OTHERS:
        assert importlib.util.find_spec(name) is not None
    else:
        assert found(name) is not None


@pytest.mark.parametrize("name", sorted(LINUX_ONLY | WINDOWS_ONLY))
def test_on_one(name: str) -> None:
    elsewhere = LINUX_ONLY if sys.platform == "win32" else WINDOWS_ONLY
    if name in elsewhere:
        assert refused(name, elsewhere[name])
    else:
        assert found(name) is not None


def test_what_is_there_is_there_on_windows() -> None:
    """A system that refuses does so for reasons of its own."""
    if sys.platform != "win32":
        with socket.socket() as sock:
            assert calls(sock)["wsasec.socket_options"]()
        return
    with socket.socket() as sock:
        for name, how in WINDOWS_ONLY.items():
            if how == RAISES:
                try:
                    calls(sock)[name]()
                except SecurityError as error:
                    assert "has no such function on this system" not in str(error), name  # noqa: PT017


def documented() -> dict[str, tuple[str, str]]:
    """What docs/windows.md says of each name, for Linux and for Windows."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.partition("\n## What is there on which system\n")[2].partition("\n## ")[0]
    said: dict[str, tuple[str, str]] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        prefix = re.match(r"`(wsasec[.\w]*)`(?::|$)", cells[0])
        if prefix is None:
            continue
        inner = re.findall(r"`(\w+)`", cells[0][prefix.end() :])
        for name in [f"{prefix[1]}.{name}" for name in inner] or [prefix[1]]:
            assert name not in said, name
            said[name] = (cells[1], cells[2])
    return said


def test_the_document_says_so() -> None:
    said = documented()
    assert set(said) == set(TABLE)
    for name, (on_linux, on_windows) in said.items():
        assert on_linux == WINDOWS_ONLY.get(name, "yes"), name
        assert on_windows == LINUX_ONLY.get(name, "yes"), name
