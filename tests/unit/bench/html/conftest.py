"""Chromium without a screen: private, offline, with a deadline, and with nothing left of it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest

_DEADLINE: Final = 60
_MEASURE: Final = Path(__file__).with_name("measure.js")
_DARK, _LIGHT = 0, 1


@dataclass(frozen=True)
class Loaded:
    """What came of a page.

    Attributes:
        dom: the document when it was loaded.
        console: what pages wrote to the console.
        requests: addresses that pages, not the browser itself, asked for.
    """

    dom: str
    console: tuple[str, ...]
    requests: tuple[str, ...]


def _need_browser() -> str:
    """Return the browser; skip where there is none, or it cannot be shut in."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium (Debian's package chromium)")
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (Debian's package util-linux)")
    probe = subprocess.run([*_shut_in(), "true"], capture_output=True, timeout=_DEADLINE)
    if probe.returncode:
        pytest.skip(f"needs namespaces of its own: {probe.stderr.decode().strip()}")
    return browser


def _shut_in() -> list[str]:
    # A namespace of processes ends with its first one, and a new one of networks leads nowhere.
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--pid", "--net", "--ipc", "--fork", "--kill-child", "--mount-proc", "--"]


def _load(
    browser: str, page: Path, folder: Path, width: int, *, dark: bool, deadline: float = _DEADLINE
) -> Loaded:
    """Load a page from a file."""
    log = folder / "net.json"
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},800",
        f"--blink-settings=preferredColorScheme={_DARK if dark else _LIGHT}",
        "--enable-logging=stderr",
        f"--log-net-log={log}",
        "--dump-dom",
        page.as_uri(),
    ]
    environment = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    done = subprocess.run(
        [*_shut_in(), *command], capture_output=True, text=True, timeout=deadline, env=environment
    )
    assert done.returncode == 0, done.stderr
    # The browser's own pages (of a new tab, for instance) write to the same log.
    said = re.findall(r":CONSOLE.*", done.stderr)
    console = tuple(line for line in said if not re.search(r"source: chrome[\w-]*://", line))
    return Loaded(done.stdout, console, _requests(json.loads(log.read_text())))


def _requests(log: dict[str, Any]) -> tuple[str, ...]:
    """Return what pages asked for: the browser's own requests have no origin."""
    types = log["constants"]["logEventTypes"]
    started = types["URL_REQUEST_START_JOB"]
    asked = [event["params"] for event in log["events"] if event["type"] == started and "params" in event]
    assert asked, "the log has no request at all, not even those of the browser"
    return tuple(
        params["url"]
        for params in asked
        if params.get("initiator", "not an origin") != "not an origin"
        and not params["url"].startswith(("data:", "file:"))
    )


def _measure(
    browser: str, text: str, folder: Path, widths: Sequence[int], *, dark: bool
) -> tuple[Any, Loaded]:
    outer = folder / "outer.html"
    srcdoc = html.escape(text)
    frames = "".join(f'<iframe style="width:{width}px" srcdoc="{srcdoc}"></iframe>' for width in widths)
    outer.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        "<style>body{margin:0}iframe{border:0;display:block;height:900px}</style>"
        f'{frames}<pre id="found"></pre><script>{_MEASURE.read_text()}</script>',
        encoding="utf-8",
    )
    loaded = _load(browser, outer, folder, max(*widths, 500), dark=dark)
    found = re.search(r'<pre id="found">([^<]+)</pre>', loaded.dom)
    assert found, loaded
    return json.loads(unquote(found[1])), loaded


class Browser:
    """The browser, for the pages of one test; skips where there is none."""

    def __init__(self, folder: Path) -> None:
        self._browser = _need_browser()
        self._folder = folder

    def load(self, page: Path, width: int, deadline: float = _DEADLINE) -> Loaded:
        """Load a page from a file; subprocess.TimeoutExpired if that takes too long."""
        return _load(self._browser, page, self._folder, width, dark=False, deadline=deadline)

    def measure(self, text: str, *widths: int, dark: bool = False) -> tuple[list[Any], Loaded]:
        """Lay a page out at some widths; return what was measured at each, and what came of loading it.

        The page is measured from outside: it stays as it is, with no script in it, and is in frames, as no
        window is as narrow as a phone.
        """
        return _measure(self._browser, text, self._folder, widths, dark=dark)


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path)
