"""Build of the extension; everything else is in pyproject.toml."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

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


# What older ones lack.
NEEDED_OF_LIBURING = """\
#include <liburing.h>
static int flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_OP_URING_CMD;
void use(struct io_uring_sqe *entry)
{
    io_uring_prep_socket(entry, 0, 0, 0, flags);
    io_uring_sqe_set_data64(entry, 0);
}
"""


def found_liburing() -> list[str] | None:
    """Name what to link for io_uring; None without liburing, or with one that is older than 2.3.

    The static library, so that the wheel needs no other package, or else the shared one. With WSASEC_URING=0
    in the environment it is not looked for; with WSASEC_URING=1 it must be there.
    """
    wanted = os.environ.get("WSASEC_URING")
    if wanted == "0":
        return None
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    header = subprocess.run(
        [*compiler, "-fsyntax-only", "-Werror", "-x", "c", "-"],
        input=NEEDED_OF_LIBURING,
        text=True,
        capture_output=True,
        check=False,
    )
    for name in ("liburing.a", "liburing.so"):
        path = subprocess.run(
            [*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False
        )
        if header.returncode == 0 and Path(path.stdout.strip()).is_absolute():
            return [path.stdout.strip()]
    if wanted == "1":
        sys.exit(f"WSASEC_URING=1, but liburing-dev is missing, or older than 2.3\n{header.stderr}")
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


PKG_CONFIG = """\
prefix=${{pcfiledir}}/../..

Name: wsasec
Description: IPsec for single sockets
Version: {version}
Cflags: -I${{prefix}}/include
Libs: -L${{prefix}}/lib -lwsasec {libraries}
"""


class BuildExt(build_ext):
    """Packs the C code of the extension into a static library as well, for programs without Python."""

    def build_extension(self, ext: Extension) -> None:
        """Build an extension, and the library from its object files."""
        super().build_extension(ext)
        if ext.name != "wsasec._wsasec":
            return
        folder = Path(self.get_ext_fullpath(ext.name)).parent / "lib"
        # Or members that are no more, or twice of one name, would stay as they were.
        (folder / "libwsasec.a").unlink(missing_ok=True)
        own = [source for source in ext.sources if source.endswith(".c") and source.startswith("src/")]
        objects = self.compiler.object_filenames(own, output_dir=self.build_temp)
        self.compiler.create_static_lib(objects, "wsasec", output_dir=str(folder))
        if MSVC:
            return
        # The debugger's data is most of the size, and of no use without the sources.
        subprocess.run(["strip", "--strip-debug", str(folder / "libwsasec.a")], check=True)
        shared = [library for library in ext.extra_objects if library.endswith(".so")]
        if ext.extra_objects and not shared:
            script = f"open {folder}/libwsasec.a\naddlib {ext.extra_objects[0]}\nsave\nend\n"
            subprocess.run(["ar", "-M"], input=script, text=True, check=True)
        libraries = "-pthread -luring" if shared else "-pthread"
        (folder / "pkgconfig").mkdir(exist_ok=True)
        (folder / "pkgconfig/wsasec.pc").write_text(
            PKG_CONFIG.format(version=self.distribution.get_version(), libraries=libraries)
        )


wsasec = extension(
    "wsasec._wsasec", ["src/_wsasec.pyx", *sources("src/core", f"src/{PLATFORM}", f"src/{PLATFORM}/load")]
)
if PLATFORM == "linux":
    liburing = found_liburing()
    wsasec.sources += sources("src/linux/no_uring" if liburing is None else "src/linux/uring")
    wsasec.extra_objects += liburing or []
    wsasec.extra_link_args += ["-Wl,--exclude-libs,ALL"]
floor = extension("wsasec.bench.baselines._floor", ["bench/baselines/floor.c"])

setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        *cythonize([wsasec], build_dir="build/cython", compiler_directives={"language_level": "3"}),
        *([floor] if PLATFORM == "linux" else []),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
