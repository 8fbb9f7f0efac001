"""Compile and run the C programs that test the engine, and its fuzzers, with sanitizers.

A program is a file `c/test_*.c`, a fuzzer `fuzz/fuzz_*.c`. Each says in a comment what of src/engine it is
compiled with, by names or patterns: `/* Compiled with: esp.c replay.c crypto*.c */`. A program ends with 0;
or with 77 where it can't be run here, and says the reason on stderr; or fails. `threads` in that line has
it run with the thread sanitizer as well: `/* Compiled with threads: replay.c */`. A fuzzer's line may end
with the number of executions: `/* Compiled with: esp.c; runs 100000 */`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENGINE = ROOT / "src/engine"

WARNINGS = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
SANITIZERS = {
    "memory": ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "threads": ["-g", "-O1", "-fsanitize=thread"],
    "fuzzer": ["-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"],
}
RUNS = 200_000
SAID = re.compile(r"/\* Compiled with( threads)?: (.*?)(?:; runs (\d+))? \*/")

pytestmark = [
    pytest.mark.skipif(
        not ENGINE.is_dir(), reason="the C sources are not beside the tests: run from the source tree"
    ),
    pytest.mark.long,
]


Objects = tuple[Path, dict[tuple[str, ...], Path]]  # a folder for objects, and those there are by command


@dataclass(frozen=True)
class Program:
    """A C program of ours, and what it says of itself."""

    path: Path
    sources: tuple[Path, ...]
    threads: bool
    runs: int


def described(path: Path) -> Program:
    said = SAID.search(path.read_text())
    assert said, f"{path.name} does not say what it is compiled with"
    sources: list[Path] = []
    for pattern in said[2].split():
        found = sorted(ENGINE.glob(pattern))
        assert found, f"{path.name} is compiled with {pattern}, which there is none of in src/engine"
        sources += [each for each in found if each not in sources]
    return Program(path, tuple(sources), bool(said[1]), int(said[3] or RUNS))


def programs(pattern: str) -> list[Path]:
    return sorted(HERE.glob(pattern)) if ENGINE.is_dir() else []


def compiler(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"no {name}: apt-get install {name} libclang-rt-14-dev")
    return found


def libraries(sources: tuple[Path, ...]) -> tuple[list[str], list[str]]:
    """Return the macros to compile with, and the libraries to link."""
    macros: list[str] = []
    linked: list[str] = []
    if any(source.name == "crypto_openssl.c" for source in sources):
        if not Path("/usr/include/openssl/evp.h").exists():
            pytest.skip("no OpenSSL headers: apt-get install libssl-dev")
        linked.append("-lcrypto")
    has_ipsec_mb = Path("/usr/include/intel-ipsec-mb.h").exists()
    if has_ipsec_mb and any(source.name == "crypto_ipsec_mb.c" for source in sources):
        macros.append("-DWSE_HAVE_IPSEC_MB=1")
        linked.append("-lIPSec_MB")
    return macros, linked


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """Most programs have sources in common: each is compiled once."""
    return tmp_path_factory.mktemp("objects"), {}


def build(objects: Objects, program: Program, cc: str, sanitizer: str, folder: Path) -> Path:
    keep, made = objects
    macros, linked = libraries(program.sources)
    command = (
        compiler(cc),
        *WARNINGS,
        *SANITIZERS[sanitizer],
        "-D_GNU_SOURCE",
        f"-I{ENGINE}",
        f"-I{ROOT / 'include'}",
        *macros,
        "-pthread",
    )
    commands = [(*command, "-c", str(source)) for source in (program.path, *program.sources)]

    def compiled(one: tuple[str, ...], target: Path) -> Path:
        subprocess.run([*one, "-o", str(target)], check=True, timeout=120)
        return target

    missing = [each for each in commands if each not in made]
    targets = [keep / f"{len(made) + number}.o" for number in range(len(missing))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made.update(zip(missing, pool.map(compiled, missing, targets), strict=True))
    return compiled((*command, *(str(made[each]) for each in commands), *linked), folder / program.path.stem)


def run(program: Path, *arguments: str) -> None:
    environment = os.environ | {
        "ASAN_OPTIONS": "detect_leaks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1",
    }
    done = subprocess.run(
        [str(program), *arguments],
        check=False,
        timeout=300,
        env=environment,
        cwd=program.parent,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cc", ["gcc", "clang"])
@pytest.mark.parametrize("path", programs("c/test_*.c"), ids=lambda path: path.stem)
def test_memory(objects: Objects, tmp_path: Path, path: Path, cc: str) -> None:
    run(build(objects, described(path), cc, "memory", tmp_path))


THREADED = [path for path in programs("c/test_*.c") if described(path).threads]


@pytest.mark.parametrize("path", THREADED, ids=lambda path: path.stem)
def test_threads(objects: Objects, tmp_path: Path, path: Path) -> None:
    run(build(objects, described(path), "gcc", "threads", tmp_path))


@pytest.mark.parametrize("path", programs("fuzz/fuzz_*.c"), ids=lambda path: path.stem)
def test_fuzz(objects: Objects, tmp_path: Path, path: Path) -> None:
    program = described(path)
    run(
        build(objects, program, "clang", "fuzzer", tmp_path),
        f"-runs={program.runs}",
        "-max_len=4096",
        "-seed=1",
        "-verbosity=0",
    )
