"""IPsec policies for ``AuthipQMPolicyKey`` and ``AuthipMMPolicyKey``, and the associations that came of them.

with wsasec.policy.Session() as session:
    proposal = QuickModeProposal(Encryption.AES_GCM_256, lifetime_seconds=3600)
    key = session.add(QuickModePolicy("strong", (proposal,)))
    wsasec.secure(sock, wsasec.IpsecSettings(qm_policy=key))

Windows: provider contexts of the Windows Filtering Platform (fwpmtypes.h, ipsectypes.h, iketypes.h); it takes
an administrator, and the service BFE. Linux: profiles of the key daemon's configuration; it takes root,
and the daemon of ``wsasec up``. Quick-mode policies are added; main modes are those of its file.
"""

from .algorithms import (
    Direction,
    Encryption,
    Exchange,
    Group,
    Impersonation,
    Integrity,
    MainModeFlags,
    Method,
    Protocol,
    QuickModeFlags,
    Roots,
)
from .associations import IkeAssociation, SecurityAssociation
from .authentication import Authentication
from .known import WINDOWS_VISTA_DEFAULT, PolicyPair, named
from .policies import MainModePolicy, Policy, QuickModePolicy
from .proposals import MainModeProposal, Proposal, QuickModeProposal, Transform
from .session import Session

__all__ = [
    "WINDOWS_VISTA_DEFAULT",
    "Authentication",
    "Direction",
    "Encryption",
    "Exchange",
    "Group",
    "IkeAssociation",
    "Impersonation",
    "Integrity",
    "MainModeFlags",
    "MainModePolicy",
    "MainModeProposal",
    "Method",
    "Policy",
    "PolicyPair",
    "Proposal",
    "Protocol",
    "QuickModeFlags",
    "QuickModePolicy",
    "QuickModeProposal",
    "Roots",
    "SecurityAssociation",
    "Session",
    "Transform",
    "named",
]
