"""The guest's side: makes a system around the host's read-only root file system and runs the job in it.

It is the first process of the guest. Serial lines lead to the host: ttyS0 and ttyS1 carry the command's
standard output and error, ttyS2 what the host must know: "ready", then "exit CODE".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from . import libc
from .errors import LabError
from .native import run_native

__all__ = ["HERE", "main"]

HERE: Final = Path("/run/wsasec-lab")
"""Where the folder that host and guest share is mounted."""

_HOST_ROOT: Final = Path("/run/host")
_MODULE_ROOT: Final = Path("/run/modules")
_MODULES: Final = (
    *("ipv6", "af_packet", "veth", "tun", "sch_netem"),
    *("xfrm_user", "esp4", "esp6", "ah4", "ah6"),
    *("authenc", "authencesn", "gcm", "ghash_generic", "ctr", "cbc", "ecb", "echainiv", "seqiv", "hmac"),
    *("aes_generic", "des_generic", "crypto_null", "sha1_generic", "sha256_generic"),
    *("chacha20poly1305", "chacha_generic", "poly1305_generic"),
)
_MODPROBE_DEADLINE: Final = 60.0
_DRAIN_DEADLINE: Final = 5.0


def _say(text: str) -> None:
    """Write to the console, whose end the host shows if the boot fails."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _mount_all(shared: str) -> None:
    libc.mount("proc", "/proc", "proc")
    libc.mount("sysfs", "/sys", "sysfs")
    if not Path("/dev/ttyS2").is_char_device():
        libc.mount("devtmpfs", "/dev", "devtmpfs")
    for folder in ("/dev/pts", "/dev/shm"):  # noqa: S108
        Path(folder).mkdir(exist_ok=True)
    libc.mount("devpts", "/dev/pts", "devpts", options="ptmxmode=666")
    libc.mount("tmpfs", "/dev/shm", "tmpfs")  # noqa: S108
    for name, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        with suppress(FileExistsError):
            Path("/dev", name).symlink_to(target)
    libc.mount("tmpfs", "/run", "tmpfs", options="mode=755")
    for place in (HERE, _HOST_ROOT, Path("/run/netns"), Path("/run/lock")):
        place.mkdir()
    libc.mount("/", str(_HOST_ROOT), "none", libc.MS_BIND)
    libc.mount("none", str(HERE), "hostfs", options=shared)
    libc.mount("tmpfs", "/tmp", "tmpfs", options="mode=1777")  # noqa: S108


def _uncover(paths: Sequence[str]) -> None:
    """Show again the host's folders and files, read-only, that a file system mounted here has covered."""
    for path in paths:
        source = _HOST_ROOT / path.removeprefix("/")
        target = Path(path)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        else:
            continue
        libc.mount(str(source), path, "none", libc.MS_BIND)


def _load_modules() -> None:
    """Load what the lab needs, wherever the distribution keeps it, without a change to the host's folders."""
    version = os.uname().release
    folder = next(
        (f for f in ("/usr/lib/uml/modules", "/lib/modules") if Path(f, version).is_dir()), "/lib/modules"
    )
    (_MODULE_ROOT / "usr/lib").mkdir(parents=True)
    (_MODULE_ROOT / "lib").symlink_to("usr/lib")
    (_MODULE_ROOT / "usr/lib/modules").symlink_to(folder)
    # The kernel's own requests find them, too.
    helper = Path("/run/modprobe")
    helper.write_text(f'#!/bin/bash\nexec modprobe -d {_MODULE_ROOT} "$@"\n')
    helper.chmod(0o755)
    Path("/proc/sys/kernel/modprobe").write_text(str(helper))
    done = subprocess.run(
        ["modprobe", "-d", str(_MODULE_ROOT), "-a", *_MODULES],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_MODPROBE_DEADLINE,
        check=False,
    )
    # Not fatal: some are built in, and what is missing for ESP is said by the trial of ESP itself.
    if done.returncode:
        _say(done.stderr.strip())


def _open_line(name: str, size: Sequence[int]) -> int:
    line = os.open(f"/dev/{name}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    tty.setraw(line)
    if size[0]:
        termios.tcsetwinsize(line, (size[0], size[1]))
    return line


def _relay(source: int, target: int) -> None:
    while data := os.read(source, 1 << 16):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]


class _Stream:
    """A standard stream of the command: a terminal where it is one on the host, else a pipe to the line."""

    def __init__(self, name: str, *, terminal: bool, size: Sequence[int]) -> None:
        self.line = _open_line(name, size)
        self._thread: threading.Thread | None = None
        if terminal:
            self.end = os.dup(self.line)
            return
        source, self.end = os.pipe()
        self._thread = threading.Thread(target=_relay, args=(source, self.line), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until all is on its way; not for ever: a process left behind may hold the pipe open."""
        os.close(self.end)
        if self._thread is not None:
            self._thread.join(_DRAIN_DEADLINE)
        termios.tcdrain(self.line)


def _run(job: dict[str, Any], out: int, err: int) -> int:
    try:
        return run_native(
            job["argv"],
            timeout=job["timeout"],
            results=HERE / "results" if job["results"] else None,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    except (LabError, OSError) as error:
        os.write(err, f"wsasec lab: {error}\n".encode())
        return 125


def main(shared: str) -> None:
    """Set the guest up, run its job, report."""
    _mount_all(shared)
    job = json.loads((HERE / "job.json").read_text())
    _uncover(job["uncover"])
    # Only now does the folder exist that the command was called in, if it is below /tmp.
    os.chdir(job["cwd"])
    _load_modules()
    size = job["size"]
    status = _open_line("ttyS2", (0, 0))
    out = _Stream("ttyS0", terminal=job["out_terminal"], size=size)
    err = _Stream("ttyS1", terminal=job["err_terminal"], size=size)
    os.write(status, b"ready\n")
    code = _run(job, out.end, out.end if job["merged"] else err.end)
    out.finish()
    err.finish()
    os.write(status, f"exit {code}\n".encode())
    termios.tcdrain(status)


if __name__ == "__main__":
    main(sys.argv[1])
    # The host ends the guest now. If it does not, the kernel halts because its first process has ended.
