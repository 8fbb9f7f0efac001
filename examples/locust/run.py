"""Locust's distributed mode in the lab: a master and two workers at host a, what they load at host b.

    wsasec lab run -- python examples/locust/run.py [SECONDS [ENOUGH]]

It takes SECONDS (10), or until each worker has made ENOUGH requests, if that is given. The exit code is the
master's: 0 if no request failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_WORKERS = 2
_USERS = 4
# Seconds for a process to start or to end.
_PATIENCE = 60


def _locust(*arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(_HERE / "locustfile.py"),
        "--loglevel",
        "WARNING",
        *arguments,
    ]


def main() -> int:
    """Run them all to their ends."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    enough = sys.argv[2] if len(sys.argv) > 2 else "0"
    try:
        address, netns = os.environ["WSASEC_LAB_B_V4"], os.environ["WSASEC_LAB_B_NETNS"]
    except KeyError:
        print(__doc__, file=sys.stderr)
        return 2
    with ExitStack() as stack:

        def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
            process = stack.enter_context(subprocess.Popen(command, text=True, **options))
            stack.callback(process.kill)
            return process

        server = start(
            ["nsenter", f"--net={netns}", "--", sys.executable, str(_HERE / "server.py"), address],
            stdout=subprocess.PIPE,
        )
        assert server.stdout is not None  # for type checkers
        port = server.stdout.readline().strip()
        host = f"[{address}]" if ":" in address else address
        # What master and workers tell each other is Locust's own, in clear: it stays within this host.
        master = start(
            _locust(
                *("--master", "--master-bind-host", "127.0.0.1", "--headless", "--only-summary"),
                *("--expect-workers", str(_WORKERS), "--expect-workers-max-wait", str(_PATIENCE)),
                *("--users", str(_USERS), "--spawn-rate", str(_USERS), "--run-time", f"{seconds}s"),
                *("--enough", enough),
                *("--host", f"http://{host}:{port}"),
            )
        )
        workers = [start(_locust("--worker", "--master-host", "127.0.0.1")) for _ in range(_WORKERS)]
        code = master.wait(2 * _PATIENCE + seconds)
        for worker in workers:
            worker.wait(_PATIENCE)
        server.terminate()
        return code


if __name__ == "__main__":
    sys.exit(main())
