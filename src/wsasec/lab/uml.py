"""Runs a command in a User Mode Linux guest over the host's own, read-only root file system."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from .children import spawn
from .errors import LabError
from .identity import Identity, choose
from .job import Job, chosen_environment
from .native import TIMED_OUT
from .signals import ending_signals

__all__ = ["memory_megabytes", "run_uml"]

BOOT_DEADLINE: Final = 90.0
_END_DEADLINE: Final = 10.0
_TAIL: Final = 8192
_MODULES: Final = Path("/usr/lib/uml/modules")
_REMEDY: Final = "apt-get install user-mode-linux kmod iproute2"
_PACKAGES: Final = {"linux.uml": "user-mode-linux", "modprobe": "kmod", "ip": "iproute2"}
# The kernel's command line knows no quotes, and mount options no commas.
_PLAIN: Final = re.compile(r"/[\w./+-]+", re.ASCII)
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CAP_SETPCAP: Final = 8


def memory_megabytes(text: str) -> int:
    """Read a size like "1G" or "512M". Raises ValueError if it is none, or below 128 MB."""
    match = re.fullmatch(r"(\d{1,6})\s*([MG])i?B?", text.strip(), re.IGNORECASE)
    size = int(match[1]) * (1024 if match[2].upper() == "G" else 1) if match else 0
    if size < 128:
        raise ValueError(f"memory: {text!r} is not a size of at least 128M, like 512M or 1G")
    return size


def _find_kernel() -> str:
    """Return the guest kernel's path. Raises LabError naming the packages that are missing."""
    path = os.environ.get("PATH", "") + ":" + _SYSTEM_PATH
    missing = [package for tool, package in _PACKAGES.items() if shutil.which(tool, path=path) is None]
    if missing:
        raise LabError(f"this kernel has no ESP, and a guest kernel needs: {', '.join(missing)}", _REMEDY)
    kernel = shutil.which("linux.uml", path=path)
    assert kernel is not None  # noqa: S101
    done = subprocess.run([kernel, "--version"], capture_output=True, text=True, timeout=30, check=False)
    version = done.stdout.strip()
    if not any((folder / version).is_dir() for folder in (_MODULES, Path("/lib/modules"))):
        raise LabError(f"there are no modules for {kernel} {version} in {_MODULES}", _REMEDY)
    return kernel


def _memory_folder(megabytes: int, *, others: bool) -> str:
    """Return a folder with room for the guest's memory, which the kernel maps executable from a file there.

    Args:
        megabytes: the room.
        others: whether users other than the present one must be able to write there.

    Raises:
        LabError: there is none.
    """
    candidates = ("/dev/shm", os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp")  # noqa: S108
    for folder in filter(None, candidates):
        with suppress(OSError):
            status = os.statvfs(folder)
            roomy = status.f_bavail * status.f_frsize >= megabytes << 20
            open_to = Path(folder).stat().st_mode & 0o002 if others else os.access(folder, os.W_OK)
            if roomy and open_to and not status.f_flag & os.ST_NOEXEC:
                return folder
    raise LabError(
        f"no folder with room for {megabytes} MB of guest memory, mounted without noexec",
        "set TMPDIR to one, or give --memory less",
    )


def _staging_parent() -> str:
    """Return a folder for the one that host and guest share, which the guest can name."""
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108
        # The guest has a /dev of its own.
        hidden = folder.startswith(("/dev", "/proc", "/sys"))
        if _PLAIN.fullmatch(folder) and not hidden and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise LabError("no folder for temporary files with a plain name", "set TMPDIR to one")


def _interpreter() -> list[str]:
    """Return the command of this Python; without the current folder in its path if this one has it not."""
    safe = bool(sys.flags.safe_path) or not sys.path or sys.path[0] not in ("", str(Path.cwd()))
    return [sys.executable, "-P"] if safe else [sys.executable]


def _needed(argv: Sequence[str], path: str) -> list[str]:
    """Return the absolute paths that the guest must be able to read."""
    command = shutil.which(argv[0], path=path)
    words = [command or argv[0], *argv[1:]]
    needed = [
        sys.executable,
        sys.prefix,
        sys.base_prefix,
        str(Path(os.__file__).parent),
        str(Path(__file__).parent),
        str(Path.cwd()),
        *(entry for entry in sys.path if entry and Path(entry).exists()),
        *(word for word in words if "/" in word and Path(word).exists()),
    ]
    config = os.environ.get("WSASEC_CONFIG")
    if config and Path(config).exists():
        needed.append(config)
    return list(dict.fromkeys(str(Path(entry).absolute()) for entry in needed))


def _same_file(first: int, second: int) -> bool:
    try:
        a, b = os.fstat(first), os.fstat(second)
    except OSError:
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _make_job(argv: Sequence[str], *, timeout: float, with_results: bool) -> Job:
    environment = chosen_environment(os.environ)
    out, err = os.isatty(1), os.isatty(2)
    size = os.get_terminal_size(1 if out else 2) if out or err else os.terminal_size((0, 0))
    return Job(
        argv=list(argv),
        interpreter=_interpreter(),
        cwd=str(Path.cwd()),
        environment=environment,
        timeout=timeout,
        results=with_results,
        needed=_needed(argv, environment["PATH"]),
        merged=_same_file(1, 2),
        out_terminal=out,
        err_terminal=err,
        size=(size.lines, size.columns),
    )


def _fences(user: Identity) -> list[str]:
    """Return the prefix that takes from the guest what it has no use for."""
    fences = ["setpriv", "--no-new-privs"]
    if user.uid == 0:
        status = Path("/proc/self/status").read_text()
        found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
        if found and int(found[1], 16) >> _CAP_SETPCAP & 1:
            fences += ["--inh-caps=-all", "--bounding-set=-all,+dac_read_search"]
    return [*fences, "--"]


def _copy_results(source: Path, target: Path) -> None:
    """Copy the guest's files. It may have made links to trap us: only folders and plain files are taken."""
    for folder, names, files in os.walk(source, followlinks=False):
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True, exist_ok=True)
        names[:] = [name for name in names if not (Path(folder) / name).is_symlink()]
        for name in files:
            entry = Path(folder) / name
            if entry.is_file() and not entry.is_symlink():
                shutil.copyfile(entry, here / name, follow_symlinks=False)


class _Guest:
    """A running guest: reads its lines until it says how the command ended."""

    def __init__(self, process: subprocess.Popen[Any], timeout: float) -> None:
        self.process = process
        self.exit_code: int | None = None
        self.ready = False
        self.timed_out = False
        self._timeout = timeout
        self._deadline = time.monotonic() + BOOT_DEADLINE
        self._console = bytearray()
        self._status = bytearray()
        self._selector = selectors.DefaultSelector()

    def attach(self, fd: int, take: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._selector.register(fd, selectors.EVENT_READ, take)

    def console(self, data: bytes) -> None:
        self._console += data
        del self._console[:-_TAIL]

    def status(self, data: bytes) -> None:
        self._status += data
        *lines, rest = bytes(self._status).split(b"\n")
        self._status[:] = rest
        for line in lines:
            if line == b"ready":
                self.ready = True
                self._deadline = time.monotonic() + self._timeout
            elif match := re.fullmatch(rb"exit (\d{1,3})", line):
                self.exit_code = int(match[1])

    def _read(self, wait: float) -> None:
        for key, _ in self._selector.select(wait):
            with suppress(BlockingIOError):
                data = os.read(key.fd, 1 << 16)
                if data:
                    key.data(data)
                else:
                    self._selector.unregister(key.fd)

    def follow(self) -> None:
        """Read until the exit code has come, or the guest has ended, or the time is over."""
        while self.exit_code is None and self._selector.get_map():
            left = self._deadline - time.monotonic()
            if left <= 0:
                self.timed_out = True
                return
            self._read(left)

    def kill(self) -> None:
        """Kill the guest, which is a group of processes, unless that has been done."""
        if self.process.returncode is None:  # else the number may be another group's by now
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(_END_DEADLINE)

    def end(self) -> None:
        """Kill the guest and read what is left in its pipes, to their ends: then no process of it is left.

        Raises:
            LabError: a process of it is still there after 10 s.
        """
        self.kill()
        deadline = time.monotonic() + _END_DEADLINE
        while self._selector.get_map():
            if time.monotonic() > deadline:
                raise LabError(f"processes of the guest (group {self.process.pid}) cannot be killed")
            self._read(0.1)
        self._selector.close()

    def tail(self) -> str:
        lines = self._console.decode(errors="replace").replace("\r", "").strip().splitlines()
        return "\n".join(lines[-30:])


# Waits for the end of its input, which is the end of the process at its other end: then it kills the process
# group that was named on the first line and removes the folder $1.
_WATCH: Final = 'read -r group; cat >/dev/null; [ -n "$group" ] && kill -KILL -- "-$group"; rm -rf -- "$1"'


def _watch(stack: ExitStack, staging: Path) -> Callable[[int], None]:
    """Start the process that cleans up when this one is killed: a guest is several processes.

    Returns:
        A function that tells it the process group of the guest.
    """
    watcher = subprocess.Popen(
        ["bash", "-c", _WATCH, "wsasec-lab-watcher", str(staging)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    pipe = watcher.stdin
    assert pipe is not None  # noqa: S101

    def dismiss() -> None:
        os.killpg(watcher.pid, signal.SIGKILL)
        watcher.wait(_END_DEADLINE)
        pipe.close()

    def tell(group: int) -> None:
        pipe.write(f"{group}\n".encode())
        pipe.flush()

    stack.callback(dismiss)
    return tell


def _writer(stream: Any) -> Callable[[bytes], None]:
    """Return a function that writes bytes to a standard stream at once."""
    binary: BinaryIO | None = getattr(stream, "buffer", None)

    def write(data: bytes) -> None:
        if binary is None:
            stream.write(data.decode(errors="replace"))
            stream.flush()
        else:
            binary.write(data)
            binary.flush()

    return write


def _one_processor() -> list[str]:
    """Return what keeps the guest, which has one processor, on one of the host's.

    Each system call in the guest is a turn of the kernel's process and the program's, one of which stops
    the other: on two processors that takes three times as long. Guests at the same time mostly get different
    ones.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(allowed[os.getpid() % len(allowed)])]


def _start(
    stack: ExitStack, kernel: str, user: Identity, staging: Path, megabytes: int, timeout: float
) -> _Guest:
    """Boot the guest; the stack kills it and closes its pipes."""
    memory = _memory_folder(megabytes, others=user.uid != os.geteuid())
    ends: dict[str, int] = {}
    pipes: dict[str, int] = {}
    for name in ("console", "out", "err", "status"):
        pipes[name], ends[name] = os.pipe()
        stack.callback(os.close, pipes[name])
    words = [kernel, f"mem={megabytes}M", "rootfstype=hostfs", "ro", "init=/bin/bash"]
    words += [f"uml_dir={staging}/", "umid=guest", "con=null", "con0=null,fd:1", "ssl=null"]
    words += [f"ssl{n}=null,fd:{ends[name]}" for n, name in enumerate(("out", "err", "status"))]
    words += ["--", f"{staging}/init.sh", str(staging)]
    try:
        process = spawn(
            [*_one_processor(), *_fences(user), *words],
            stdin=subprocess.DEVNULL,
            stdout=ends["console"],
            stderr=subprocess.STDOUT,
            pass_fds=(ends["out"], ends["err"], ends["status"]),
            env={"PATH": _SYSTEM_PATH, "HOME": str(staging), "TMPDIR": memory},
            cwd="/",
            start_new_session=True,
            **user.popen,
        )
    finally:
        for end in ends.values():
            os.close(end)
    guest = _Guest(process, timeout)
    stack.callback(guest.kill)
    guest.attach(pipes["console"], guest.console)
    guest.attach(pipes["status"], guest.status)
    guest.attach(pipes["out"], _writer(sys.stdout))
    guest.attach(pipes["err"], _writer(sys.stderr))
    return guest


def run_uml(argv: Sequence[str], *, timeout: float, memory: str, results: Path | None) -> int:
    """Run a command in a guest kernel, its output streamed as it comes.

    The guest sees the host's files read-only, with a /tmp of its own. It runs as an ordinary user of the
    host: the caller, or for root nobody or the caller of sudo, if one of them can read what is needed.

    Args:
        argv: the command.
        timeout: seconds from the end of the boot, which has a deadline of its own.
        memory: of the guest, like "1G".
        results: a folder that gets what the command leaves in the folder WSASEC_LAB_RESULTS; or None.

    Returns:
        Its exit code; 124 if it took too long.

    Raises:
        LabError: a package is missing, or the guest did not boot or ended early; shows its console.
        ValueError: the memory's size cannot be read.
        SystemExit: SIGTERM or SIGHUP came; the guest has been killed.
    """
    megabytes = memory_megabytes(memory)
    kernel = _find_kernel()
    job = _make_job(argv, timeout=timeout + BOOT_DEADLINE, with_results=results is not None)
    parent = _staging_parent()
    trial_environment = {**job.environment, "SUDO_UID": os.environ.get("SUDO_UID", "")}
    user, reason = choose([*job.needed, kernel, parent], job.interpreter, job.cwd, trial_environment)
    if reason:
        sys.stderr.write(f"wsasec lab: the guest runs as root, with a read-only root file system: {reason}\n")
        sys.stderr.flush()
    sys.stdout.flush()
    with ending_signals(), ExitStack() as stack:
        staging = Path(tempfile.mkdtemp(prefix="wsasec-lab-", dir=parent))
        stack.callback(shutil.rmtree, staging, ignore_errors=True)
        (staging / "results").mkdir()
        (staging / "job").write_text(job.shell(), errors="surrogateescape")
        (staging / "job.json").write_text(job.json())
        shutil.copyfile(Path(__file__).with_name("init.sh"), staging / "init.sh")
        for entry in (staging, *staging.iterdir()):
            os.chown(entry, user.uid, user.gid)
        with ExitStack() as running:
            watch = _watch(running, staging)
            guest = _start(running, kernel, user, staging, megabytes, timeout)
            watch(guest.process.pid)
            guest.follow()
            guest.end()
        if results is not None:
            _copy_results(staging / "results", results)
    if guest.exit_code is not None:
        return guest.exit_code
    if guest.ready and guest.timed_out:
        sys.stderr.write(f"wsasec lab: the guest was ended after {timeout:g} s\n")
        return TIMED_OUT
    what = "ended before the command did" if guest.ready else "did not boot"
    if guest.timed_out:
        what += f" within {BOOT_DEADLINE:g} s"
    raise LabError(f"the guest kernel {what}; the end of its console:\n{guest.tail()}")
