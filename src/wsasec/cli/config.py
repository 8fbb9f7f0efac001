"""`wsasec config`: what compilers and linkers of C programs need to know."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from .. import get_include, get_library_dir

__all__ = ["add"]

_EPILOG: Final = "example: cc program.c $(wsasec config --cflags --libs)"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    verb = subparsers.add_parser(
        "config",
        help="flags for C compilers and linkers",
        description="Print the flags by which C programs use wsasec, on one line. Extension modules of "
        "Python, in C or Cython, need --cflags only.",
        epilog=_EPILOG,
    )
    verb.add_argument("--cflags", action="store_true", help="where the headers are")
    verb.add_argument("--libs", action="store_true", help="the static library, and what it needs")
    verb.add_argument("--pkgconfigdir", action="store_true", help="a folder for PKG_CONFIG_PATH")
    verb.set_defaults(run=_run, verb=verb)


def _libraries(folder: Path) -> list[str]:
    """Return the linker's flags as the build wrote them down; on Windows by what it made."""
    if sys.platform == "win32":
        if (folder / "wsasec.lib").is_file():  # Microsoft's compiler
            return [str(folder / "wsasec.lib"), "ws2_32.lib"]
        return [f"-L{folder}", "-lwsasec", "-lws2_32"]
    for line in (folder / "pkgconfig/wsasec.pc").read_text().splitlines():
        if line.startswith("Libs:"):
            flags = line.removeprefix("Libs:").split()
            return [f"-L{folder}" if flag.startswith("-L") else flag for flag in flags]
    raise FileNotFoundError(f"no libraries are named in {folder}/pkgconfig/wsasec.pc")


def _pkgconfig(folder: Path) -> Path:
    if not (folder / "pkgconfig").is_dir():
        raise FileNotFoundError("wsasec was installed without its file for pkg-config, which is for Linux")
    return folder / "pkgconfig"


def _run(arguments: argparse.Namespace) -> int:
    words = []
    try:
        if arguments.cflags:
            words.append(f"-I{get_include()}")
        if arguments.libs:
            words += _libraries(Path(get_library_dir()))
        if arguments.pkgconfigdir:
            words.append(str(_pkgconfig(Path(get_library_dir()))))
    except OSError as error:
        print(f"wsasec config: {error}", file=sys.stderr)
        return 1
    if not words:
        arguments.verb.error("one of --cflags, --libs, --pkgconfigdir is wanted")
    print(subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words))
    return 0
