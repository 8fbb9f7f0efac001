"""Two hosts, each with a charon, in the lab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from certificates import Authority, Files
from daemon_hosts import Host, open_folder, two_hosts
from ike_hosts import certified, host, key_profile

from wsasec.config.model import KeyProfile, Trust
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


@contextmanager
def open_pair(
    folder: Path, a: KeyProfile | list[KeyProfile], b: KeyProfile | list[KeyProfile], **rest: object
) -> Iterator[Pair]:
    """Make two hosts of their profiles: one, or several, for each."""
    of_a, of_b = (each if isinstance(each, list) else [each] for each in (a, b))
    with (
        Lab(keys=False) as lab,
        host(lab.a, folder, *of_a, **rest) as on_a,
        host(lab.b, folder, *of_b, **rest) as on_b,
    ):
        v4, v6 = (
            (ip_address(first), ip_address(second))
            for first, second in ((lab.a.v4, lab.b.v4), (lab.a.v6, lab.b.v6))
        )
        yield Pair(lab, on_a, on_b, v4, v6)


@pytest.fixture
def pair(no_namespaces: None, deadline: None, tmp_path: Path) -> Callable[..., AbstractContextManager[Pair]]:
    """Return what makes two hosts; see `open_pair`."""
    return partial(open_pair, tmp_path)


@pytest.fixture(scope="module")
def lasting_pair(esp: None, papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two hosts with certificates, for all tests of a file: most take less time than to start a charon."""
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    folder = tmp_path_factory.mktemp("hosts") / "any # name"
    folder.mkdir()
    with open_pair(folder, key_profile(a, trust), key_profile(b, trust)) as made:
        yield made


@pytest.fixture
def passable() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def hosts(
    no_namespaces: None, deadline: None, passable: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Lab, Host, Host]]:
    """Two hosts with a configuration each; `wsasec up` is the test's."""
    monkeypatch.setenv("WSASEC_RUN", str(passable / "run"))
    with two_hosts(passable) as made:
        yield made
