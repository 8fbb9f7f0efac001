"""The keeper: what is taken away comes back, or there is no voucher; two side by side; nothing is left."""

from __future__ import annotations

import ipaddress
import os
import resource
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import pytest
from engine_host import Host
from wire import wait_for_address

from wsasec.engine import Device, Keeper, NotSecureError, alias, keeper, remove, rules
from wsasec.engine.routes import table_of
from wsasec.kernel.links import LinkSocket
from wsasec.kernel.nftables import NftSocket
from wsasec.kernel.notifications import NETLINK_ROUTE, ROUTE_GROUPS, Change, Notifications
from wsasec.kernel.route import source_of
from wsasec.kernel.routing import MAIN, Route, RoutingSocket, table_of_change
from wsasec.lab import Lab, Namespace
from wsasec.profiles import DEFAULT, Profile

PATIENCE = 20.0
NAME = f"ws{DEFAULT.reqid}"
TABLE = str(table_of(DEFAULT))
NFT = f"wsasec_{DEFAULT.reqid}"
OTHER = Profile("other", uuid.UUID(int=5), 7, 0x58000000, 0xFF000000)
SO_MARK = 36
SO_BINDTOIFINDEX = 62


def becomes(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def said(name: str = NAME) -> str:
    with LinkSocket() as links:
        found = links.link(name)
    return found.alias if found else ""


def vouches(profile: Profile = DEFAULT) -> bool:
    """Whether the voucher is worth something now: as who secures a socket looks at it."""
    with NftSocket() as nft:
        return said(f"ws{profile.reqid}") == str(alias.voucher(profile, nft.generation()))


def state(host: Namespace) -> str:
    """All that belongs to the device, but for its alias and counters."""
    commands = [
        *(["nft", "list", "ruleset"], ["ip", "rule"], ["ip", "-6", "rule"]),
        *(["ip", "route", "show", "table", TABLE], ["ip", "-6", "route", "show", "table", TABLE]),
        ["ip", "link", "show", NAME],
    ]
    found = [host.run(command, check=False).stdout for command in commands]
    # The order of rules with one priority does not matter.
    return "\n".join(line for part in found for line in sorted(part.splitlines()) if "alias" not in line)


def test_it_vouches_when_all_is_in_place(host: Host) -> None:
    assert host.keeper.faults == []
    assert vouches()
    shown = state(host.lab.a)
    for words in (
        *(f"oif {NAME} lookup {TABLE}", f"fwmark 0x57000000/0xff000000 lookup {TABLE}", f"inet {NFT}"),
        *("10.9.0.0/24 dev " + NAME, "src 10.9.0.1", "fd00:9::/64 dev " + NAME, "src fd00:9::1"),
        *("unreachable default", "metric 4278198272", "UP"),
    ):
        assert words in shown
    assert host.lab.a.sysctl(f"net.ipv4.conf.{NAME}.src_valid_mark") == "1"
    assert host.lab.a.sysctl("net.ipv4.fwmark_reflect") == "1"
    assert host.lab.a.sysctl("net.ipv6.fwmark_reflect") == "1"


TAKEN_AWAY = {
    "all rules": ["nft flush ruleset"],
    "the table's rules": [f"nft flush table inet {NFT}"],
    "a chain's rules": [f"nft flush chain inet {NFT} sent"],
    "a rule is put before": [f"nft insert rule inet {NFT} sent accept"],
    "rule by device": [f"ip rule del oif {NAME}"],
    "rule by mark": ["ip rule del fwmark 0x57000000/0xff000000"],
    "rules of IPv6": ["ip -6 rule flush", "ip -6 rule add lookup main priority 32766"],
    "the last route": [f"ip route del unreachable default metric 4278198272 table {TABLE}"],
    "the last route of IPv6": [f"ip -6 route del unreachable default metric 4278198272 table {TABLE}"],
    "all routes": [f"ip route flush table {TABLE}", f"ip -6 route flush table {TABLE}"],
    "another route": [f"ip route add 192.0.2.0/24 dev a0 table {TABLE}"],
    "another default": [f"ip route add default dev a0 table {TABLE}"],
    "device down": [f"ip link set {NAME} down"],
    "device": [f"ip link del {NAME}"],
    "all at once": ["nft flush ruleset", f"ip link del {NAME}", f"ip route flush table {TABLE}"],
    "voucher": [f"ip link set {NAME} alias nothing"],
}


@pytest.mark.parametrize("commands", TAKEN_AWAY.values(), ids=TAKEN_AWAY.keys())
def test_what_is_taken_away_comes_back(host: Host, commands: list[str]) -> None:
    before, index = state(host.lab.a), host.device.ifindex
    for command in commands:
        host.lab.a.run(command.split())
    becomes(lambda: state(host.lab.a) == before, "it was not repaired")
    becomes(lambda: vouches() and not host.keeper.faults, "there is no voucher")
    assert socket.if_nametoindex(NAME) == index


@pytest.mark.parametrize(
    "name", ["net.ipv4.fwmark_reflect", "net.ipv6.fwmark_reflect", f"net.ipv4.conf.{NAME}.src_valid_mark"]
)
def test_settings_come_back(host: Host, name: str) -> None:
    host.lab.a.sysctl(name, 0)
    becomes(lambda: host.lab.a.sysctl(name) == "1", "it was not set again")
    becomes(vouches, "there is no voucher")


def test_a_change_of_rules_makes_the_voucher_worthless_at_once(host: Host) -> None:
    old = said()
    host.lab.a.run(["nft", "-f", "-"], input="table ip mine { chain c { }; }")
    with NftSocket() as nft:
        assert old != str(alias.voucher(DEFAULT, nft.generation()))
    becomes(vouches, "it does not vouch again")


def no_nft() -> str:
    raise rules.NftError(2, "the program nft is missing")


@pytest.fixture
def unrepairable(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Rules cannot be put in place any more: nft is gone."""
    monkeypatch.setattr(rules, "program", no_nft)
    return host


def test_what_cannot_be_repaired_has_no_voucher(unrepairable: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host = unrepairable
    host.lab.a.run(["nft", "flush", "ruleset"])
    becomes(lambda: said() == "", "the voucher is still there")
    # Who sees that is told why, at once.
    with pytest.raises(NotSecureError, match="nft is missing"):
        host.keeper.wait(0)
    # What is not repaired is watched all the same.
    monkeypatch.undo()
    host.keeper.wait(PATIENCE)
    assert vouches()


def test_without_descriptors_it_does_not_vouch(host: Host) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with LinkSocket() as links:
        highest = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
        held: list[int] = []
        try:
            with suppress(OSError):
                while len(held) <= highest:
                    held.append(os.dup(links._netlink._socket.fileno()))
                    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, before[1]))
            links.set_up(host.lab.a.device, up=False)  # it is told, and cannot look
            becomes(lambda: bool(host.keeper.faults), "it does not say that it cannot look")
            becomes(lambda: not found_alias(links), "the voucher is still there")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for fd in held:
                os.close(fd)
    host.keeper.wait(PATIENCE)
    assert vouches()


def found_alias(links: LinkSocket) -> str:
    found = links.link(NAME)
    return found.alias if found else ""


def refuses(keeper: Keeper, what: str) -> None:
    """Once it has looked, it says that."""
    becomes(lambda: any(what in each for each in keeper.faults), "it was not looked at")
    with pytest.raises(NotSecureError, match=what):
        keeper.wait(0)


def test_it_does_not_start_half(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(lab.a)
    device = Device.create(DEFAULT)
    monkeypatch.setattr(rules, "program", no_nft)
    kept = Keeper(device)
    try:
        kept.start()
        refuses(kept, "nft is missing")
        assert said() == ""
        assert host_is_down(lab.a)
    finally:
        kept.stop()
        monkeypatch.undo()
        kept.remove()
        device.remove()
    assert state(lab.a) == before


def test_without_a_thread_nothing_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    before = state(lab.a), sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
    device = Device.create(DEFAULT)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"), Keeper(device):
            pass
    device.remove()
    assert (state(lab.a), sorted(os.listdir("/proc/self/fd"))) == before  # noqa: PTH208


def host_is_down(host: Namespace) -> bool:
    return "UP" not in host.run(["ip", "link", "show", NAME]).stdout.split(">")[0]


@pytest.mark.parametrize("name", [NAME, "thief"])
def test_for_another_device_with_its_number_it_does_not_vouch(lab: Lab, name: str) -> None:
    device = Device.create(DEFAULT)
    kept = Keeper(device)
    try:
        kept.start()
        kept.wait()
        kept.stop()
        # As if somebody had been faster than the keeper.
        with LinkSocket() as links:
            links.remove(NAME)
        number = str(device.ifindex)
        lab.a.run(["ip", "link", "add", name, "index", number, "type", "veth", "peer", "name", "far"])
        kept.start()
        refuses(kept, "gone")
        assert said(name) == said() == ""
        with LinkSocket() as links:
            links.remove(name)
        kept.wait(PATIENCE)
        assert vouches()
    finally:
        kept.remove()
        device.remove()


def test_for_another_tun_device_in_its_place_it_does_not_vouch(host: Host) -> None:
    number, queues = host.device.ifindex, list(host.device.queues)
    host.keeper.stop()
    with LinkSocket() as links:
        links.remove(NAME)
    other = Device.create(DEFAULT, ifindex=number)
    try:
        assert other.is_there()
        assert not host.device.is_there()
        host.keeper.start()
        becomes(host.device.is_there, "it was not taken")
        refuses(host.keeper, "another process has a queue")
    finally:
        other.close()
    host.keeper.wait(PATIENCE)
    assert vouches()
    assert len(host.device.queues) == len(queues)


def test_while_another_process_has_a_queue_it_does_not_vouch(host: Host) -> None:
    thief = (
        "import sys, time\n"
        "from wsasec.engine import tun\n"
        f"held = tun.attach({NAME!r})\n"
        "print('has it', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", thief], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "has it\n"
        becomes(lambda: said() == "", "the voucher is still there")
        with pytest.raises(NotSecureError, match="another process has a queue"):
            host.keeper.wait(0)
        process.communicate()
    host.keeper.wait(PATIENCE)
    assert vouches()


def test_stopped_it_vouches_no_more_and_all_stays(lab: Lab) -> None:
    device = Device.create(DEFAULT)
    kept = Keeper(device)
    try:
        kept.start()
        kept.wait()
        before = state(lab.a)
        kept.stop()
        kept.stop()
        assert said() == ""
        assert state(lab.a) == before
        kept.start()
        kept.wait()
        assert vouches()
    finally:
        kept.remove()
        device.remove()


def test_nothing_is_left(lab: Lab) -> None:
    before = state(lab.a)
    device = Device.create(DEFAULT, 2)
    with Keeper(device):
        assert state(lab.a) != before
    device.remove()
    assert state(lab.a) == before
    assert NFT not in lab.a.run(["nft", "list", "ruleset"]).stdout


def test_what_a_killed_process_left_is_removed(lab: Lab) -> None:
    before = state(lab.a)
    code = (
        "import time; from wsasec.engine import Device, Keeper; from wsasec.profiles import DEFAULT\n"
        "kept = Keeper(Device.create(DEFAULT)); kept.start(); kept.wait(); print('vouches', flush=True)\n"
        "time.sleep(600)"
    )
    with lab.a.popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "vouches\n"
        process.kill()
    assert vouches()  # all stays as it was, and fail closed
    assert state(lab.a) != before
    remove(DEFAULT)
    assert state(lab.a) == before
    remove(DEFAULT)


def test_without_ipv6_addresses(lab: Lab) -> None:
    for which in ("all", "default", "lo"):
        lab.a.sysctl(f"net.ipv6.conf.{which}.disable_ipv6", 1)
    device = Device.create(DEFAULT)
    try:
        with Keeper(device):
            assert vouches()
            assert finds("10.9.0.2") == "10.9.0.1"
            assert finds("fd00:9::2") is None
    finally:
        device.remove()


def test_where_new_devices_have_no_ipv6(lab: Lab) -> None:
    lab.a.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    device = Device.create(DEFAULT)
    try:
        with Keeper(device):
            assert finds("fd00:9::2") == "fd00:9::1"
    finally:
        device.remove()


def test_rules_of_others_are_left(lab: Lab) -> None:
    lab.a.run(["nft", "-f", "-"], input="table ip mine { chain c { }; }")
    lab.a.run(["ip", "rule", "add", "fwmark", "1", "lookup", "77"])
    before = state(lab.a)
    device = Device.create(DEFAULT)
    with Keeper(device):
        pass
    device.remove()
    assert state(lab.a) == before


def test_two_profiles_beside_each_other(host: Host) -> None:
    other = Device.create(OTHER)
    try:
        with Keeper(other) as second:
            becomes(lambda: vouches() and vouches(OTHER), "one of them does not vouch")
            host.lab.a.run(["nft", "flush", "ruleset"])
            becomes(lambda: vouches() and vouches(OTHER), "one of them does not vouch again")
            assert second.faults == host.keeper.faults == []
            tables = host.lab.a.run(["nft", "list", "tables"]).stdout.split()
            assert {NFT, "wsasec_7"} <= set(tables)
        becomes(vouches, "the first does not vouch without the second")
    finally:
        other.remove()
    assert "ws7" not in state(host.lab.a)


def routes_to(address: str) -> str:
    """The address that a socket of the device has when it has connected there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, socket.if_nametoindex(NAME))
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, DEFAULT.mark)
        sock.connect((address, 9))
        return str(sock.getsockname()[0])


def finds(address: str) -> str | None:
    try:
        return routes_to(address)
    except OSError:
        return None


@pytest.fixture
def more(host: Host) -> Host:
    """The host has a second wire, and routers."""
    run = host.lab.a.run
    run(["ip", "link", "add", "second", "type", "veth", "peer", "name", "far"])
    for command in (
        "ip addr add 172.16.5.9/24 dev second",
        "ip addr add fd00:5::9/64 dev second nodad",
        "ip link set second up",
        "ip link set far up",
        "ip route add default via 172.16.5.1",
        "ip route add 10.0.0.0/8 via 10.9.0.2",
        "ip -6 route add default via fd00:5::1",
        "ip -6 route add fd00:77::/32 via fd00:9::2",
    ):
        run(command.split())
    return host


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("10.9.0.2", "10.9.0.1"),
        ("10.200.0.1", "10.9.0.1"),
        ("172.16.5.7", "172.16.5.9"),
        ("203.0.113.7", "172.16.5.9"),
        ("10.9.0.1", "10.9.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("fd00:9::2", "fd00:9::1"),
        ("fd00:77::1", "fd00:9::1"),
        ("fd00:5::7", "fd00:5::9"),
        ("2001:db8:7::1", "fd00:5::9"),
        ("fd00:9::1", "fd00:9::1"),
    ],
)
def test_a_first_connect_has_the_source_it_would_have_in_clear(more: Host, peer: str, source: str) -> None:
    becomes(lambda: finds(peer) == source, f"{peer} is not reached from {source}")


def test_without_a_route_there_is_none(host: Host) -> None:
    with pytest.raises(OSError, match="unreachable"):
        routes_to("2001:db8:7::1")
    with pytest.raises(OSError, match="unreachable"):
        routes_to("::1")  # the kernel drops what comes in for it by any device but lo
    # With IPv4 the kernel takes for a neighbour whom it finds no route to: it goes into the device.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, DEFAULT.mark)
        with pytest.raises(OSError, match="No route"):
            sock.connect(("203.0.113.7", 9))


def test_addresses_come_and_go(host: Host) -> None:
    with LinkSocket() as links:
        links.add_address("a0", "198.51.100.1", 24)
        links.add_address("a0", "fd00:8::1", 64)
        becomes(lambda: finds("198.51.100.7") == "198.51.100.1", "the new network has no route")
        becomes(lambda: finds("fd00:8::7") == "fd00:8::1", "the new network has no route")
        links.remove_address("a0", "198.51.100.1", 24)
        links.remove_address("a0", "fd00:8::1", 64)
        # IPv4 takes for a neighbour then whom it has no route to.
        becomes(lambda: finds("198.51.100.7") == "10.9.0.1", "the old network still has a route")
        becomes(lambda: finds("fd00:8::7") is None, "the old network still has a route")
    becomes(vouches, "there is no voucher")


def test_a_preferred_source_is_taken_over(host: Host) -> None:
    with LinkSocket() as links:
        links.add_address("a0", "10.9.0.99", 24)
    host.lab.a.run(["ip", "route", "add", "10.9.0.128/25", "dev", "a0", "src", "10.9.0.99"])
    becomes(lambda: finds("10.9.0.200") == "10.9.0.99", "the preferred source is another")
    assert finds("10.9.0.2") == "10.9.0.1"


@pytest.mark.parametrize(
    ("network", "first", "second"),
    [("10.9.0.128/25", "10.9.0.98", "10.9.0.99"), ("fd00:9:0:0:8000::/65", "fd00:9::98", "fd00:9::99")],
    ids=["ipv4", "ipv6"],
)
def test_another_source_is_taken_over_at_once(host: Host, network: str, first: str, second: str) -> None:
    peer = str(ipaddress.ip_network(network)[7])
    with LinkSocket() as links:
        for address in (first, second):
            links.add_address("a0", address, ipaddress.ip_network(network).prefixlen - 1)
    host.lab.a.run(["ip", "route", "add", network, "dev", "a0", "src", first])
    becomes(lambda: finds(peer) == first, "the preferred source is another")
    host.lab.a.run(["ip", "route", "change", network, "dev", "a0", "src", second])
    found = []

    def changed() -> bool:
        found.append(finds(peer))
        return found[-1] == second

    becomes(changed, "the old source is still there")
    assert set(found) <= {first, second}  # there was a route all the time
    becomes(vouches, "there is no voucher")


def test_many_routes_of_one_source_are_few(host: Host) -> None:
    script = "".join(f"route add 10.{n}.0.0/16 via 10.9.0.2\n" for n in range(100, 220))
    host.lab.a.run(["ip", "route", "add", "default", "via", "10.9.0.2"])
    host.lab.a.run(["ip", "-batch", "-"], input=script)
    becomes(lambda: finds("192.0.2.1") == "10.9.0.1", "the default route is missing")
    becomes(vouches, "there is no voucher")
    assert len(host.lab.a.run(["ip", "route", "show", "table", TABLE]).stdout.splitlines()) <= 4


def test_routes_of_others_that_change_all_the_time_are_looked_at_now_and_then(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = keeper.Keeper._look

    def count(*args: object) -> list[str]:
        nonlocal looks
        looks += 1
        return look(*args)  # type: ignore[arg-type]

    becomes(vouches, "it does not vouch")
    monkeypatch.setattr(keeper.Keeper, "_look", count)
    route = Route(ipaddress.ip_network("10.77.0.0/16"), MAIN, device=socket.if_nametoindex(host.lab.a.device))
    began = time.monotonic()
    with RoutingSocket() as routing:
        while time.monotonic() < began + 4 * keeper._CALM:
            routing.add_route(route)
            routing.remove_route(route)
    took = time.monotonic() - began
    # Where it finds something to repair it looks again, some times.
    assert looks <= keeper._ROUNDS * (took / keeper._CALM + 2)
    # What else is changed is looked at at once.
    host.lab.a.run(["ip", "rule", "del", "priority", "57", "oif", NAME])
    becomes(lambda: f"oif {NAME}" in host.lab.a.run(["ip", "rule"]).stdout, "it was not put back")
    assert vouches()


def test_what_can_wait(lab: Lab) -> None:
    own = table_of(DEFAULT)

    def minor(kind: int, payload: memoryview) -> bool:
        table = table_of_change(kind, payload)
        return table is not None and table != own

    device = socket.if_nametoindex(lab.a.device)
    # What the kernel does of a device's coming up later, by work queues, ends with its own address's route.
    wait_for_address(lab.a, "local fe80:")
    with (
        Notifications(NETLINK_ROUTE, ROUTE_GROUPS, minor) as told,
        RoutingSocket() as routing,
        LinkSocket() as links,
    ):
        for family in ("10.77.0.0/16", "fd77::/64"):
            network = ipaddress.ip_network(family)
            assert told.drain() is Change.NONE
            for table, change in ((MAIN, Change.MINOR), (77777, Change.MINOR), (own, Change.MAJOR)):
                route = Route(network, table, device=device, metric=5)
                routing.add_route(route)
                assert told.drain() is change
                routing.remove_route(route)
                assert told.drain() is change
            routing.add_route(Route(network, MAIN, device=device, metric=5))
            links.set_up("lo", up=False)
            assert told.drain() is Change.MAJOR
            links.set_up("lo")
            told.drain()
            routing.remove_route(Route(network, MAIN, device=device, metric=5))
            assert told.drain() is Change.MINOR
        # What was too much for the queue may have been anything.
        told._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for _ in range(100):
            route = Route(ipaddress.ip_network("10.77.0.0/16"), MAIN, device=device)
            routing.add_route(route)
            routing.remove_route(route)
        assert told.drain() is Change.MAJOR


def test_the_kernel_is_asked_for_sources(host: Host) -> None:
    assert source_of(ipaddress.ip_address("10.9.0.2"), DEFAULT.mark) == ipaddress.ip_address("10.9.0.1")
    with RoutingSocket() as routing:
        assert any(
            isinstance(route, Route) and str(route.destination) == "10.9.0.0/24"
            for route in routing.routes(socket.AF_INET, MAIN)
        )


def test_who_has_the_queues_is_told(lab: Lab) -> None:
    told: list[tuple[int, int]] = []
    device = Device.create(DEFAULT)
    kept = Keeper(device, on_replaced=lambda each: told.append((each.ifindex, len(each.queues))))
    try:
        kept.start()
        kept.wait()
        assert told == []
        lab.a.run(["ip", "link", "del", NAME])
        becomes(lambda: told == [(device.ifindex, 2)] and vouches(), "nobody was told")
    finally:
        kept.remove()
        device.remove()


def test_a_keeper_that_fails_does_not_vouch(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> list[str]:
        raise RuntimeError("a fault of its own")

    monkeypatch.setattr(keeper.Keeper, "_look", fail)
    host.lab.a.run(["nft", "-f", "-"], input="table ip mine { chain c { }; }")
    becomes(lambda: said() == "", "the voucher is still there")
    becomes(lambda: host.keeper.faults == ["the keeper ended: a fault of its own"], "it does not say so")
