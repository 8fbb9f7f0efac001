"""The numbers of policies, by name: algorithms are this library's, the rest is Windows'."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Encryption(IntEnum):
    """Ciphers. What the system reports and is none of these is an int of 0x10000 and more."""

    NONE = 0
    DES = 1
    TRIPLE_DES = 2
    AES_128 = 3
    """AES in CBC mode, as the next two."""
    AES_192 = 4
    AES_256 = 5
    AES_GCM_128 = 6
    """With its own integrity and a tag of 16 bytes, as the next two."""
    AES_GCM_192 = 7
    """Quick mode only."""
    AES_GCM_256 = 8


class Integrity(IntEnum):
    """Hashes for HMAC, cut to 96 bits (MD5, SHA1) or 128 (SHA256) in quick modes; and AES-GMAC."""

    NONE = 0
    """Or that of AES-GCM."""
    MD5 = 1
    SHA1 = 2
    SHA256 = 3
    SHA384 = 4
    """Main mode only."""
    AES_GMAC_128 = 5
    """Quick mode only, as the next two; without encryption."""
    AES_GMAC_192 = 6
    AES_GMAC_256 = 7


class Group(IntEnum):
    """Groups of key exchanges."""

    NONE = 0
    MODP_768 = 1
    MODP_1024 = 2
    MODP_2048 = 3
    ECP_256 = 4
    ECP_384 = 5
    MODP_2048_256 = 6
    """Group 24 (RFC 5114)."""
    MAIN_MODE = 7
    """Quick mode only: a new main mode each time, with its group."""


class Protocol(IntEnum):
    """What carries the traffic."""

    ESP = 1
    AH = 2
    ESP_FIRST_PACKET = 3
    """Only the first packet is protected (IPSEC_TRANSFORM_ESP_AUTH_FW)."""


class Exchange(IntEnum):
    """The protocol that negotiates; the numbers are those of IKEEXT_KEY_MODULE_TYPE."""

    IKE = 0
    AUTHIP = 1
    """What the policy keys of sockets are for."""
    IKEV2 = 2
    """Main mode only."""


class Method(IntEnum):
    """IKEEXT_AUTHENTICATION_METHOD_TYPE (iketypes.h)."""

    PRESHARED_KEY = 0
    CERTIFICATE = 1
    KERBEROS = 2
    ANONYMOUS = 3
    """Nobody proves anything: there is no defence against a man in the middle."""
    SSL = 4
    NTLM_V2 = 5
    IPV6_CGA = 6
    CERTIFICATE_ECDSA_P256 = 7
    CERTIFICATE_ECDSA_P384 = 8
    SSL_ECDSA_P256 = 9
    SSL_ECDSA_P384 = 10
    EAP = 11


class Roots(IntEnum):
    """IKEEXT_CERT_CONFIG_TYPE (iketypes.h): which root certificates are trusted."""

    EXPLICIT = 0
    """A list, which is empty in policies that are added here."""
    ENTERPRISE_STORE = 1
    TRUSTED_ROOT_STORE = 2
    UNSPECIFIED = 3


class Impersonation(IntEnum):
    """IKEEXT_AUTHENTICATION_IMPERSONATION_TYPE (iketypes.h)."""

    NONE = 0
    SOCKET_PRINCIPAL = 1


class Direction(IntEnum):
    """FWP_DIRECTION (fwptypes.h)."""

    OUTBOUND = 0
    INBOUND = 1


class MainModeFlags(IntFlag):
    """IKEEXT_POLICY_FLAG_... (iketypes.h)."""

    NONE = 0
    DISABLE_DIAGNOSTICS = 0x1
    NO_MACHINE_LUID_VERIFY = 0x2
    NO_IMPERSONATION_LUID_VERIFY = 0x4
    ENABLE_OPTIONAL_DH = 0x8


class QuickModeFlags(IntFlag):
    """IPSEC_POLICY_FLAG_... of transport policies (ipsectypes.h)."""

    NONE = 0
    ND_SECURE = 0x2
    """Negotiation discovery, with inbound traffic in clear refused."""
    ND_BOUNDARY = 0x4
    """Negotiation discovery, with inbound traffic in clear allowed."""
    NAT_ENCAP_ALLOW_PEER_BEHIND_NAT = 0x10
    NAT_ENCAP_ALLOW_GENERAL_NAT_TRAVERSAL = 0x20
    DONT_NEGOTIATE_SECOND_LIFETIME = 0x40
    DONT_NEGOTIATE_BYTE_LIFETIME = 0x80
