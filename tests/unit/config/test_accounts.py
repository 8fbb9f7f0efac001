"""Which local account stands for a peer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.config.accounts import account_of
from wsasec.config.model import Account

RULES = [
    Account("lab", domain="Lab.example"),
    Account("deep", domain="deep.lab.example"),
    Account("bob", identity="b.lab.example"),
    Account("bob2", identity="b.lab.example"),
    Account("carol", identity="C=CH, CN=carol"),
]


@pytest.mark.parametrize(
    ("identity", "names", "account"),
    [
        ("b.lab.example", ["b.lab.example"], "bob"),  # the whole identity, before the domain above it
        ("B.lab.example", [], None),
        ("xb.lab.example", [], None),
        ("C=CH, CN=carol", [], "carol"),
        ("C=CH, CN=carol, O=x", [], None),
        ("a", ["a.lab.example"], "lab"),
        ("a", ["A.LAB.EXAMPLE"], "lab"),
        ("a", ["other", "x.y.lab.example"], "lab"),
        ("a", ["x.deep.lab.example"], "lab"),  # the first that fits
        ("a", ["lab.example"], None),  # below the domain only
        ("a", ["xlab.example"], None),
        ("a", ["a.lab.example.org"], None),
        ("a", ["a.lab.example."], None),
        ("a", [".lab.example"], None),
        ("a", ["*.lab.example"], None),
        ("a", ["evil\0.lab.example"], None),
        ("a", ["a.lab.example\n"], None),
        ("a", ["evil/.lab.example"], None),
        ("a.lab.example", [], None),  # an identity is no name of the certificate
        ("", [""], None),
    ],
)
def test_accounts(identity: str, names: list[str], account: str | None) -> None:
    assert account_of(RULES, identity, names) == account


@given(st.text(), st.lists(st.text()))
def test_nobody_by_default(identity: str, names: list[str]) -> None:
    assert account_of([], identity, names) is None


@given(st.text(st.sampled_from("blaexmp.*"), max_size=20))
def test_no_substrings(name: str) -> None:
    found = account_of(RULES, name, [name])
    if found == "lab":
        assert name.endswith(".lab.example")
    else:
        assert found == ("bob" if name == "b.lab.example" else None)
