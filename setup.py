"""Build of the extension; everything else is in pyproject.toml."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# A cross build says by the suffix of extension modules that it is for Windows.
CROSS = sys.platform != "win32" and os.environ.get("SETUPTOOLS_EXT_SUFFIX") == ".pyd"
PLATFORM = "windows" if sys.platform == "win32" or CROSS else "linux"
ABI = "0x030B0000"  # Python 3.11

WERROR = os.environ.get("WSASEC_WERROR") == "1"

MACROS: list[tuple[str, str | None]] = [("Py_LIMITED_API", ABI), ("CYTHON_LIMITED_API", "1")]
if PLATFORM == "windows":
    MACROS += [("_WIN32_WINNT", "0x0A00")]
else:
    MACROS += [("_DEFAULT_SOURCE", None)]


def flags_of(compiler: str) -> tuple[list[str], list[str]]:
    """Return the flags to compile and to link with, by the name that setuptools has for the compiler."""
    if compiler == "msvc":
        # Without whole-program optimization, which setuptools turns on: other versions of the compiler could
        # not link the library of objects that are made for it.
        return (
            ["/std:c11", "/experimental:c11atomics", "/guard:cf", "/GL-", *(["/WX"] if WERROR else [])],
            ["/guard:cf", "/DYNAMICBASE", "/NXCOMPAT", "/HIGHENTROPYVA"],
        )
    warnings = ["-std=c11", "-Wall", "-Wextra", *(["-Werror"] if WERROR else [])]
    if PLATFORM == "windows":
        # Without the library of gcc, and that of its stack protector, which are no part of Windows.
        return (
            # setuptools gives this compiler -O only. Cython asks whether a long is out of a Py_ssize_t's
            # range, which there none can be.
            [*warnings, "-Wno-type-limits", "-O2", "-fcf-protection=none"],
            ["-static-libgcc", "-Wl,--dynamicbase,--nxcompat,--high-entropy-va"],
        )
    return (
        [
            *warnings,
            "-fvisibility=hidden",
            "-U_FORTIFY_SOURCE",
            "-D_FORTIFY_SOURCE=2",
            "-fstack-protector-strong",
            "-fstack-clash-protection",
            "-fcf-protection",
        ],
        ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"],
    )


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


def compiler_command() -> list[str]:
    """Name the compiler that extensions are built with."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def found_liburing() -> list[str] | None:
    """Name what to link for io_uring; None without liburing, or with one that is older than 2.3.

    The static library, so that the wheel needs no other package, or else the shared one. With WSASEC_URING=0
    in the environment it is not looked for; with WSASEC_URING=1 it must be there.
    """
    wanted = os.environ.get("WSASEC_URING")
    if wanted == "0":
        return None
    header = subprocess.run(
        [*compiler_command(), "-fsyntax-only", "-Werror", "-x", "c", "-"],
        input=NEEDED_OF_LIBURING,
        text=True,
        capture_output=True,
        check=False,
    )
    for name in ("liburing.a", "liburing.so"):
        path = subprocess.run(
            [*compiler_command(), f"-print-file-name={name}"], capture_output=True, text=True, check=False
        )
        if header.returncode == 0 and Path(path.stdout.strip()).is_absolute():
            return [path.stdout.strip()]
    if wanted == "1":
        sys.exit(f"WSASEC_URING=1, but liburing-dev is missing, or older than 2.3\n{header.stderr}")
    return None


# What the engine needs: the library of OpenSSL 3, and its headers.
NEEDED_OF_OPENSSL = """\
#include <openssl/opensslv.h>
#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error older than OpenSSL 3
#endif
int main(void) { return 0; }
"""

NEEDED_OF_IPSEC_MB = """\
#include <intel-ipsec-mb.h>
#if IMB_VERSION_NUM < IMB_VERSION(1, 3, 0)
#error older than 1.3
#endif
int main(void) { return 0; }
"""


def links(program: str, *libraries: str) -> str | None:
    """Return what the compiler says against the program; None if it is compiled and linked."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [*compiler_command(), "-x", "c", "-", "-o", f"{folder}/program", "-x", "none", *libraries],
            input=program,
            text=True,
            capture_output=True,
            check=False,
        )
    return done.stderr or "it fails" if done.returncode else None


def found_for_engine() -> tuple[list[str], list[tuple[str, str | None]]] | None:
    """Name what to link for the engine, and its macros; None: it cannot be built, and the wheel is without.

    ipsec-mb (its static library, so that the wheel needs no other package) where it is there. With
    WSASEC_IPSEC_MB=0 in the environment it is not looked for; with 1 it must be there. With WSASEC_ENGINE=0
    there is no engine; with 1 it must be there.
    """
    wanted = os.environ.get("WSASEC_ENGINE")
    if wanted == "0":
        return None
    fault = links(NEEDED_OF_OPENSSL, "-lcrypto")
    if fault is not None:
        reason = "libssl-dev is missing, or older than 3.0"
        if wanted == "1":
            sys.exit(f"WSASEC_ENGINE=1, but {reason}\n{fault}")
        sys.stderr.write(f"wsasec is built without its engine: {reason}\n")
        return None
    libraries = ["-lcrypto", "-pthread"]
    wanted = os.environ.get("WSASEC_IPSEC_MB")
    if wanted == "0":
        return libraries, []
    fault = links(NEEDED_OF_IPSEC_MB, "-l:libIPSec_MB.a")
    if fault is None:
        return ["-l:libIPSec_MB.a", *libraries], [("WSE_HAVE_IPSEC_MB", "1")]
    if wanted == "1":
        sys.exit(f"WSASEC_IPSEC_MB=1, but libipsec-mb-dev is missing, or older than 1.3\n{fault}")
    return libraries, []


HEADERS = sorted(path.as_posix() for folder in ("include", "src") for path in Path(folder).rglob("*.h"))
ENGINE = sources("src/engine")
TLS_STREAM = "bench/baselines/tls_stream.c"
OTHERS = [*sources("src/linux/uring", "src/no_ring"), *ENGINE]  # not all of them are built
CYTHON = ["src/_wsasec.pyx", *sorted(path.as_posix() for path in Path("src/boundary").glob("*.pxi"))]


def extension(name: str, files: list[str]) -> Extension:
    """Describe an extension with the flags that all of ours share."""
    return Extension(
        name,
        files,
        include_dirs=["include"],
        define_macros=MACROS,
        # In a cross build setuptools would name the file as Linux does; the suffix is given there.
        py_limited_api=not CROSS,
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


VERSION_RESOURCE = """\
#include <winver.h>
VS_VERSION_INFO VERSIONINFO
FILEVERSION {numbers}
PRODUCTVERSION {numbers}
FILEOS VOS_NT_WINDOWS32
FILETYPE VFT_DLL
{{
 BLOCK "StringFileInfo"
 {{
  BLOCK "040904B0"
  {{
   VALUE "FileDescription", "wsasec: IPsec for single sockets"
   VALUE "FileVersion", "{version}"
   VALUE "InternalName", "_wsasec"
   VALUE "LegalCopyright", "Apache License 2.0"
   VALUE "OriginalFilename", "_wsasec.pyd"
   VALUE "ProductName", "wsasec"
   VALUE "ProductVersion", "{version}"
  }}
 }}
 BLOCK "VarFileInfo"
 {{
  VALUE "Translation", 0x409, 1200
 }}
}}
"""


class BuildExt(build_ext):
    """Packs the C code of the extension into a static library as well, for programs without Python."""

    def build_extensions(self) -> None:
        """Build all, with the flags that the compiler knows."""
        compile_flags, link_flags = flags_of(self.compiler.compiler_type)
        for ext in self.extensions:
            ext.extra_compile_args = [*compile_flags, *ext.extra_compile_args]
            ext.extra_link_args = [*link_flags, *ext.extra_link_args]
            if PLATFORM == "windows":
                # Python.h has MSVC link python3.dll. For others setuptools names the DLL of one version: this
                # comes first.
                stable = [] if self.compiler.compiler_type == "msvc" else ["python3"]
                ext.libraries = [*ext.libraries, "ws2_32", *stable]
                self.add_version(ext)
        super().build_extensions()
        if PLATFORM == "linux":
            self.build_engine()
            # The TLS in C of the benchmark, which does without where it cannot be built.
            fault = links(NEEDED_OF_OPENSSL, "-lssl", "-lcrypto")
            program = self.place_of("wsasec.bench.baselines.tls-stream")
            if fault is None:
                self.build_program(program, [TLS_STREAM], [("_GNU_SOURCE", None)], ["-lssl", "-lcrypto"])

    def build_engine(self) -> None:
        """Build the program wsasec-engine, a file of the package wsasec.engine."""
        found = found_for_engine()
        program = self.place_of("wsasec.engine.wsasec-engine")
        if found is None:
            return
        libraries, macros = found
        macros = [
            *macros,
            ("_GNU_SOURCE", None),
            ("WSASEC_VERSION", f'"{self.distribution.get_version()}"'),
        ]
        self.build_program(program, ENGINE, macros, libraries)

    def place_of(self, name: str) -> Path:
        """Return where a program of a package belongs, where an older one is no more."""
        program = Path(self.get_ext_fullpath(name)).with_name(name.rpartition(".")[2])
        program.unlink(missing_ok=True)
        return program

    def build_program(
        self, program: Path, files: list[str], macros: list[tuple[str, str | None]], libraries: list[str]
    ) -> None:
        """Build a program, with the flags of the extensions."""
        compile_flags, link_flags = flags_of(self.compiler.compiler_type)
        objects = self.compiler.compile(
            files,
            output_dir=self.build_temp,
            macros=macros,
            include_dirs=["include", "src/engine"],
            extra_preargs=[*compile_flags, "-fPIE", "-pthread"],
            depends=HEADERS,
        )
        program.parent.mkdir(parents=True, exist_ok=True)
        # Not setuptools' own way to link: that is for programs that embed Python.
        subprocess.run(
            [*compiler_command(), "-pie", *link_flags, *objects, "-o", str(program), *libraries], check=True
        )
        subprocess.run(["strip", str(program)], check=True)

    def tool(self, name: str) -> str:
        """Name a tool of the compiler's: with the same prefix."""
        compiler = Path(shlex.split(os.environ.get("CC") or "gcc")[0]).name
        return compiler[: compiler.rindex("gcc")] + name if CROSS and compiler.endswith("gcc") else name

    def add_version(self, ext: Extension) -> None:
        """Have the version in the file's properties."""
        version = self.distribution.get_version()
        numbers = [part for part in version.split(".") if part.isdecimal()]
        script = Path(self.build_temp, f"{ext.name}.rc")
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(
            VERSION_RESOURCE.format(version=version, numbers=",".join([*numbers, "0", "0", "0", "0"][:4]))
        )
        if self.compiler.compiler_type == "msvc":
            ext.sources = [*ext.sources, str(script)]
            return
        compiled = script.with_suffix(".res.o")
        subprocess.run([self.tool("windres"), str(script), str(compiled)], check=True)
        ext.extra_objects = [*ext.extra_objects, str(compiled)]

    def build_extension(self, ext: Extension) -> None:
        """Build an extension, and the library from its object files."""
        super().build_extension(ext)
        if ext.name != "wsasec._wsasec":
            return
        folder = Path(self.get_ext_fullpath(ext.name)).parent / "lib"
        folder.mkdir(parents=True, exist_ok=True)  # MSVC's librarian makes none
        # Or members that are no more, or twice of one name, would stay as they were.
        (folder / "libwsasec.a").unlink(missing_ok=True)
        own = [source for source in ext.sources if source.endswith(".c") and source.startswith("src/")]
        objects = self.compiler.object_filenames(own, output_dir=self.build_temp)
        if CROSS:  # setuptools would take this system's, which there may be none of
            self.compiler.set_executable("archiver", [self.tool("ar"), "-cr"])
        self.compiler.create_static_lib(objects, "wsasec", output_dir=str(folder))
        if self.compiler.compiler_type == "msvc":
            return
        # The debugger's data is most of the size, and of no use without the sources.
        subprocess.run([self.tool("strip"), "--strip-debug", str(folder / "libwsasec.a")], check=True)
        if PLATFORM == "windows":
            return
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
    "wsasec._wsasec",
    ["src/_wsasec.pyx", *sources("src/core", "src/load", f"src/{PLATFORM}", f"src/{PLATFORM}/load")],
)
if PLATFORM == "windows":
    wsasec.sources += sources("src/no_ring")
else:
    liburing = found_liburing()
    wsasec.sources += sources("src/no_ring" if liburing is None else "src/linux/uring")
    wsasec.extra_objects += liburing or []
    wsasec.extra_link_args += ["-Wl,--exclude-libs,ALL"]
floor = extension("wsasec.bench.baselines._floor", ["bench/baselines/floor.c"])
floor.depends += [TLS_STREAM]

setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        *cythonize([wsasec], build_dir="build/cython", compiler_directives={"language_level": "3"}),
        *([floor] if PLATFORM == "linux" else []),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
