"""Compile and run the tests of the C code, with sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORE = sorted((ROOT / "src/core").glob("*.c"))
LINUX = sorted(
    path for folder in ("src/load", "src/linux", "src/linux/load") for path in (ROOT / folder).glob("*.c")
)
URING = sorted((ROOT / "src/linux/uring").glob("*.c"))
NO_URING = sorted((ROOT / "src/no_ring").glob("*.c"))

WARNINGS = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
MEMORY = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
THREADS = ["-g", "-O1", "-fsanitize=thread"]
FUZZ = ["-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
RUNS = 300_000

needs_sources = pytest.mark.skipif(
    not CORE, reason="the C sources are not beside the tests: run from the source tree"
)
pytestmark = needs_sources


def compiler(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"no {name}: apt-get install {name} libclang-rt-14-dev")
    return found


Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return what makes a program. Most have most of their sources in common: each is compiled once."""
    folder = tmp_path_factory.mktemp("objects")
    objects: dict[tuple[str, ...], Path] = {}

    def compiled(command: tuple[str, ...], target: Path) -> Path:
        subprocess.run([*command, "-o", str(target)], check=True, timeout=120)
        return target

    def build_one(
        tmp_path: Path,
        cc: str,
        flags: list[str],
        sources: Sequence[Path],
        name: str,
        libraries: tuple[str, ...] = (),
    ) -> Path:
        include = ["-D_DEFAULT_SOURCE", f"-I{ROOT / 'include'}"]
        command = (compiler(cc), *WARNINGS, *flags, *include, "-pthread")
        commands = [(*command, "-c", str(source)) for source in sources]
        missing = [each for each in commands if each not in objects]
        targets = [folder / f"{len(objects) + number}.o" for number in range(len(missing))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects.update(zip(missing, pool.map(compiled, missing, targets), strict=True))
        program = tmp_path / name
        compiled((*command, *(str(objects[each]) for each in commands), *libraries), program)
        return program

    return build_one


def run(program: Path, *arguments: str, cwd: Path) -> None:
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    subprocess.run([str(program), *arguments], check=True, timeout=180, env=environment, cwd=cwd)


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_core(build: Build, tmp_path: Path, cc: str) -> None:
    run(build(tmp_path, cc, MEMORY, [HERE / "test_core.c", HERE / "double.c", *CORE], "core"), cwd=tmp_path)


@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS], ids=["memory", "threads"])
def test_job(build: Build, tmp_path: Path, sanitizer: list[str]) -> None:
    run(
        build(tmp_path, "gcc", sanitizer, [HERE / "test_job.c", HERE / "double.c", *CORE], "job"),
        cwd=tmp_path,
    )


@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS], ids=["memory", "threads"])
def test_claims(build: Build, tmp_path: Path, sanitizer: list[str]) -> None:
    sources = [HERE / "test_claims.c", ROOT / "src/core/sockets.c", ROOT / "src/core/table.c"]
    run(build(tmp_path, "gcc", sanitizer, sources, "claims"), cwd=tmp_path)


def in_namespace(program: Path, *arguments: str) -> None:
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    subprocess.run([*unshare, "--", str(program), *arguments], check=True, timeout=120)


def linux_sources(uring: bool) -> tuple[list[Path], tuple[str, ...]]:
    """The C sources of the library, and what they are linked with."""
    if not uring:
        return [*CORE, *LINUX, *NO_URING], ()
    if not Path("/usr/include/liburing.h").exists():
        pytest.skip("no liburing: apt-get install liburing-dev")
    return [*CORE, *LINUX, *URING], ("-luring",)


@pytest.mark.linux
@pytest.mark.parametrize("uring", [True, False], ids=["uring", "no_uring"])
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS], ids=["memory", "threads"])
def test_linux(build: Build, tmp_path: Path, sanitizer: list[str], uring: bool) -> None:
    sources, libraries = linux_sources(uring)
    in_namespace(build(tmp_path, "gcc", sanitizer, [HERE / "test_linux.c", *sources], "linux", libraries))


@pytest.mark.linux
@pytest.mark.parametrize("uring", [True, False], ids=["uring", "no_uring"])
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS], ids=["memory", "threads"])
def test_batch(build: Build, tmp_path: Path, sanitizer: list[str], uring: bool) -> None:
    sources, libraries = linux_sources(uring)
    program = build(tmp_path, "gcc", sanitizer, [HERE / "test_batch.c", *sources], "batch", libraries)
    in_namespace(program, "uring" if uring else "no_uring")


@pytest.mark.linux
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_connect(build: Build, tmp_path: Path, cc: str) -> None:
    in_namespace(build(tmp_path, cc, MEMORY, [HERE / "test_connect.c", *linux_sources(False)[0]], "connect"))


@pytest.mark.linux
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS], ids=["memory", "threads"])
def test_listener(build: Build, tmp_path: Path, sanitizer: list[str]) -> None:
    sources = [HERE / "test_listener.c", *linux_sources(False)[0]]
    in_namespace(build(tmp_path, "gcc", sanitizer, sources, "listener"))


@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS], ids=["memory", "threads"])
def test_traffic(build: Build, tmp_path: Path, sanitizer: list[str]) -> None:
    program = build(
        tmp_path, "gcc", sanitizer, [HERE / "test_traffic.c", *linux_sources(False)[0]], "traffic"
    )
    run(program, cwd=tmp_path)


@pytest.mark.linux
def test_ring(build: Build, tmp_path: Path) -> None:
    sources, libraries = linux_sources(uring=True)
    program = build(tmp_path, "gcc", MEMORY, [HERE / "test_ring.c", *sources], "ring", libraries)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


def test_fuzz_settings(build: Build, tmp_path: Path) -> None:
    sources = [
        HERE / "fuzz_settings.c",
        *(ROOT / "src/core" / f"{name}.c" for name in ("settings", "profiles")),
    ]
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for i, seed in enumerate([b"", bytes(8), b"\1" + bytes(87), b"\1" + bytes(119)]):
        (corpus / str(i)).write_bytes(seed)
    program = build(tmp_path, "clang", FUZZ, sources, "fuzz_settings")
    run(program, f"-runs={RUNS}", "-max_len=256", "-seed=1", str(corpus), cwd=tmp_path)


def test_fuzz_netlink(build: Build, tmp_path: Path) -> None:
    program = build(
        tmp_path, "clang", FUZZ, [HERE / "fuzz_netlink.c", ROOT / "src/linux/netlink.c"], "fuzz_netlink"
    )
    run(program, f"-runs={RUNS}", "-max_len=128", "-seed=1", cwd=tmp_path)


def test_device(build: Build, tmp_path: Path) -> None:
    sources = [ROOT / "src/linux" / f"{name}.c" for name in ("device_voucher", "netlink")]
    run(build(tmp_path, "gcc", MEMORY, [HERE / "test_device.c", *sources], "device"), cwd=tmp_path)


def test_fuzz_device(build: Build, tmp_path: Path) -> None:
    sources = [ROOT / "src/linux" / f"{name}.c" for name in ("device_voucher", "netlink")]
    program = build(tmp_path, "clang", FUZZ, [HERE / "fuzz_device.c", *sources], "fuzz_device")
    run(program, f"-runs={RUNS}", "-max_len=256", "-seed=1", cwd=tmp_path)


@pytest.mark.parametrize(
    ("cc", "standard"), [("gcc", "c11"), ("clang", "c11"), ("g++", "c++17"), ("clang++", "c++17")]
)
def test_headers(tmp_path: Path, cc: str, standard: str) -> None:
    source = tmp_path / ("layout.cpp" if "++" in cc else "layout.c")
    source.write_text((HERE / "test_layout.c").read_text())
    program = tmp_path / "layout"
    flags = [f"-std={standard}", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}"]
    subprocess.run([compiler(cc), *flags, str(source), "-o", str(program)], check=True, timeout=60)
    run(program, cwd=tmp_path)
