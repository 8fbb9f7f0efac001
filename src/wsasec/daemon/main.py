"""The daemon as a process."""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from .._wsasec import be_broker
from ..keys.ports import require_free
from ..keys.reason import CharonError
from .capabilities import drop
from .notify import notify
from .place import AlreadyUpError, Place, folder
from .requirements import StartError, require_here, require_rights
from .service import FAILURES, Service, read_config

__all__ = ["main", "run"]

_log = logging.getLogger(__name__)

_LOG_BYTES: Final = 4 << 20
_SYSLOG: Final = "/dev/log"
_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"

Tell = Callable[[dict[str, object]], None]


def _log_to(where: str, place: Place) -> None:
    """Begin to log: "stderr", "syslog", or "file", which is `log` in the daemon's folder, for root only."""
    handler: logging.Handler
    if where == "syslog":
        # The handler itself would say nothing of a socket that is not there, and then lose every line.
        if not Path(_SYSLOG).is_socket():
            raise StartError(f"no syslog daemon listens at {_SYSLOG}")
        handler = logging.handlers.SysLogHandler(_SYSLOG, logging.handlers.SysLogHandler.LOG_DAEMON)
        handler.setFormatter(logging.Formatter("wsasec[%(process)d]: %(message)s"))
    elif where == "stderr":
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("wsasec: %(message)s"))
    else:
        handler = logging.handlers.RotatingFileHandler(
            place.folder / "log", maxBytes=_LOG_BYTES, backupCount=1
        )
        handler.setFormatter(logging.Formatter(_FORMAT))
    logger = logging.getLogger("wsasec")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _begin(config_path: Path, log: str) -> tuple[Place, Service]:
    """Check everything, then take the place and start."""
    require_rights()
    config = read_config(config_path)
    require_here(config)
    os.umask(0o077)
    place = Place(folder())
    try:
        if config.vici is None:
            # An engine that was left has UDP 4500 no more: it ends with its daemon.
            require_free()
        _log_to(log, place)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        # Threads that are started from here on have no more than that either.
        drop()
        # Whatever the kernel refuses it, it has nobody to ask.
        be_broker()
        service = Service(place, config)
        service.start()
    except BaseException:
        place.close()
        raise
    return place, service


def _fail(tell: Tell, text: str) -> int:
    tell({"error": text})
    return 1


def _why(error: Exception) -> str:
    """Return what an administrator reads; errors of the system without their number."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return (
            f"{error.filename}: there is no such file; `wsasec init` makes a configuration and certificates"
        )
    if type(error) is OSError or isinstance(error, PermissionError):
        return f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
    return str(error)


def run(config: Path, log: str, tell: Tell) -> int:
    """Be the daemon, until SIGTERM, SIGINT or `wsasec down`. SIGHUP: the configuration is read again.

    Args:
        config: the configuration's file.
        log: "stderr", "syslog" or "file".
        tell: called once: with "pid" when it serves, "already" (a pid) if another does, or "error".

    Returns:
        The exit status.
    """
    try:
        place, service = _begin(config, log)
    except AlreadyUpError as error:
        tell({"already": error.pid})
        return 0
    except CharonError as error:
        return _fail(tell, error.detail or str(error))
    except (StartError, *FAILURES) as error:
        return _fail(tell, _why(error))

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            service.reload_soon()
        else:
            service.stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        _log.info("up, process %d, %s", os.getpid(), place.folder)
        tell({"pid": os.getpid()})
        notify(f"READY=1\nMAINPID={os.getpid()}")
        service.run()
        notify("STOPPING=1")
        _log.info("down")
    finally:
        place.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m wsasec.daemon`, as `wsasec up` starts it: it tells on a descriptor how the start went."""
    parser = argparse.ArgumentParser(prog="python -m wsasec.daemon")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--tell", type=int, required=True, metavar="FD")
    arguments = parser.parse_args(argv)

    def tell(what: dict[str, object]) -> None:
        # Whoever started it may be gone.
        with suppress(OSError):
            os.write(arguments.tell, json.dumps(what).encode() + b"\n")
        # What Python itself said went there, too; from now on there is nobody to hear it.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, sys.stderr.fileno())
        os.close(nothing)
        os.close(arguments.tell)

    return run(arguments.config, "file", tell)
