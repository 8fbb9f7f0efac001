"""`wsasec init`: certificates for hosts, of a CA for the lab."""

from __future__ import annotations

import argparse
import ipaddress
import shlex
import sys
from pathlib import Path
from typing import Final

__all__ = ["add"]

_DESCRIPTION: Final = """\
Make what two hosts need to know each other: a CA, and for each host a key, a certificate and the file
wsasec.toml. On the first host:

  wsasec init ca
  wsasec init host a.example
  wsasec up

For the second one, on the first, and then, with the bundle copied to it, on the second:

  wsasec init host b.example --bundle b.tar
  wsasec init import b.tar
  wsasec up

A file that is there already is never written over.
"""
_FOLDER: Final = "/etc/wsasec"
_CA_FOLDER: Final = "/etc/wsasec/ca"
_MISSING: Final = "the package 'cryptography' is missing: pip install 'wsasec[keys]'"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    if sys.platform == "win32":
        verb = subparsers.add_parser("init", help="for Linux: Windows has a certificate store")
        verb.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        verb.set_defaults(run=_refuse)
        return
    verb = subparsers.add_parser(
        "init",
        help="make a CA for a lab, and certificates for hosts",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = verb.add_subparsers(metavar="WHAT", required=True)

    ca = verbs.add_parser("ca", help="make a CA for a lab")
    ca.add_argument(
        "--folder", type=Path, default=_CA_FOLDER, metavar="DIR", help=f"of the CA ({_CA_FOLDER})"
    )
    ca.add_argument(
        "--name", type=_common_name, default="wsasec CA", metavar="N", help="of the CA (wsasec CA)"
    )
    ca.add_argument("--days", type=_days, default=3650, metavar="N", help="how long it counts (3650)")
    ca.set_defaults(run=_caught, what=_ca)

    host = verbs.add_parser("host", help="make a key and a certificate for a host, and its wsasec.toml")
    host.add_argument("name", type=_host_name, metavar="NAME", help="its DNS name")
    host.add_argument(
        "--address",
        type=_address,
        action="append",
        default=[],
        metavar="A",
        help="an address to have in the certificate, too; may be said more than once",
    )
    host.add_argument("--days", type=_days, default=397, metavar="N", help="how long it counts (397)")
    _add_ca_folder(host)
    where = host.add_mutually_exclusive_group()
    where.add_argument(
        "--folder", type=Path, default=_FOLDER, metavar="DIR", help=f"that gets the files ({_FOLDER})"
    )
    where.add_argument(
        "--bundle", type=Path, metavar="FILE", help="for another host: one file, for `init import`"
    )
    host.set_defaults(run=_caught, what=_host)

    bundle = verbs.add_parser("import", help="put the files of a bundle in their places")
    bundle.add_argument("bundle", type=Path, metavar="FILE", help="of `wsasec init host --bundle`")
    bundle.add_argument(
        "--folder", type=Path, default=_FOLDER, metavar="DIR", help=f"that gets the files ({_FOLDER})"
    )
    bundle.set_defaults(run=_caught, what=_import)

    revoke = verbs.add_parser("revoke", help="let a host's certificate count no more")
    revoke.add_argument("name", type=_host_name, metavar="NAME", help="the host's DNS name")
    _add_ca_folder(revoke)
    revoke.set_defaults(run=_caught, what=_revoke)


def _add_ca_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ca-folder", type=Path, default=_CA_FOLDER, metavar="DIR", help=f"of the CA ({_CA_FOLDER})"
    )


def _refuse(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - whatever is wanted of it
    print("wsasec init: it is for Linux; Windows has its certificates in a store of its own", file=sys.stderr)
    return 1


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 5 and 1 <= int(text) <= 36500):
        raise argparse.ArgumentTypeError(f"{text} is not a number of days from 1 to 36500")
    return int(text)


def _common_name(text: str) -> str:
    if not 1 <= len(text) <= 64 or not text.isprintable():
        raise argparse.ArgumentTypeError("a name has 1 to 64 characters that can be printed")
    return text


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        if "%" in text:
            raise ValueError("an address of one link only")
        return ipaddress.ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address of IPv4 or IPv6") from None


def _host_name(text: str) -> str:
    from ..config.names import host_name

    try:
        return host_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _caught(arguments: argparse.Namespace) -> int:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        print(f"wsasec init: {_MISSING}", file=sys.stderr)
        return 1
    try:
        said: list[str] = arguments.what(arguments)
    except OSError as error:
        print(f"wsasec init: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"wsasec init: {error}", file=sys.stderr)
        return 1
    print("\n".join(said))
    return 0


def _command(*words: str | Path) -> str:
    return "  wsasec " + shlex.join(str(word) for word in words)


def _up(folder: Path) -> list[str]:
    if folder == Path(_FOLDER):
        return ["next:", _command("up")]
    return ["next:", f"  WSASEC_CONFIG={shlex.quote(str(folder.absolute() / 'wsasec.toml'))} wsasec up"]


def _ca(arguments: argparse.Namespace) -> list[str]:
    from ..config.authority import make_authority

    make_authority(arguments.folder, arguments.name, arguments.days)
    other = [] if arguments.folder == Path(_CA_FOLDER) else ["--ca-folder", arguments.folder]
    return [
        f"made the CA {arguments.name!r} in {arguments.folder}; whoever has ca.key of it can be any host",
        "next, with the name of this host:",
        _command("init", "host", "a.example", *other),
    ]


def _host(arguments: argparse.Namespace) -> list[str]:
    from ..config.authority import Authority
    from ..config.host import check_free, install, write_bundle
    from ..config.new_files import refuse_existing

    authority = Authority(arguments.ca_folder)
    if arguments.bundle is None:
        check_free(arguments.folder)
    else:
        refuse_existing([arguments.bundle])
    if not authority.certificate.exists():
        raise ValueError(f"{authority.certificate}: there is no CA; `wsasec init ca` makes one")
    credentials = authority.issue(arguments.name, arguments.address, arguments.days)
    try:
        if arguments.bundle is None:
            install(arguments.folder, credentials)
        else:
            write_bundle(arguments.bundle, credentials)
    except BaseException:
        authority.forget(arguments.name)
        raise
    made = f"made a certificate for {arguments.name}, until {credentials.until:%Y-%m-%d}"
    if arguments.bundle is None:
        return [f"{made}; this host is set up in {arguments.folder}", *_up(arguments.folder)]
    return [
        f"{made}; all that the host needs is in {arguments.bundle}, its key, too",
        f"next, with {arguments.bundle.name} copied to {arguments.name} in a safe way, there:",
        _command("init", "import", arguments.bundle.name),
        "and then here:",
        "  " + shlex.join(["rm", str(arguments.bundle)]),
    ]


def _import(arguments: argparse.Namespace) -> list[str]:
    from ..config.host import check_free, install, read_bundle

    check_free(arguments.folder)
    credentials = read_bundle(arguments.bundle)
    install(arguments.folder, credentials)
    return [
        f"this host is set up in {arguments.folder}, with a certificate until {credentials.until:%Y-%m-%d}",
        "the bundle has the key, and is not needed any more:",
        "  " + shlex.join(["rm", str(arguments.bundle)]),
        *_up(arguments.folder),
    ]


def _revoke(arguments: argparse.Namespace) -> list[str]:
    from ..config.authority import Authority

    authority = Authority(arguments.ca_folder)
    authority.revoke(arguments.name)
    return [
        f"the certificate of {arguments.name} counts no more, for hosts that have the new {authority.crl}",
        f"next, with it copied to {_FOLDER}/ca.crl of every host, there:",
        _command("reload"),
    ]
