"""What charon lists, as data."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Final

from .associations import Address, Certificate, ChildSa, Event, IkeSa
from .connections import group_of
from .messages import MessageError, Section, section, text, texts

__all__ = ["certificate", "child_sa", "event", "ike_sas"]

_ASKING: Final = {"CHILD_CREATE", "QUICK_MODE"}
"""charon's tasks by which it asks a peer for a pair: of IKEv2, and of IKEv1."""


def _number(message: Section, name: str, base: int = 10) -> int:
    value = text(message, name, "0")
    try:
        return int(value, base)
    except ValueError as error:
        raise MessageError(f"{name} is not a number") from error


def _time(message: Section, name: str) -> int | None:
    return _number(message, name) if name in message else None


def _address(message: Section, name: str) -> Address:
    try:
        return ipaddress.ip_address(text(message, name))
    except ValueError as error:
        raise MessageError(f"{name} is not an address") from error


def child_sa(name: str, message: Section) -> ChildSa:
    """Return a child SA. Raises MessageError."""
    return ChildSa(
        name=text(message, "name", name),
        unique_id=_number(message, "uniqueid"),
        state=text(message, "state"),
        reqid=_number(message, "reqid"),
        mode=text(message, "mode"),
        protocol=text(message, "protocol"),
        spi_in=_number(message, "spi-in", 16),
        spi_out=_number(message, "spi-out", 16),
        encryption=text(message, "encr-alg"),
        encryption_bits=_number(message, "encr-keysize"),
        integrity=text(message, "integ-alg"),
        dh_group=text(message, "dh-group"),
        esn=_number(message, "esn") != 0,
        bytes_in=_number(message, "bytes-in"),
        bytes_out=_number(message, "bytes-out"),
        packets_in=_number(message, "packets-in"),
        packets_out=_number(message, "packets-out"),
        age=_number(message, "install-time"),
        rekey_in=_time(message, "rekey-time"),
        life_in=_time(message, "life-time"),
        local_ts=texts(message, "local-ts"),
        remote_ts=texts(message, "remote-ts"),
        in_udp=text(message, "encap") == "yes",
    )


def _ike_sa(name: str, message: Section) -> IkeSa:
    children = section(message, "child-sas")
    return IkeSa(
        connection=name,
        group=group_of(name) or "",
        unique_id=_number(message, "uniqueid"),
        state=text(message, "state"),
        version=_number(message, "version"),
        initiator=text(message, "initiator") == "yes",
        local=_address(message, "local-host"),
        remote=_address(message, "remote-host"),
        local_id=text(message, "local-id"),
        remote_id=text(message, "remote-id"),
        encryption=text(message, "encr-alg"),
        encryption_bits=_number(message, "encr-keysize"),
        integrity=text(message, "integ-alg"),
        prf=text(message, "prf-alg"),
        dh_group=text(message, "dh-group"),
        age=_number(message, "established"),
        rekey_in=_time(message, "rekey-time"),
        children=tuple(
            child_sa(child, section(children, child))
            for child in children
            # A rekeyed one comes as a section with the old and the new.
            if "uniqueid" in section(children, child)
        ),
        ports=(_number(message, "local-port"), _number(message, "remote-port")),
        spis=(_number(message, "initiator-spi", 16), _number(message, "responder-spi", 16)),
        asking=not _ASKING.isdisjoint(texts(message, "tasks-queued") + texts(message, "tasks-active")),
    )


def ike_sas(message: Section) -> list[IkeSa]:
    """Return our IKE SAs of a list-sas event: those whose connection has our prefix. Raises MessageError."""
    return [
        _ike_sa(name, section(message, name))
        for name, value in message.items()
        if isinstance(value, dict) and group_of(name) is not None
    ]


def certificate(message: Section) -> Certificate | None:
    """Return the certificate of a list-cert event; None if it is not X.509 itself. Raises MessageError."""
    if text(message, "type").upper() != "X509":
        return None
    data = message.get("data", b"")
    if not isinstance(data, bytes):
        raise MessageError("data is not a value")
    return Certificate(
        der=data,
        ca=text(message, "flag").upper() == "CA",
        own=text(message, "has_privkey") == "yes",
    )


def event(kind: str, message: Section) -> Event | None:
    """Return an event about one of our IKE SAs; None for others'. Raises MessageError."""
    up = text(message, "up") == "yes"
    for name, value in message.items():
        if not isinstance(value, dict) or group_of(name) is None:
            continue
        if kind == "ike-rekey":
            old = _number(section(value, "old"), "uniqueid")
            return Event(kind, True, _ike_sa(name, section(value, "new")), old)
        ike = _ike_sa(name, value)
        if kind == "ike-update":
            ends = _address(message, "local-host"), _address(message, "remote-host")
            return Event(kind, True, replace(ike, local=ends[0], remote=ends[1]))
        if kind != "child-rekey":
            return Event(kind, up, ike)
        pairs = section(value, "child-sas")
        olds, news = (
            tuple(child_sa(n, section(section(pairs, n), which)) for n in pairs) for which in ("old", "new")
        )
        return Event(kind, True, replace(ike, children=news), 0, olds)
    return None
