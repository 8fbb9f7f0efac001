"""Whether sockets can be secured here, and for each thing missing the one command that gets it.

Nothing is changed: no guard is put up, no sysctl written, and the kernel is asked with requests that cannot
succeed. Windows tells only by the call itself: there a fresh socket of each family is secured, and closed.

`Report.as_json` returns, with keys that stay as they are as long as ``schema`` is 1::

    {
      "schema": 1,
      "wsasec": "0.1.0",
      "ready": true,               whether sockets can be secured here
      "rows": [
        {
          "id": "kernel.esp4",     kernel.release, kernel.CAPABILITY (socket-policy, esp4, esp6, ah4, ah6,
                                   aes-gcm), privileges, profiles, guard.PROFILE.ipv4, guard.PROFILE.ipv6,
                                   engine, plugin, sysctl.NAME, limit.nofile, ike, vici, daemon, guest,
                                   python; on Windows system.release, library, socket.ipv4,
                                   socket.ipv6, service.BFE, service.IKEEXT, service.PolicyAgent, python
          "state": "missing",      "ok", "warn" (works, with the limits that detail tells; or could not be
                                   asked), "missing"
          "detail": "no",          a sentence for people
          "command": "wsasec ..."  what to run to get it, or null
        }
      ]
    }
"""

from __future__ import annotations

import sys

from .report import Report, Row, State

if sys.platform == "win32":
    from .windows_facts import Facts, collect
    from .windows_rows import judge
else:
    from .facts import Facts, collect
    from .rows import judge

__all__ = ["Facts", "Report", "Row", "State", "collect", "examine", "judge"]


def examine(program: str = "wsasec") -> Report:
    """Look at this system.

    Args:
        program: how wsasec was called, for the commands in the report.
    """
    return judge(collect(), program)
