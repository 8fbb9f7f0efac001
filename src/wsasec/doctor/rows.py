"""From facts about Linux to rows: what is well, what is missing, and the command that gets it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .facts import Answer, Facts, Guard, Sysctl
from .report import Report, Row, State, python_row

__all__ = ["judge"]

# Of `wsasec._wsasec.guard_state`.
_POLICY_FOREIGN: Final = 2
_REFLECT_OFF: Final = 4
_SA_UNMARKED: Final = 8
_DEVICE_MISSING: Final = 16
_DEVICE_DOWN: Final = 32
_DEVICE_OTHER: Final = 128
_MANY_SOCKETS: Final = 16_384
_NO_QUESTION: Final = "needs CAP_NET_ADMIN to ask"
_ANYWHERE: Final = {"ipv4": "0.0.0.0/0", "ipv6": "::/0"}
_SYNCOOKIES: Final = {
    "0": "0: none are sent",
    "1": "1: sent when a queue is full; the guard covers what follows from them",
    "2": "2: always sent; the guard covers what follows from them",
}


def judge(facts: Facts, program: str = "wsasec") -> Report:
    """Make the report.

    Args:
        facts: what was found.
        program: how wsasec was called, for the commands.
    """
    rows = (
        *_kernel(facts, program),
        _privileges(facts, program),
        _profiles(facts),
        *(_guard(facts, guard, program) for guard in facts.guards),
        _engine(facts),
        _plugin(facts),
        *_sysctls(facts),
        _limit(facts),
        _ike(facts),
        *_keys(facts, program),
        _guest(facts),
        python_row(facts.build),
    )
    essential = [row for row in rows if row.id in ("privileges", "profiles")]
    if _by_policy(facts):
        essential += [row for row in rows if row.id == "kernel.socket-policy"]
    essential += [row for row in rows if row.id.startswith("guard.")]
    ready = bool(facts.guards) and all(row.state is State.OK for row in essential)
    return Report(facts.build.wsasec, ready, rows, _summary(facts, rows, ready=ready))


def _by_policy(facts: Facts) -> bool:
    """Whether the kernel's own IPsec carries any profile."""
    return not facts.guards or any(guard.carrier != "device" for guard in facts.guards)


def _summary(facts: Facts, rows: Iterable[Row], *, ready: bool) -> str:
    if not ready:
        return "Sockets cannot be secured here."
    if _by_policy(facts) and any(
        row.id in ("kernel.esp4", "kernel.esp6") and row.state is State.MISSING for row in rows
    ):
        return "Sockets can be secured here, but nothing can be sent on them: the kernel has no ESP."
    return "Sockets can be secured here."


def _granted(facts: Facts) -> bool:
    """Whether this process may configure IPsec in its network namespace; the kernel's word goes first."""
    return facts.privileges.net_admin and not any(answer.refused for answer in facts.kernel.answers.values())


def _as_administrator(facts: Facts, command: str) -> str:
    """Return a command for the system itself, also as seen from a user namespace."""
    return command if facts.privileges.administrator else f"sudo {command}"


def _in_namespace(facts: Facts, command: str) -> str:
    """Return a command for the present network namespace."""
    return command if _granted(facts) else f"sudo {command}"


def _install(facts: Facts, *packages: str) -> str:
    return _as_administrator(facts, f"apt-get install {' '.join(packages)}")


def _kernel(facts: Facts, program: str) -> Iterator[Row]:
    yield Row("kernel.release", State.OK, facts.kernel.release)
    # A guest kernel has all of it; modules need no command, as asking loads them.
    elsewhere = f"{program} lab run -- COMMAND"
    meaning = {
        "socket-policy": (State.MISSING, "no (CONFIG_XFRM_USER): sockets cannot be secured", elsewhere),
        "esp4": (State.MISSING, "no (CONFIG_INET_ESP): nothing can be sent on secured sockets", elsewhere),
        "esp6": (State.MISSING, "no (CONFIG_INET6_ESP): nothing can be sent on secured sockets", elsewhere),
        "ah4": (State.WARN, "no (CONFIG_INET_AH); profiles use ESP", None),
        "ah6": (State.WARN, "no (CONFIG_INET6_AH); profiles use ESP", None),
        "aes-gcm": (State.MISSING, "no (CONFIG_CRYPTO_GCM, or no ESP)", elsewhere),
    }
    for name, answer in facts.kernel.answers.items():
        if answer.value is None:
            yield Row(f"kernel.{name}", State.WARN, _unasked(answer))
        elif answer.value:
            yield Row(f"kernel.{name}", State.OK, "yes")
        else:
            yield Row(f"kernel.{name}", *meaning[name])


def _unasked(answer: Answer) -> str:
    return _NO_QUESTION if answer.refused else f"cannot be asked: {answer.why}"


def _privileges(facts: Facts, program: str) -> Row:
    privileges = facts.privileges
    if _granted(facts):
        return Row("privileges", State.OK, "CAP_NET_ADMIN in this network namespace")
    lack = (
        "CAP_NET_ADMIN does not reach this network namespace" if privileges.net_admin else "no CAP_NET_ADMIN"
    )
    if privileges.namespaces:
        return Row(
            "privileges",
            State.MISSING,
            f"{lack}; user namespaces are available: root of one may secure sockets in it",
            f"unshare -Urn {program} doctor",
        )
    why = f" (sysctl {privileges.obstacle})" if privileges.obstacle else ""
    return Row("privileges", State.MISSING, f"{lack}, and no user namespaces{why}", f"sudo {program} doctor")


def _profiles(facts: Facts) -> Row:
    found = facts.profiles
    if found.error is not None:
        return Row("profiles", State.MISSING, found.error)
    names = ", ".join(
        profile.name
        + (" (default)" if profile.name == found.default else "")
        + ("" if profile.encrypting else " (integrity only)")
        for profile in found.profiles
    )
    detail = f"{names}; from {', '.join(found.files) or 'no file, built in'}"
    if not found.weak:
        return Row("profiles", State.OK, detail)
    weak = "; ".join(f"{name} is weak: {', '.join(words)}" for name, words in found.weak)
    return Row("profiles", State.WARN, f"{detail}; {weak}")


def _reflect(facts: Facts, family: str) -> Sysctl | None:
    return facts.sysctls.get(f"net.{family}.fwmark_reflect")


def _device(facts: Facts, guard: Guard, name: str, program: str) -> Row:
    """Judge the secure device of a profile, whose state is known."""
    device, state = guard.profile.device, guard.state or 0
    if state == 0:
        return Row(name, State.OK, f"{device} is up, and vouched for")
    if state & _DEVICE_MISSING:
        return Row(name, State.MISSING, f"{device} is not there", _as_administrator(facts, f"{program} up"))
    if state & _DEVICE_OTHER:
        why = f"{device} is another's, or no secure device"
        return Row(name, State.MISSING, why, f"ip -details link show {device}")
    if state & _DEVICE_DOWN:
        return Row(name, State.MISSING, f"{device} is down", _as_administrator(facts, f"{program} up"))
    if state & ~_REFLECT_OFF:
        why = f"nobody vouches for the rules around {device} as they are now"
        return Row(name, State.MISSING, why, _as_administrator(facts, f"{program} status"))
    sysctl = f"net.{guard.family}.fwmark_reflect"
    return Row(name, State.MISSING, f"{sysctl} is off", _as_administrator(facts, f"sysctl -w {sysctl}=1"))


def _engine(facts: Facts) -> Row:
    lack = "; ".join(facts.without_engine)
    if not lack:
        return Row("engine", State.OK, "what secure devices need is there")
    if all(profile.carrier == "policy" for profile in facts.profiles.profiles):
        return Row("engine", State.WARN, f"{lack}; no profile needs it")
    return Row("engine", State.MISSING, lack, _as_administrator(facts, "modprobe --all tun nf_tables"))


def _plugin(facts: Facts) -> Row:
    plugin = facts.plugin
    if plugin.path is not None and plugin.built_for is not None:
        detail = f"{plugin.path}, for strongSwan {plugin.built_for}"
        if plugin.installed == plugin.built_for:
            return Row("plugin", State.OK, f"{detail}, which is installed")
        if plugin.installed is None:
            return Row("plugin", State.WARN, f"{detail}; it is not known which one is installed")
        lack = f"{detail}, and {plugin.installed} is installed: it is to be built and installed anew"
    elif plugin.path is not None:
        lack = f"{plugin.path} does not say for which strongSwan it is: it is to be built and installed anew"
    else:
        lack = plugin.why
    needed = any(profile.carrier == "device" for profile in facts.profiles.profiles)
    if needed or any(guard.carrier == "device" for guard in facts.guards):
        return Row("plugin", State.MISSING, lack, "make charon-plugin")
    return Row("plugin", State.WARN, f"{lack}; no profile needs it", "make charon-plugin")


def _guard(facts: Facts, guard: Guard, program: str) -> Row:
    name = f"guard.{guard.profile.name}.{guard.family}"
    if guard.state is None:
        why = f"cannot be asked: {guard.why}" if _granted(facts) else _NO_QUESTION
        return Row(name, State.WARN, why)
    if guard.carrier == "device":
        return _device(facts, guard, name, program)
    if guard.state == 0:
        return Row(name, State.OK, "up")
    mark = f"mark {guard.profile.mark:#x} mask {guard.profile.mask:#x}"
    if guard.state & _POLICY_FOREIGN:
        anywhere = _ANYWHERE[guard.family]
        return Row(
            name,
            State.MISSING,
            f"another policy has {mark}",
            _in_namespace(facts, f"ip xfrm policy delete src {anywhere} dst {anywhere} dir out {mark}"),
        )
    if guard.state & _SA_UNMARKED:
        return Row(
            name,
            State.MISSING,
            f"an inbound SA does not set the mark: add it again with output-{mark} (strongSwan: set_mark_in)",
            _in_namespace(facts, f"ip xfrm state list reqid {guard.profile.reqid}"),
        )
    reflect = _reflect(facts, guard.family)
    if guard.state & _REFLECT_OFF and not (reflect and reflect.writable):
        sysctl = f"net.{guard.family}.fwmark_reflect"
        return Row(
            name,
            State.MISSING,
            f"cannot be put up: {sysctl} is off and cannot be set from here",
            _as_administrator(facts, f"sysctl -w {sysctl}=1"),
        )
    return Row(name, State.OK, "not yet up: the first secure() puts it up")


def _sysctls(facts: Facts) -> Iterator[Row]:
    for sysctl in facts.sysctls.values():
        yield Row(f"sysctl.{sysctl.name}", *_meaning(facts, sysctl))


def _meaning(facts: Facts, sysctl: Sysctl) -> tuple[State, str, str | None]:
    if sysctl.value is None:
        absent = "IPv6 is off" if sysctl.name.startswith("net.ipv6.") else "not on this system"
        return State.WARN, absent, None
    if sysctl.name.endswith(".fwmark_reflect"):
        if sysctl.value == "1":
            return State.OK, "1", None
        if not _granted(facts):
            return State.WARN, f"{sysctl.value}: setting it needs CAP_NET_ADMIN", None
        if sysctl.writable:
            return State.OK, f"{sysctl.value}: the first secure() sets it", None
        command = _as_administrator(facts, f"sysctl -w {sysctl.name}=1")
        return State.MISSING, f"{sysctl.value}, and cannot be set from here", command
    if sysctl.name.endswith(".tcp_syncookies"):
        return State.OK, _SYNCOOKIES.get(sysctl.value, sysctl.value), None
    # disable_xfrm and disable_policy
    if sysctl.value == "0":
        return State.OK, "0", None
    return State.OK, f"{sysctl.value}: system policies do not apply on lo; socket policies do", None


def _count(limit: int | None) -> str:
    return "no limit" if limit is None else f"{limit:,}"


def _limit(facts: Facts) -> Row:
    soft, hard = facts.limit.soft, facts.limit.hard
    numbers = f"soft {_count(soft)}, hard {_count(hard)}"
    if soft is None or soft >= _MANY_SOCKETS:
        return Row("limit.nofile", State.OK, numbers)
    if hard is None or hard >= _MANY_SOCKETS:
        return Row("limit.nofile", State.OK, f"{numbers}: a process may raise its own")
    command = _as_administrator(facts, f"prlimit --pid $$ --nofile={4 * _MANY_SOCKETS}")
    return Row("limit.nofile", State.WARN, f"{numbers}: too few for 15,000 sockets", command)


def _ike(facts: Facts) -> Row:
    ike = facts.ike
    if ike.program is None:
        return Row(
            "ike",
            State.WARN,
            "no strongSwan: SAs must come from elsewhere; the lab makes its own",
            _install(facts, "strongswan-charon", "strongswan-swanctl", "libstrongswan-standard-plugins"),
        )
    if ike.vici is not None:
        return Row(
            "ike",
            State.OK,
            f"charon runs, VICI at {ike.vici}: to share it, [daemon] vici is to be unix://{ike.vici}",
        )
    return Row("ike", State.OK, f"{ike.program}, which wsasec up starts")


def _keys(facts: Facts, program: str) -> Iterator[Row]:
    missing = facts.keys.packages
    if missing:
        yield Row(
            "vici",
            State.WARN,
            f"wsasec up needs Python's {' and '.join(missing)}",
            "pip install 'wsasec[keys]'",
        )
    else:
        yield Row("vici", State.OK, "what wsasec up needs of Python is there")
    if facts.keys.process is not None:
        yield Row("daemon", State.OK, f"up, process {facts.keys.process}")
    else:
        command = _as_administrator(facts, f"{program} up")
        yield Row("daemon", State.WARN, "not up: no keys are negotiated in this network namespace", command)


def _guest(facts: Facts) -> Row:
    guest = facts.guest
    if not guest.packages:
        return Row("guest", State.OK, f"{guest.kernel}, modules in {guest.modules}")
    esp = all(facts.kernel.answers[name].value for name in ("esp4", "esp6", "aes-gcm"))
    need = "not needed: this kernel has ESP" if esp else "the lab needs it: this kernel has no ESP"
    return Row(
        "guest",
        State.OK if esp else State.MISSING,
        f"not installed: {', '.join(guest.packages)}; {need}",
        _install(facts, *guest.packages),
    )
