"""One IPsec policy of the system for all traffic between the two hosts, as an administrator sets it up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wsasec.lab import Lab, LabError, Namespace

__all__ = ["one_policy_for_all"]


def _rules(lab: Lab, here: Namespace, there: Namespace) -> list[tuple[str, str, str]]:
    """Return the selectors and the template of a host: out, and in."""
    template = f"tmpl proto esp mode transport reqid {lab.profile.reqid}"
    return [
        (here.v4, there.v4, f"dir out {template}"),
        (there.v4, here.v4, f"dir in {template}"),
    ]


def _ip(host: Namespace, lines: Sequence[str], *, check: bool = True) -> None:
    try:
        host.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", check=check)
    except subprocess.CalledProcessError as error:
        raise LabError(f"ip could not change the policies of the system: {error.stderr.strip()}") from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise LabError(f"ip could not change the policies of the system: {error}") from error


@contextmanager
def one_policy_for_all(lab: Lab) -> Iterator[None]:
    """Let all IPv4 packets between the hosts, of any socket, need the lab's associations.

    Raises:
        LabError: `ip` failed, or there is none.
    """
    ends = ((lab.a, lab.b), (lab.b, lab.a))
    try:
        for here, there in ends:
            lines = [
                f"xfrm policy add src {src} dst {dst} {rest}" for src, dst, rest in _rules(lab, here, there)
            ]
            _ip(here, lines)
        yield
    finally:
        for here, there in ends:
            lines = [
                f"xfrm policy delete src {src} dst {dst} {rest.split(' tmpl')[0]}"
                for src, dst, rest in _rules(lab, here, there)
            ]
            # What was not added cannot be deleted.
            _ip(here, lines, check=False)
