"""A handler for each kind of question."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from .. import _wsasec
from ..config.access import may_use
from ..config.accounts import account_of
from ..config.model import Config
from ..kernel.options import netns_cookie
from ..keys.associations import Address
from ..keys.programs import Program
from ..keys.reason import Reason
from ..keys.verdict import Association, Verdict, failed
from .codes import NOT_A_SOCKET, STEP_DAEMON
from .local_accounts import local_account
from .messages import (
    MalformedError,
    encode_account,
    encode_association,
    encode_secured,
    encode_verdict,
    read_question,
    refuse_all,
)
from .protocol import VERDICT, AbortFlag, Kind, NameFlag
from .server import Asked, Later

__all__ = ["Brain", "Questions"]

_LONGEST_SECONDS: Final = 60.0
_NOT_A_SOCKET: Final = VERDICT.pack(-10038, NOT_A_SOCKET, STEP_DAEMON, b"")


class Brain(Protocol):
    """What `wsasec.keys.negotiator.Negotiator` has, and says what it does."""

    def verify(self, fd: int, peer: Address | None, deadline: float) -> Verdict:
        """NEGOTIATE."""

    def hold(self, fd: int) -> Verdict:
        """HOLD."""

    def set_name(
        self, fd: int, peer: Address | None, name: str, flags: NameFlag, program: Program, deadline: float
    ) -> Verdict:
        """SET_NAME."""

    def delete_name(self, fd: int, peer: Address | None) -> Verdict:
        """DELETE_NAME."""

    def program_ended(self, program: Program) -> None:
        """Forget the names of a program."""

    def association_of(
        self, fd: int, peer: Address | None, deadline: float, abort: AbortFlag = AbortFlag.NONE
    ) -> Association:
        """QUERY."""

    def identity_of(self, fd: int, peer: Address | None, deadline: float) -> tuple[Verdict, str]:
        """ACCOUNT."""


class Questions:
    """Answers questions about sockets of this network namespace.

    Attributes:
        config: whose rules hold; another one may be put in its place at any time.
        swap: held while sockets are secured: whoever changes the profiles in use holds it, too.
    """

    def __init__(
        self,
        config: Config,
        brain: Brain,
        control: Callable[[Asked], bytes | Later],
        closing: Callable[[], None],
    ) -> None:
        """Describe it; in the network namespace of the calling thread.

        Args:
            config: see above.
            brain: who negotiates and knows names.
            control: answers CONTROL.
            closing: has the brain end what waits for it.

        Raises:
            OSError: the kernel has no IPv4 and no IPv6.
        """
        self.config = config
        self.swap = threading.Lock()
        self._brain = brain
        self._closing = closing
        self._here = _a_socket()
        self._cookie = netns_cookie(self._here)
        self._kinds: dict[Kind, Callable[[Asked], bytes | Later]] = {
            Kind.SECURE: self._secure,
            Kind.NEGOTIATE: self._negotiate,
            Kind.SET_NAME: self._set_name,
            Kind.DELETE_NAME: self._delete_name,
            Kind.HOLD: self._hold,
            Kind.QUERY: self._query,
            Kind.ACCOUNT: self._account,
            Kind.CONTROL: control,
        }

    def answer(self, asked: Asked) -> bytes | Later:
        """See `server.Handler`."""
        return self._kinds[asked.header.kind](asked)

    def ended(self, program: Program) -> None:
        """See `server.Handler`."""
        self._brain.program_ended(program)

    def closing(self) -> None:
        """See `server.Handler`."""
        self._closing()
        self._here.close()

    def _secure(self, asked: Asked) -> bytes:
        """Secure sockets: at once, as a message's worth takes 2 ms."""
        count = len(asked.descriptors)
        if not count:
            raise MalformedError("no sockets to secure")
        with self.swap:
            profile = _wsasec.settings_profile(asked.body)
            caller = asked.caller
            # Of wrong settings the core says what is wrong, and nothing is done.
            if profile is not None and not may_use(self.config.access, caller.uid, caller.gids, profile):
                return refuse_all(count, Reason.NOT_ALLOWED)
            codes, first = _wsasec.secure_raw(asked.descriptors.numbers, asked.body, self._here)
        return encode_secured(codes.tobytes(), first)

    def _refused(self, asked: Asked) -> bytes | None:
        """Return what is to be said if the descriptor cannot be asked about."""
        if len(asked.descriptors) != 1:
            raise MalformedError("not one descriptor")
        try:
            sock = socket.socket(fileno=asked.descriptors.numbers[0])
        except OSError:
            return _NOT_A_SOCKET
        try:
            if sock.family not in (socket.AF_INET, socket.AF_INET6):
                return _NOT_A_SOCKET
            if netns_cookie(sock) != self._cookie:
                return encode_verdict(Verdict(Reason.DAEMON_NAMESPACE), STEP_DAEMON)
        finally:
            sock.detach()
        return None

    def _about_one(
        self,
        asked: Asked,
        ask: Callable[[int, Address | None, float], bytes],
        refuse: Callable[[bytes], bytes] = bytes,
    ) -> bytes | Later:
        """Have a question about one socket answered in another thread.

        Args:
            asked: the question.
            ask: called with descriptor, peer and deadline.
            refuse: makes the answer of a verdict's bytes.
        """
        question = read_question(bytes(asked.body))
        refused = self._refused(asked)
        if refused is not None:
            return refuse(refused)
        longest = max(_LONGEST_SECONDS, self.config.first_seconds)
        deadline = time.monotonic() + min(question.seconds, longest)
        fd = asked.descriptors.numbers[0]
        return lambda: ask(fd, question.peer, deadline)

    def _negotiate(self, asked: Asked) -> bytes | Later:
        brain = self._brain
        return self._about_one(
            asked, lambda fd, peer, deadline: encode_verdict(brain.verify(fd, peer, deadline))
        )

    def _set_name(self, asked: Asked) -> bytes | Later:
        brain = self._brain
        question = read_question(bytes(asked.body))
        refused = self._refused(asked)
        if refused is not None:
            return refused
        try:
            program = asked.program()
        except OSError:
            why = "the program is of another process namespace"
            return encode_verdict(Verdict(Reason.NOT_ALLOWED, why), STEP_DAEMON)
        return self._about_one(
            asked,
            lambda fd, peer, deadline: encode_verdict(
                brain.set_name(fd, peer, question.name, question.flags, program, deadline)
            ),
        )

    def _delete_name(self, asked: Asked) -> bytes | Later:
        brain = self._brain
        return self._about_one(
            asked, lambda fd, peer, _: encode_verdict(brain.delete_name(fd, peer), STEP_DAEMON)
        )

    def _hold(self, asked: Asked) -> bytes | Later:
        brain = self._brain
        return self._about_one(asked, lambda fd, _peer, _: encode_verdict(brain.hold(fd), STEP_DAEMON))

    def _query(self, asked: Asked) -> bytes | Later:
        brain = self._brain
        abort = read_question(bytes(asked.body)).abort
        return self._about_one(
            asked,
            lambda fd, peer, deadline: encode_association(brain.association_of(fd, peer, deadline, abort)),
            lambda verdict: verdict + encode_association(Association())[len(verdict) :],
        )

    def _account(self, asked: Asked) -> bytes | Later:
        return self._about_one(
            asked,
            self._find_account,
            lambda verdict: verdict + encode_account(failed(Reason.NO_ACCOUNT))[len(verdict) :],
        )

    def _find_account(self, fd: int, peer: Address | None, deadline: float) -> bytes:
        verdict, identity = self._brain.identity_of(fd, peer, deadline)
        if not verdict.good:
            return encode_account(verdict)
        rules = self.config.accounts
        names: list[str] = []
        if any(rule.domain is not None for rule in rules):
            found = self._brain.association_of(fd, peer, deadline)
            if found.certificate and found.identity == identity:
                names = _dns_names(found.certificate)
        name = account_of(rules, identity, names)
        if name is None:
            return encode_account(failed(Reason.NO_ACCOUNT, f"identity '{identity}'"), identity=identity)
        try:
            account = local_account(name)
        except LookupError as error:
            return encode_account(failed(Reason.NO_ACCOUNT, str(error.args[0])), identity=identity)
        return encode_account(verdict, account.uid, account.gid, account.groups, account.name, identity)


def _a_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError:
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)


def _dns_names(certificate: bytes) -> list[str]:
    """Return the DNS names of a certificate, DER; what cannot be read has none."""
    from cryptography import x509

    try:
        found = x509.load_der_x509_certificate(certificate).extensions
        names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return []
    return names.get_values_for_type(x509.DNSName)
