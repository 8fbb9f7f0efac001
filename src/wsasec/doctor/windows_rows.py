"""From facts about Windows to rows: what is well, what is missing, and the command that gets it."""

from __future__ import annotations

from typing import Final

from .report import Report, Row, State, python_row
from .services import Service
from .windows_facts import LIBRARY, Facts, Trial

__all__ = ["judge"]

_WORK: Final = {
    "BFE": "has Windows' filters, those of IPsec too",
    "IKEEXT": "agrees on keys with other hosts",
    "PolicyAgent": "brings the IPsec policies into force",
}


def judge(facts: Facts, program: str = "wsasec") -> Report:  # noqa: ARG001 - as on Linux; no command has it
    """Make the report.

    Args:
        facts: what was found.
        program: how wsasec was called.
    """
    trials = [_trial(facts, trial) for trial in facts.trials]
    ready = any(row.state is State.OK for row in trials)
    services = [_service(facts, service, ready=ready) for service in facts.services]
    rows = (_system(facts), _library(facts), *trials, *services, python_row(facts.build))
    return Report(facts.build.wsasec, ready, rows, _summary(facts, ready=ready))


def _summary(facts: Facts, *, ready: bool) -> str:
    if not ready:
        return "Sockets cannot be secured here."
    idle = [service.name for service in facts.services if service.state not in ("running", None)]
    if idle:
        return f"Sockets can be secured here; not all services of IPsec run: {', '.join(idle)}."
    return "Sockets can be secured here."


def _system(facts: Facts) -> Row:
    system = facts.system
    if system.wine is None:
        return Row("system.release", State.OK, f"Windows {system.windows}")
    return Row(
        "system.release",
        State.WARN,
        f"Wine {system.wine}, as Windows {system.windows}: it has no IPsec of its own",
    )


def _library(facts: Facts) -> Row:
    tried = [trial for trial in facts.trials if trial.made]
    for trial in tried:
        if trial.step == LIBRARY:
            return Row("library", State.MISSING, f"{LIBRARY}: {trial.why}; {trial.hint}")
    if not tried:
        return Row("library", State.WARN, f"{LIBRARY} cannot be asked: there are no sockets")
    return Row("library", State.OK, f"{LIBRARY} has the functions")


def _trial(facts: Facts, trial: Trial) -> Row:
    name = f"socket.{trial.family}"
    if not trial.made:
        return Row(name, State.WARN, f"no sockets of this family: {trial.why}")
    if trial.why is None:
        return Row(name, State.OK, "one was secured, and closed again")
    if trial.step == LIBRARY:
        return Row(name, State.MISSING, f"cannot be secured without {LIBRARY}")
    command = next(filter(None, map(_start, facts.services)), None)
    return Row(name, State.MISSING, f"cannot be secured: {trial.why}; {trial.hint}", command)


def _start(service: Service) -> str | None:
    """Return the next command on the way to a running service, for an administrator's prompt."""
    if service.disabled:
        return f"sc.exe config {service.name} start= demand"
    return f"sc.exe start {service.name}" if service.state == "stopped" else None


def _service(facts: Facts, service: Service, *, ready: bool) -> Row:
    name = f"service.{service.name}"
    work = _WORK.get(service.name, "")
    if service.state is None:
        return Row(name, State.WARN, f"could not be asked: {service.why}")
    if service.state == "running":
        return Row(name, State.OK, f"running: {work}")
    # Windows starts some of them when there is work: what counts is whether sockets can be secured.
    state = State.WARN if ready else State.MISSING
    if service.state == "absent":
        where = "this Wine has" if facts.system.wine else "this system has"
        return Row(name, state, f"{where} no such service: it {work}")
    disabled = " and disabled" if service.disabled else ""
    return Row(name, state, f"{service.state}{disabled}: it {work}", _start(service))
