"""What keys of the results are called, and what must be said beside some of the figures."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from .reading import Machine, Results

__all__ = [
    "AES_SHORT",
    "CLOCKS",
    "DEVICE",
    "DEVICE_READING",
    "KEYS",
    "LEAK",
    "LOOPBACK",
    "MADE",
    "MIDDLE",
    "READING",
    "SIGNS",
    "UNSTABLE",
    "aes_warning",
    "base_title",
    "cell_title",
    "connections_title",
    "group_title",
    "kind_title",
    "machine_lines",
    "message_title",
    "number",
    "set_up_what",
    "setup_title",
    "streams_title",
    "when",
]

_KINDS: Final = {
    "secured": "secured",
    "system_policy": "one policy for all",
    "plain": "plain",
    "tls128": "TLS 1.3, AES-128",
    "tls256": "TLS 1.3, AES-256",
    "tls": "TLS 1.3",
    "iperf3": "plain, by iperf3",
    "device": "secure device",
    "device_openssl": "secure device, by OpenSSL",
    "device_cubic": "secure device, CUBIC",
    "plain_cubic": "plain, CUBIC",
    "tls128_cubic": "TLS 1.3, AES-128, CUBIC",
    "tls256_cubic": "TLS 1.3, AES-256, CUBIC",
    "tls128_c": "TLS 1.3 in C, AES-128",
    "tls256_c": "TLS 1.3 in C, AES-256",
    "wireguard": "wireguard-go",
    "libipsec": "strongSwan's kernel-libipsec",
    "policy": "policies of the kernel",
    "several": "secure device, by several calls",
}
_GROUPS: Final = {
    "checks": "securing, all checks made",
    "effective": "securing, only the calls that take effect",
    "create": "creating and securing",
    "one": "one socket by one, all checks made",
    "query": "asking whether a socket is secured",
    "teardown": "closing secured sockets",
}
_BASES: Final = {"floor": "C loop", "ctypes_checked": "ctypes"}
_FAMILIES: Final = {"inet": "IPv4", "inet6": "IPv6"}
_TYPES: Final = {"stream": "TCP", "dgram": "UDP"}
UNSTABLE: Final = "* unstable: the middle half of the samples spans more than 10 % of the median."
AES_SHORT: Final = (
    "† This kernel has no accelerated AES, TLS has its own in user space: see the warning above."
)
KEYS: Final = "Keys"
DEVICE: Final = "Secure devices"
DEVICE_READING: Final = (
    "All on this kernel itself: both hosts, their engines and what makes the traffic share its processors. "
    "Processor time of the processes is that of those that send, receive and protect; of the machine, all "
    "that its processors did. A frame may be several packets that the kernel keeps together."
)
_SET_UP: Final = {
    "options": "what is set, from C",
    "secure_many": "secure_many, plain loop",
    "secure": "secure, one by one",
    "batch": "SocketBatch, plain loop",
}
MADE: Final = "SocketBatch makes the sockets, too. What it takes to make plain ones is not in the ratio."
LEAK: Final = "NOT PROTECTED, or not proven to be"
LOOPBACK: Final = "Loopback of this kernel"
MIDDLE: Final = "Medians, in brackets the middle half of the samples (first to third quartile)."

CLOCKS: Final = (
    "Microseconds a socket are by the clock. Ratios of set-up between methods that run in one thread are of "
    "the time in which it was running, which other programs leave alone; all other ratios are by the clock."
)

READING: Final = (
    "In plots of set-up, the number at the right of a name is the median with the most sockets.",
    (
        "Figures are medians of repeats; the bars and the brackets are the middle half of the samples, "
        "from the first to the third quartile. A middle half wider than 10 % of the median is marked "
        "unstable: trust its median less."
    ),
    (
        "All ways are measured in turn within each repeat. Ratios, also those to plain, TLS (with AES-128) "
        "and one policy for all, are made per repeat, then their median is taken: what slows a whole "
        "repeat down cancels out. So they are not quite the ratios of the medians beside them."
    ),
    CLOCKS,
    (
        "“All checks made” are the same system calls and decisions in every row, but for a bare loop in "
        "C, which makes the calls and decides nothing. “Only the calls that take effect” are the two "
        "policies and the mark."
    ),
    (
        "In plots of latency each further nine takes as much room as the one before it, so that the "
        "slowest can be seen; a line ends where one request or connection is left."
    ),
    (
        "“One policy for all” is the same traffic under one IPsec policy of the system instead of one for "
        "each socket. “Clear packets” were seen on the wire without ESP, from the first SYN to the last "
        "reset; there must be none."
    ),
)
SIGNS: Final = {True: "met", False: "not met", None: "not measured"}


def number(value: float) -> str:
    """Write a figure with three digits that mean something."""
    size = abs(value)
    if size >= 1e9:
        return f"{value:.3g}"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    if size >= 0.001 or not size:
        return f"{value:.3f}" if size else "0"
    return f"{value:.1e}"


def kind_title(kind: str) -> str:
    """Name a kind of traffic."""
    return _KINDS.get(kind, kind)


def group_title(group: str) -> str:
    """Name a group of ways to set up sockets."""
    return _GROUPS.get(group, group)


def set_up_what(what: str, family: str) -> str:
    """Name what is done to a socket where carriers are compared."""
    return f"{_SET_UP.get(what, what)}, {_FAMILIES.get(family, family)}"


def base_title(base: str) -> str:
    """Name what ratios of set-up are to; of each group, the one that does the same."""
    return _BASES.get(base, base)


def setup_title(family: str, type_: str) -> str:
    """Name a kind of sockets."""
    return f"{_TYPES.get(type_, type_)}, {_FAMILIES.get(family, family)}"


def cell_title(sockets: int, family: str, type_: str) -> str:
    """Name so many sockets of a kind."""
    return f"{sockets:,} {setup_title(family, type_)}"


def connections_title(count: int, message_bytes: int | None = None) -> str:
    """Name so many connections, and the size of what they carry."""
    return _counted(count, "connection", message_bytes)


def streams_title(count: int, message_bytes: int | None = None) -> str:
    """Name so many streams, and the size of their messages."""
    return _counted(count, "stream", message_bytes)


def _counted(count: int, thing: str, message_bytes: int | None) -> str:
    words = (f"{count:,} {thing}{'' if count == 1 else 's'}", message_title(message_bytes))
    return ", ".join(word for word in words if word)


def message_title(size: int | None) -> str:
    """Write a message's size."""
    if size is None:
        return ""
    if size >= 1 << 20 and size % (1 << 20) == 0:
        return f"{size >> 20} MiB"
    if size >= 1024 and size % 1024 == 0:
        return f"{size >> 10} KiB"
    return f"{size:,} bytes"


def aes_warning(results: Results) -> str:
    """Say what the ratios to TLS do not mean; nothing where the kernel's AES is accelerated."""
    guest = any(machine.guest for machine in (results.traffic_machine, results.connect_machine) if machine)
    if guest:
        kernel = "This was measured in a guest, whose kernel has no accelerated AES"
    elif "generic" in results.aes_driver:
        kernel = f"This kernel has no accelerated AES ({results.aes_driver})"
    else:
        return ""
    instructions = results.machine is None or results.machine.aes_instructions
    user_space = (
        "TLS, in user space, has the processor's AES instructions"
        if instructions
        else "TLS, in user space, has OpenSSL's, which is another one"
    )
    return (
        f"{kernel}; {user_space}. Ratios to TLS are those of this kernel only: do not compare secured "
        "traffic with TLS by them."
    )


def machine_lines(machine: Machine) -> list[tuple[str, str]]:
    """Describe a machine: names and values."""
    memory = f"{machine.memory_kib / 2**20:.3g} GiB" if machine.memory_kib else ""
    cores = "" if machine.cores is None else f"{machine.cores} {'core' if machine.cores == 1 else 'cores'}"
    parts = [
        ("processor", ", ".join(part for part in (machine.cpu, cores) if part)),
        ("memory", memory),
        (
            "system",
            ", ".join(
                part for part in (machine.system, machine.kernel and f"Linux {machine.kernel}") if part
            ),
        ),
        ("governor", machine.governor),
        ("TCP's congestion control", machine.congestion_control),
        ("load at the start", "" if machine.load is None else f"{machine.load:.2f}"),
        (
            "stolen by the host",
            "" if machine.stolen is None else f"{machine.stolen:.0%} of the processors' time",
        ),
    ]
    return [(name, value) for name, value in parts if value]


def when(results: Results) -> str:
    """Say when the run was, and how long it took."""
    try:
        start, end = (datetime.fromisoformat(text) for text in (results.started, results.finished))
        seconds = round((end - start).total_seconds())
    except (TypeError, ValueError, OverflowError):  # not both, or one with and one without a time zone
        return " to ".join(part for part in (results.started, results.finished) if part)
    return f"{start:%Y-%m-%d %H:%M}, {seconds // 60} min {seconds % 60} s"
