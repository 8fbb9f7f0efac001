"""Build of the extension; everything else is in pyproject.toml."""

import os
import sys
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


HEADERS = sorted(path.as_posix() for folder in ("include", "src") for path in Path(folder).rglob("*.h"))


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
        depends=[*HEADERS, "src/_wsasec.pyx"],  # what else the source distribution needs
    )


wsasec = extension("wsasec._wsasec", ["src/_wsasec.pyx", *sources("src/core", f"src/{PLATFORM}")])
if PLATFORM == "linux":
    wsasec.sources += sources("src/linux/no_uring")
floor = extension("wsasec.bench._floor", ["bench/floor.c"])

setup(
    ext_modules=[
        *cythonize([wsasec], build_dir="build/cython", compiler_directives={"language_level": "3"}),
        *([floor] if PLATFORM == "linux" else []),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
