"""Build of the extension; everything else is in pyproject.toml."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

PLATFORM = "windows" if sys.platform == "win32" else "linux"
ABI = "0x030B0000"  # Python 3.11

MSVC = os.name == "nt"
WERROR = os.environ.get("WSASEC_WERROR") == "1"

C_FLAGS = (
    ["/std:c11", "/experimental:c11atomics"]
    if MSVC
    else [
        "-std=c11",
        "-fvisibility=hidden",
        "-U_FORTIFY_SOURCE",
        "-D_FORTIFY_SOURCE=2",
        "-fstack-protector-strong",
        "-fstack-clash-protection",
        "-fcf-protection",
        "-Wall",
        "-Wextra",
        *(["-Werror"] if WERROR else []),
    ]
)
LINK_FLAGS = [] if MSVC else ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
MACROS: list[tuple[str, str | None]] = [("Py_LIMITED_API", ABI), ("CYTHON_LIMITED_API", "1")]
if not MSVC:
    MACROS += [("_DEFAULT_SOURCE", None)]


def sources(*folders: str) -> list[str]:
    """Name the C files of the folders, in one order everywhere."""
    return sorted(path.as_posix() for folder in folders for path in Path(folder).glob("*.c"))


def found_liburing() -> list[str] | None:
    """Name what to link for io_uring; None without liburing.

    The static library, so that the wheel needs no other package, or else the shared one. With WSASEC_URING=0
    in the environment it is not looked for; with WSASEC_URING=1 it must be there.
    """
    wanted = os.environ.get("WSASEC_URING")
    if wanted == "0":
        return None
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    header = subprocess.run(
        [*compiler, "-E", "-include", "liburing.h", "-x", "c", os.devnull], capture_output=True, check=False
    )
    for name in ("liburing.a", "liburing.so"):
        path = subprocess.run(
            [*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False
        )
        if header.returncode == 0 and Path(path.stdout.strip()).is_absolute():
            return [path.stdout.strip()]
    if wanted == "1":
        sys.exit("WSASEC_URING=1, but there is no liburing: apt-get install liburing-dev")
    return None


HEADERS = sorted(path.as_posix() for folder in ("include", "src") for path in Path(folder).rglob("*.h"))
OTHERS = sources("src/linux/uring", "src/linux/no_uring")  # one of them is not built
CYTHON = ["src/_wsasec.pyx", *sorted(path.as_posix() for path in Path("src/boundary").glob("*.pxi"))]


def extension(name: str, files: list[str]) -> Extension:
    """Describe an extension with the flags that all of ours share."""
    return Extension(
        name,
        files,
        include_dirs=["include"],
        define_macros=MACROS,
        extra_compile_args=C_FLAGS,
        extra_link_args=LINK_FLAGS,
        py_limited_api=True,
        depends=[*HEADERS, *OTHERS, *CYTHON],  # what else the source distribution needs
    )


floor = extension("wsasec.bench._floor", ["bench/floor.c"])
wsasec = extension(
    "wsasec._wsasec", ["src/_wsasec.pyx", *sources("src/core", f"src/{PLATFORM}", f"src/{PLATFORM}/load")]
)
if PLATFORM == "linux":
    liburing = found_liburing()
    wsasec.sources += sources("src/linux/no_uring" if liburing is None else "src/linux/uring")
    wsasec.extra_objects += liburing or []
    wsasec.extra_link_args += ["-Wl,--exclude-libs,ALL"]

setup(
    ext_modules=[
        *cythonize([wsasec], build_dir="build/cython", compiler_directives={"language_level": "3"}),
        *([floor] if PLATFORM == "linux" else []),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
