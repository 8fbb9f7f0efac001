"""Two hosts, each with a charon, in the lab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from certificates import Authority, Files
from daemon_hosts import Host, two_hosts
from ike_hosts import host

from wsasec.config.model import KeyProfile
from wsasec.keys.associations import Address
from wsasec.keys.ike import Ike
from wsasec.lab import Lab


@dataclass(frozen=True)
class Pair:
    """The lab, its two hosts, and their addresses in the family of the test."""

    lab: Lab
    a: Ike
    b: Ike
    v4: tuple[Address, Address]
    v6: tuple[Address, Address]


@dataclass(frozen=True)
class Papers:
    """Certificates: of the two hosts, by one CA; and of a CA that nobody believes."""

    folder: Path
    ca: Authority
    rogue: Authority
    a: Files
    b: Files


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    ca, rogue = Authority(folder, "ca"), Authority(folder, "rogue")
    b = ca.issue("b.example", ["b.example", "alias.example", "host/b.example"])
    return Papers(folder, ca, rogue, ca.issue("a.example"), b)


@pytest.fixture
def pair(no_namespaces: None, deadline: None, tmp_path: Path) -> Callable[..., AbstractContextManager[Pair]]:
    """Return what makes two hosts of their profiles: one, or several, for each."""

    @contextmanager
    def make(
        a: KeyProfile | list[KeyProfile], b: KeyProfile | list[KeyProfile], **rest: object
    ) -> Iterator[Pair]:
        of_a, of_b = (each if isinstance(each, list) else [each] for each in (a, b))
        with (
            Lab(keys=False) as lab,
            host(lab.a, tmp_path, *of_a, **rest) as on_a,
            host(lab.b, tmp_path, *of_b, **rest) as on_b,
        ):
            v4, v6 = (
                (ip_address(first), ip_address(second))
                for first, second in ((lab.a.v4, lab.b.v4), (lab.a.v6, lab.b.v6))
            )
            yield Pair(lab, on_a, on_b, v4, v6)

    return make


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that other users can go through, as they cannot through pytest's own."""
    with TemporaryDirectory(prefix="wsasec-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def hosts(
    no_namespaces: None, deadline: None, passable: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Lab, Host, Host]]:
    """Two hosts with a configuration each; `wsasec up` is the test's."""
    monkeypatch.setenv("WSASEC_RUN", str(passable / "run"))
    with two_hosts(passable) as made:
        yield made
